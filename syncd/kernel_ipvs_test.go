//go:build ipvs

package syncd_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/golden"
	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/syncd"
)

// services are the virtual servers of both directors, as ipvsadm's arguments.
const services = `
-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.1.0.21:8080 -m
-A -t [fd00::100]:80 -s rr
-a -t [fd00::100]:80 -r [fd01::21]:8080 -m
-A -u 10.0.0.100:53 -s rr
-a -u 10.0.0.100:53 -r 10.0.0.21:53 -g
-A -u 10.0.0.100:54 -s rr
-a -u 10.0.0.100:54 -r 10.0.0.21:54 -i
-A -u 10.0.0.100:56 -s rr -p 60 -M 255.255.255.0
-a -u 10.0.0.100:56 -r 10.0.0.21:56 -g
-A -u 10.0.0.100:5060 -s rr -p 360 --pe sip
-a -u 10.0.0.100:5060 -r 10.0.0.21:5060 -g
-A -f 10 -s rr -p 300
-a -f 10 -r 10.0.0.21:0 -g
-A -f 11 -6 -s rr -p 300
-a -f 11 -6 -r [fd00::21]:0 -g`

const syncID = 7

// newDirector makes a director in a namespace of its own, with a private interface for
// the sync daemons of the given roles.
func newDirector(t *testing.T, name string, daemons ...string) *netnstest.NS {
	t.Helper()
	ns := netnstest.New(t, name)
	// A command costs much in an emulated machine: one for all.
	script := "ip link add hasync0 multicast on up type dummy\nip addr add 169.254.0.1/24 dev hasync0\n" +
		"ipvsadm -R <<END" + services + "\nEND\n" + "echo 2 50 >/proc/sys/net/ipv4/vs/sync_threshold\n"
	for _, d := range daemons {
		script += fmt.Sprintf("ipvsadm --start-daemon %s --mcast-interface hasync0 --syncid %d\n", d, syncID)
	}
	ns.Run(t, "sh", "-ec", script)
	return ns
}

