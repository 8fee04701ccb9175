//go:build ipvs

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// realServers are the lab's, in the order in which counts are given.
var realServers = []string{cluster.RS1, cluster.RS2}

// greet has the real servers, with the virtual address on them, say their names to
// everybody who connects to one of the ports.
func (b *bed) greet(ports ...uint16) {
	b.t.Helper()
	for _, rs := range realServers {
		if err := b.AddVIP(rs); err != nil {
			b.t.Fatal(err)
		}
		for _, port := range ports {
			var l net.Listener
			err := b.Do(rs, func() (err error) {
				l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
				return err
			})
			if err != nil {
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
					_, _ = io.WriteString(c, rs+"\n")
				}
			}()
		}
	}
}

// dial connects from the client and returns the open connection and the name of the real
// server that took it. from is the client's address; none: any.
func (b *bed) dial(from, target string) (net.Conn, string) {
	b.t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	var c net.Conn
	if err := b.Do(cluster.Client, func() (err error) { c, err = d.DialContext(b.ctx, "tcp4", target); return err }); err != nil {
		b.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	name := make([]byte, len(cluster.RS1)+1)
	if _, err := io.ReadFull(c, name); err != nil {
		b.t.Fatalf("%s says no name: %v", target, err)
	}
	return c, strings.TrimSpace(string(name))
}

// spread opens connections one after the other, closes them, and returns how many each
// real server took.
func (b *bed) spread(n int, from, target string) (taken [2]int) {
	b.t.Helper()
	for range n {
		c, name := b.dial(from, target)
		defer c.Close()
		taken[slices.Index(realServers, name)]++
	}
	return taken
}

// running configures a director with the lab's VRRP and a text, and starts it.
func (b *bed) running(text string) *node {
	b.t.Helper()
	b.configure(cluster.VRRP + text)
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	return n
}

// checked is the check that the virtual servers of these tests have.
const checked = "[check.port]\ntype = \"tcp\"\ninterval = \"1s\"\ntimeout = \"500ms\"\n"
