//go:build ipvs

package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/syncd"
)

// kernelSync is where the kernels' sync daemons send to, and hear.
var kernelSync = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 81), Port: 8848}

// spoof sends a message of the kernel's own sync from a machine's interface, and returns when
// both directors have it on the interface where it has to arrive.
func (b *bed) spoof(machine, dev, at string) {
	b.t.Helper()
	forged := syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: netip.MustParseAddrPort("10.66.6.6:666"), Virtual: netip.AddrPortFrom(cluster.VIP, cluster.EchoPort),
		Real: netip.MustParseAddrPort("10.0.0.21:7"), Flags: syncd.ForwardDirect, State: syncd.StateTCPEstablished, Timeout: time.Hour,
	}
	var message []byte
	for m, err := range syncd.Messages(0, syncd.MaxMessage, slices.Values([]syncd.Conn{forged})) {
		if err != nil {
			b.t.Fatal(err)
		}
		message = slices.Clone(m)
	}
	var heard []net.PacketConn
	for _, d := range []string{cluster.LBA, cluster.LBB} {
		err := b.Do(d, func() error {
			link, err := net.InterfaceByName(at)
			if err != nil {
				return err
			}
			c, err := net.ListenMulticastUDP("udp4", link, kernelSync)
			if err == nil {
				heard = append(heard, c)
			}
			return err
		})
		if err != nil {
			b.t.Fatalf("hear the kernel's sync on %s of %s: %v", at, d, err)
		}
	}
	err := b.Do(machine, func() error {
		bind := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			if e := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), dev) }); e != nil {
				return e
			}
			return err
		}}
		c, err := bind.DialContext(b.ctx, "udp4", kernelSync.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(message)
		return err
	})
	if err != nil {
		b.t.Fatalf("spoof a message from %s of %s: %v", dev, machine, err)
	}
	for _, c := range heard {
		buf := make([]byte, 2048)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			b.t.Fatalf("the spoofed message did not arrive: %v", err)
		}
		if m, err := syncd.ParseMessage(buf[:n]); err != nil || len(m.Conns) != 1 {
			b.t.Fatalf("the spoofed message is none: %+v, %v", m, err)
		}
		c.Close()
	}
}

// callStream connects to the stream's port of lb-b, which waits for lb-a there.
func (b *bed) callStream(machine string) net.Conn {
	b.t.Helper()
	var c net.Conn
	d := net.Dialer{Timeout: 10 * time.Second}
	if err := b.Do(machine, func() (err error) { c, err = d.DialContext(b.ctx, "tcp4", "10.0.0.12:9652"); return err }); err != nil {
		b.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// stranger is a TLS client with a key of its own.
func stranger(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lb-a"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
}

// resident is how much memory a daemon has, in bytes.
func (b *bed) resident(n *node) int {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		b.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		b.t.Fatalf("no VmRSS of process %d:\n%s", n.PID(), text)
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb << 10
}

// What strangers send changes nothing: neither messages of the kernels' sync, on the LAN or on
// the sync network, nor what comes to the stream's port, from elsewhere or from a director's
// own address. It is counted, the log is not flooded, and sync goes on.
func (h *held) refusesStrangers(backup *node) {
	b, t := h.b, h.b.t
	t.Helper()
	if err := b.IP("switch", "addr add 10.1.0.66/24 dev br1"); err != nil {
		t.Fatal(err)
	}
	b.spoof(cluster.Client, "eth0", "eth0")
	b.spoof("switch", "br1", "eth1")

	before, said := b.resident(backup), len(backup.Lines())
	const each = 20
	bytes := map[string][]byte{
		"random bytes":               make([]byte, 4096),
		"4 GB announced as a record": {0x16, 0x03, 0x03, 0xff, 0xff},
		"4 GB announced as a frame":  {0xff, 0xff, 0xff, 0xff, 2},
		"plain text":                 []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	rand.Read(bytes["random bytes"]) // never fails
	config := stranger(t)
	for range each {
		c := b.callStream(cluster.Client)
		_, _ = c.Read(make([]byte, 1)) // it is closed without a byte
		c.Close()
		for _, text := range bytes {
			c := b.callStream(cluster.LBA)
			_, _ = c.Write(text)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c) // until it is closed
			c.Close()
		}
		c = b.callStream(cluster.LBA)
		within, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		tc := tls.Client(c, config)
		if err := tc.HandshakeContext(within); err == nil {
			_, _ = tc.Read(make([]byte, 1)) // TLS 1.3 tells the client afterwards
		}
		cancel()
		c.Close()
	}
	var refused map[string]uint64
	b.until("everything is refused and counted", func() bool {
		refused = b.status(cluster.LBB).Sync.Strangers
		sum := uint64(0)
		for _, n := range refused {
			sum += n
		}
		return sum >= each*uint64(2+len(bytes))
	})
	if refused["address"] != each || refused["key"] != each {
		t.Errorf("refused %v, want %d for the address and %[2]d for the key", refused, each)
	}
	if grown := b.resident(backup) - before; grown > 16<<20 {
		t.Errorf("the daemon has grown by %d bytes", grown)
	}
	if lines := backup.Lines()[said:]; len(lines) > 20 {
		t.Errorf("%d attempts gave %d lines of the log", each*(2+len(bytes)), len(lines))
	}
	h.recovered("the strangers")
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		if out := b.run(machine, "ipvsadm", "-Lnc"); strings.Contains(out, "10.66.6.6") {
			t.Errorf("%s has taken the spoofed connection:\n%s", machine, out)
		}
		if p := b.syncPeer(machine); p.Here != h.n {
			t.Errorf("%s has %d connections, want %d", machine, p.Here, h.n)
		}
	}
}