// The kernel's messages say what its connection table has, and a kernel takes ours. With
// -update it writes its messages down for TestGoldenMessages, which then needs -update, too:
//
//	go test -c -tags ipvs -o /tmp/syncd.test && ../lab/vm -o testdata /tmp/syncd.test -test.run TestKernelMessages -update
func TestKernelMessages(t *testing.T) {
	client, director := netnstest.New(t, "client"), newDirector(t, "director", "master", "backup")
	netnstest.Cable(t, client, "eth0", director, "eth0")
	// The real server of the connections that need answers is on the director.
	director.Run(t, "sh", "-ec", `ip -batch - <<END
addr add 10.0.0.254/24 dev eth0
addr add 10.0.0.100/32 dev eth0
addr add 10.1.0.21/32 dev eth0
addr add fd00::fe/64 dev eth0 nodad
addr add fd00::100/128 dev eth0 nodad
addr add fd01::21/128 dev eth0 nodad
END
nft -f - <<END
add table inet m
add chain inet m c { type filter hook prerouting priority mangle; }
add rule inet m c meta nfproto ipv4 udp dport 55 mark set 10
add rule inet m c meta nfproto ipv6 udp dport 55 mark set 11
END
`)
	client.Run(t, "sh", "-ec", "ip addr add 10.0.0.1/24 dev eth0; ip addr add fd00::1/64 dev eth0 nodad")
	captured := capture(t, director)
	inject := injector(t, director)
	echo(t, director, "tcp", ":8080")

	// Two packets are what it takes to be told of.
	first := dial(t, client, "tcp", "10.0.0.1:40001", "10.0.0.100:80")
	second := dial(t, client, "tcp", "[fd00::1]:40002", "[fd00::100]:80")
	exchange(t, first, "x")
	exchange(t, second, "x")
	sip := "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\r\n"
	for _, u := range []struct{ from, to, text string }{
		{"10.0.0.1:5060", "10.0.0.100:5060", sip},
		{"10.0.0.1:40003", "10.0.0.100:53", "x"},
		{"10.0.0.1:40004", "10.0.0.100:54", "x"},
		{"10.0.0.1:40005", "10.0.0.100:55", "x"},
		{"[fd00::1]:40006", "[fd00::100]:55", "x"},
		{"10.0.0.1:40007", "10.0.0.100:56", "x"},
	} {
		c := dial(t, client, "udp", u.from, u.to)
		for sent := 0; sent < 2; {
			// An answer to the one before, that nobody listens there, is an error of the next.
			if _, err := io.WriteString(c, u.text); err == nil {
				sent++
			}
		}
	}
	closed := dial(t, client, "tcp", "10.0.0.1:40008", "10.0.0.100:80")
	exchange(t, closed, "x")
	closed.Close()
	await(t, "the end of a connection", func() bool {
		return slices.ContainsFunc(listed(t, director), func(c ipvs.Connection) bool { return c.State == "TIME_WAIT" })
	})

	// Nothing in a kernel of today shifts sequence numbers, but it repeats what it was told.
	shifted := syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: addr("10.0.0.1:40001"), Virtual: addr("10.0.0.100:80"), Real: addr("10.1.0.21:8080"),
		Flags: syncd.ForwardMasq | syncd.FlagInSeq | syncd.FlagOutSeq, State: syncd.StateTCPEstablished, Timeout: 777 * time.Second,
		Sequences: syncd.Sequences{Present: true, In: syncd.Sequence{Init: 1, Delta: 2, Previous: 3}, Out: syncd.Sequence{Init: 4, Delta: 5, Previous: 6}},
	}
	inject(shifted)
	await(t, "the injected timeout", func() bool {
		return slices.ContainsFunc(listed(t, director), func(c ipvs.Connection) bool {
			return c.Client == shifted.Client && c.Expires <= shifted.Timeout
		})
	})
	director.Sysctl(t, "net/ipv4/vs/sync_threshold", "0 1")
	exchange(t, first, "x")

	// The kernel waits two seconds for more.
	told := make(map[string]syncd.Conn)
	var datagrams [][]byte
	table := listed(t, director)
	await(t, "all connections and the shifted sequence numbers", func() bool {
		b := <-captured
		m, err := syncd.ParseMessage(b)
		if err != nil || m.NotTaken > 0 || m.SyncID != syncID {
			t.Fatalf("%v, %d of sync id %d not taken: %x", err, m.NotTaken, m.SyncID, b)
		}
		datagrams = append(datagrams, b)
		for _, c := range m.Conns {
			told[keyOf(c)] = c
		}
		return len(told) >= len(table) && slices.ContainsFunc(m.Conns, func(c syncd.Conn) bool { return c.Sequences == shifted.Sequences })
	})
	if len(table) != 9+4 {
		t.Errorf("the kernel has %d connections and templates, want 9 and 4", len(table))
	}
	compare(t, told, table)
	compareSeeds(t, told, table)
	if golden.Update() {
		writeGolden(t, datagrams)
	}

	// The other direction: all of it, from a shadow table and in small messages, for a kernel
	// that knows nothing.
	shadow := syncd.NewTable(100)
	now := time.Now()
	for _, c := range told {
		shadow.Observe(now, c, 0)
	}
	found, _ := shadow.Chunk(now, syncd.Cursor{}, nil, len(told))
	var conns []syncd.Conn
	for _, l := range found {
		conns = append(conns, l.Resync())
	}
	standby := newDirector(t, "standby", "backup")
	injector(t, standby)(conns...)
	await(t, "as many connections on the standby", func() bool { return len(listed(t, standby)) >= len(told) })
	compare(t, told, listed(t, standby))
	its := syncd.NewTable(100)
	for _, c := range seeds(t, listed(t, standby)) {
		its.Seed(now, c)
	}
	if diff := cmp.Diff(maps.Collect(shadow.Digests()), maps.Collect(its.Digests()), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("digests (-told +standby):\n%s", diff)
	}
	for _, want := range []string{"10.1.0.21:8080 Masq 1 1 1", "[fd01::21]:8080 Masq 1 1 0", "10.0.0.21:53 Route 1 0 1", "10.0.0.21:54 Tunnel 1 0 1"} {
		if table := standby.Run(t, "ipvsadm", "-Ln"); !strings.Contains(strings.Join(strings.Fields(table), " "), want) {
			t.Errorf("the connections are not their destinations', want %q in\n%s", want, table)
		}
	}
}

