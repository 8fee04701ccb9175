//go:build ipvs

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// talk is a conversation of the client with a real server that says its name whenever it is
// spoken to: a connection of TCP, or the datagrams between two ports.
type talk struct {
	network, target string
	c               net.Conn
	r               *bufio.Reader
	server          string // who it is with
}

// named has the real servers answer every line with their names: over TCP at every address,
// over UDP at those given.
func (b *bed) named(tcp []uint16, udp ...string) {
	b.t.Helper()
	for _, rs := range realServers {
		for _, port := range tcp {
			var l net.Listener
			if err := b.Do(rs, func() (err error) { l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); return err }); err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					b.t.Cleanup(func() { c.Close() })
					go answerLines(c, rs)
				}
			}()
		}
		for _, at := range udp {
			var c net.PacketConn
			if err := b.Do(rs, func() (err error) { c, err = net.ListenPacket("udp", at); return err }); err != nil {
				b.t.Fatal(err)
			}
			b.t.Cleanup(func() { c.Close() })
			go answerUDP(c, rs+"\n")
		}
	}
}

func answerLines(c net.Conn, name string) {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if _, err := io.WriteString(c, name+"\n"); err != nil {
			return
		}
	}
}

// talk begins a conversation from an address of the client.
func (b *bed) talk(network, from, target string) *talk {
	b.t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	d := net.Dialer{Timeout: 15 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(at)}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(at)
	}
	k := &talk{network: network, target: target}
	if err := b.Do(cluster.Client, func() (err error) { k.c, err = d.DialContext(b.ctx, network, target); return err }); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { k.c.Close() })
	k.r = bufio.NewReader(k.c)
	server, err := k.say()
	if err != nil {
		b.t.Fatalf("%s from %s to %s: %v", network, from, target, err)
	}
	k.server = server
	return k
}

// say says something and returns who answers. What TCP does by itself a client of UDP has to
// do: it says it again.
func (k *talk) say() (string, error) {
	tries, each := 1, 30*time.Second
	if k.network == "udp" {
		tries, each = 30, time.Second
	}
	var err error
	for range tries {
		_ = k.c.SetDeadline(time.Now().Add(each))
		if _, err = io.WriteString(k.c, "who\n"); err != nil {
			continue
		}
		var line string
		if line, err = k.r.ReadString('\n'); err == nil {
			return strings.TrimSpace(line), nil
		}
	}
	return "", err
}

// goesOn checks that a conversation goes on with the same real server.
func (b *bed) goesOn(k *talk, when string) {
	b.t.Helper()
	if server, err := k.say(); err != nil || server != k.server {
		b.t.Errorf("%s: %s to %s from %s, with %s, goes on with %q: %v", when, k.network, k.target, k.c.LocalAddr(), k.server, server, err)
	}
}
