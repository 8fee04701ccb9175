//go:build ipvs

package nft

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
)

// A virtual server on a refused address serves, while the machine itself does not answer
// there: IPVS takes the packets before they come to the chain.
func TestVirtualServersServeOnRefusedAddresses(t *testing.T) {
	self, client, server := filterNet(t)
	var listener net.Listener
	server.Do(func() {
		var err error
		listener, err = net.Listen("tcp", "10.1.0.9:80")
		must(t, err)
	})
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "served")
			c.Close()
		}
	}()
	self.Run(t, "ipvsadm", "-A", "-t", "10.0.0.100:80", "-s", "rr")
	self.Run(t, "ipvsadm", "-a", "-t", "10.0.0.100:80", "-r", "10.1.0.9:80", "-m")
	t.Cleanup(func() { self.Run(t, "ipvsadm", "-C") })
	f := New()
	must(t, f.Refuse("eth0", vips))
	t.Cleanup(func() { must(t, f.Close()) })

	if got := answering(t, client, "10.0.0.1", "10.0.0.100", "2001:db8::1", "2001:db8::100"); !slices.Equal(got, []string{"10.0.0.1", "2001:db8::1"}) {
		t.Errorf("%q answer, want the machine's own addresses and none of the refused", got)
	}
	got := fetch(t, client, "10.0.0.100:80")
	if got != "served" {
		t.Errorf("the virtual server says %q", got)
	}
}

func fetch(t *testing.T, ns *netnstest.NS, addr string) string {
	t.Helper()
	var body []byte
	var err error
	ns.Do(func() {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", addr, 20*time.Second); err == nil {
			body, err = io.ReadAll(c)
			c.Close()
		}
	})
	if err != nil {
		t.Errorf("connect to %s: %v", addr, err)
	}
	return string(body)
}