// compare finds each connection that the kernel lists among those of messages.
func compare(t *testing.T, told map[string]syncd.Conn, table []ipvs.Connection) {
	t.Helper()
	if len(told) != len(table) {
		t.Errorf("%d connections in messages, %d in the table", len(told), len(table))
	}
	for _, have := range table {
		key := fmt.Sprint(have.Protocol, have.Client, have.Virtual, have.EngineData)
		c, ok := told[key]
		want := ipvs.Connection{
			Protocol: c.Protocol.String(), Client: c.Client, Virtual: c.Virtual, Destination: c.Real, State: c.StateName(),
			Expires: have.Expires, Engine: c.Engine, EngineData: c.EngineData,
		}
		switch {
		case !ok:
			t.Errorf("no message told of %s", key)
		case want != have:
			t.Errorf("(-message +table):\n%s", cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", have)))
		case have.Expires > c.Timeout || have.Expires < c.Timeout-10*time.Second:
			t.Errorf("%s expires in %s, its message says %s", key, have.Expires, c.Timeout)
		}
	}
}

// seeds are the connections of a listing.
func seeds(t *testing.T, listed []ipvs.Connection) []syncd.Living {
	t.Helper()
	table, err := ipvs.ParseSave(strings.NewReader(services))
	if err != nil {
		t.Fatal(err)
	}
	var conns []syncd.Living
	for c, err := range ipvsnl.SyncConns(table, func(yield func(ipvs.Connection, error) bool) {
		for _, l := range listed {
			if !yield(l, nil) {
				return
			}
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if len(conns) != len(listed) {
		t.Errorf("%d connections of %d listed", len(conns), len(listed))
	}
	return conns
}

// compareSeeds checks that the listing, with the table of services, tells what messages do.
func compareSeeds(t *testing.T, told map[string]syncd.Conn, listed []ipvs.Connection) {
	t.Helper()
	for _, l := range seeds(t, listed) {
		want := told[keyOf(l.Conn)]
		want.Sequences = syncd.Sequences{}
		want.Flags &^= syncd.FlagInSeq | syncd.FlagOutSeq
		if !want.Template() { // whose whole timeout is the virtual server's
			want.Timeout = l.Remaining
		}
		if l.Conn != want {
			t.Errorf("from the listing %s\nfrom messages   %s", l, want)
		}
	}
}

func keyOf(c syncd.Conn) string {
	return fmt.Sprint(c.Protocol.String(), c.Client, c.Virtual, c.EngineData)
}

// listed is the kernel's connection table.
func listed(t *testing.T, ns *netnstest.NS) []ipvs.Connection {
	t.Helper()
	var table []byte
	var err error
	ns.Do(func() { table, err = os.ReadFile("/proc/thread-self/net/ip_vs_conn") })
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(table), "\n")
	var cs []ipvs.Connection
	for line := range strings.Lines(lines) {
		c, err := ipvs.ParseConnection(line)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	return cs
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// injectPort is where injected messages come from, by which they are told from the
// kernel's.
const injectPort = 8849

// injector returns a function that sends connections to the backup daemon of a director.
func injector(t *testing.T, ns *netnstest.NS) func(...syncd.Conn) {
	t.Helper()
	var fd int
	var err error
	ns.Do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	local := [4]byte{169, 254, 0, 1}
	if err := unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, local); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: injectPort, Addr: local}); err != nil {
		t.Fatal(err)
	}
	return func(cs ...syncd.Conn) {
		t.Helper()
		for b, err := range syncd.Messages(syncID, 200, slices.Values(cs)) {
			if err == nil {
				err = unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Port: 8848, Addr: [4]byte{224, 0, 0, 81}})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// capture returns the datagrams of a director's master daemon.
func capture(t *testing.T, ns *netnstest.NS) <-chan []byte {
	t.Helper()
	const ethPAll = 0x0300 // ETH_P_ALL in network byte order; others do not see what leaves
	var fd int
	var err error
	ns.Do(func() {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName("hasync0"); err != nil {
			return
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ethPAll, Ifindex: ifi.Index})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "capture")
	t.Cleanup(func() { f.Close() })
	captured := make(chan []byte, 100)
	go func() {
		defer close(captured)
		buf := make([]byte, 65536)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return
			}
			const headers = 20 + 8
			b := buf[:n]
			if n < headers || b[0] != 0x45 || b[9] != unix.IPPROTO_UDP || b[22] != 8848>>8 || b[23] != 8848&0xff {
				continue
			}
			if int(b[20])<<8|int(b[21]) != injectPort {
				captured <- bytes.Clone(b[headers:])
			}
		}
	}()
	return captured
}

func dial(t *testing.T, ns *netnstest.NS, network, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(addr(from))
	} else {
		d.LocalAddr = net.UDPAddrFromAddrPort(addr(from))
	}
	var c net.Conn
	var err error
	// An address and no name: the socket is made on the namespace's thread.
	ns.Do(func() { c, err = d.Dial(network, to) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func exchange(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len(text))); err != nil {
		t.Fatal(err)
	}
}

// echo serves what exchange asks.
func echo(t *testing.T, ns *netnstest.NS, network, at string) {
	t.Helper()
	var l net.Listener
	var err error
	ns.Do(func() { l, err = net.Listen(network, at) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// writeGolden writes messages as inputs of TestGoldenMessages.
func writeGolden(t *testing.T, datagrams [][]byte) {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range datagrams {
		text := fmt.Sprintf("# From the master daemon of Linux %s\n%s----\n", strings.TrimSpace(string(release)), hexMessage(b))
		if err := os.WriteFile(fmt.Sprintf("testdata/kernel-%d.txt", i+1), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
