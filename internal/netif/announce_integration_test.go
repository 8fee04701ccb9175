//go:build integration

package netif

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/hadirector/hadirector/internal/netnstest"
)

// A neighbour that has just refreshed its entry ignores, for a second, everything
// that is not a true announcement. Ours must get through at once.
func TestNeighbourFollowsTheAnnouncementWithinASecondOfItsLastUpdate(t *testing.T) {
	const vip = "10.0.0.100"
	sw := netnstest.NewSwitch(t)
	self, old, client := netnstest.Self(), netnstest.New(t, "old"), netnstest.New(t, "client")
	sw.Connect(t, self, "eth0", "10.0.0.1/24")
	sw.Connect(t, old, "eth0", "10.0.0.2/24", vip+"/24")
	sw.Connect(t, client, "eth0", "10.0.0.9/24")

	oldMAC := linkAddr(t, old)
	client.Run(t, "ping", "-c1", "-W2", vip)
	if got := neighbour(t, client, vip); got != oldMAC {
		t.Fatalf("before the announcement the client's neighbour entry is %s, want %s", got, oldMAC)
	}

	self.IP(t, "addr add "+vip+"/24 dev eth0")
	n := NewAnnouncer()
	defer n.Close()
	must(t, n.Announce("eth0", prefixes(vip+"/24")))

	ifi, err := net.InterfaceByName("eth0")
	must(t, err)
	awaitNeighbour(t, client, vip, ifi.HardwareAddr.String(), 500*time.Millisecond)
}

// Each of the two forms alone is enough, so both are right.
func TestEachFormAloneConvincesTheNeighbour(t *testing.T) {
	const vip = "10.0.0.100"
	for i, form := range []string{"request", "reply"} {
		t.Run(form, func(t *testing.T) {
			sw := netnstest.NewSwitch(t)
			self, old, client := netnstest.Self(), netnstest.New(t, "old"), netnstest.New(t, "client")
			sw.Connect(t, self, "eth0", "10.0.0.1/24")
			sw.Connect(t, old, "eth0", "10.0.0.2/24", vip+"/24")
			sw.Connect(t, client, "eth0", "10.0.0.9/24")
			client.Run(t, "ping", "-c1", "-W2", vip)

			ifi, err := net.InterfaceByName("eth0")
			must(t, err)
			frames, err := gratuitousARP(ifi.HardwareAddr, netip.MustParseAddr(vip))
			must(t, err)
			var s sock
			defer s.close()
			must(t, s.send(ifi, frames[i], time.Now().Add(time.Second)))
			awaitNeighbour(t, client, vip, ifi.HardwareAddr.String(), 500*time.Millisecond)
		})
	}
}

func TestNeighbourFollowsTheIPv6Announcement(t *testing.T) {
	const vip = "2001:db8::100"
	sw := netnstest.NewSwitch(t)
	self, old, client := netnstest.Self(), netnstest.New(t, "old"), netnstest.New(t, "client")
	sw.Connect(t, self, "eth0")
	sw.Connect(t, old, "eth0")
	sw.Connect(t, client, "eth0")
	old.IP(t, "addr add "+vip+"/64 dev eth0 nodad")
	client.IP(t, "addr add 2001:db8::9/64 dev eth0 nodad")
	client.Run(t, "ping", "-c1", "-W5", vip)
	if got, want := neighbour(t, client, vip), linkAddr(t, old); got != want {
		t.Fatalf("before the announcement the client's neighbour entry is %s, want %s", got, want)
	}
	must(t, NewAddresses(quiet).Acquire("eth0", prefixes(vip+"/64")))
	n := NewAnnouncer()
	defer n.Close()
	must(t, n.Announce("eth0", prefixes(vip+"/64")))
	ifi, err := net.InterfaceByName("eth0")
	must(t, err)
	awaitNeighbour(t, client, vip, ifi.HardwareAddr.String(), patience)
}

// The socket is bound to an interface by index. An interface that was down, or was
// made again under the same name, needs a new one.
func TestAnnouncerSurvivesTheInterface(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	n := NewAnnouncer()
	defer n.Close()
	announceSeen := func(what string) {
		t.Helper()
		seen := capture(t, far, "eth0")
		if err := n.Announce("eth0", prefixes("10.0.0.100/24", "10.0.0.101/24")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for i, want := range []string{
			"0a000064" + "000000000000" + "0a000064", "", "0a000065" + "000000000000" + "0a000065", "",
		} {
			f := seen()
			if len(f) != 60 {
				t.Errorf("%s: frame %d has %d bytes, want 60", what, i, len(f))
			}
			if !strings.Contains(hex.EncodeToString(f), want) {
				t.Errorf("%s: frame %d is %x, want %s in it", what, i, f, want)
			}
		}
	}
	netnstest.Cable(t, self, "eth0", far, "eth0")
	announceSeen("first")
	self.IP(t, "link set eth0 down")
	if err := n.Announce("eth0", prefixes("10.0.0.100/24")); err == nil {
		t.Error("announcing on a link that is down gave no error")
	}
	self.IP(t, "link set eth0 up")
	self.AwaitUp(t, "eth0")
	far.AwaitUp(t, "eth0")
	announceSeen("after down and up")
	self.IP(t, "link del eth0")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	announceSeen("after delete and recreate")
	// The old interface lives on under another name, and its socket still works.
	self.IP(t, "link set eth0 down")
	self.IP(t, "link set eth0 name old0")
	t.Cleanup(func() { self.IP(t, "link del old0") })
	far.IP(t, "link set eth0 down")
	far.IP(t, "link set eth0 name old0")
	self.IP(t, "link set old0 up")
	far.IP(t, "link set old0 up")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	announceSeen("on another interface of the same name")
	must(t, n.Close())
	announceSeen("after Close")
}

// capture opens a socket for ARP in the namespace and returns a function that gives
// the next frame.
func capture(t *testing.T, ns *netnstest.NS, ifname string) func() []byte {
	t.Helper()
	var c *packet.Conn
	var err error
	ns.Do(func() {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName(ifname); err == nil {
			c, err = packet.Listen(ifi, packet.Raw, etherTypeARP, nil)
		}
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return func() []byte {
		t.Helper()
		b := make([]byte, 2000)
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		n, _, err := c.ReadFrom(b)
		must(t, err)
		return b[:n]
	}
}

// linkAddr is the Ethernet address of a namespace's eth0.
func linkAddr(t *testing.T, ns *netnstest.NS) string {
	t.Helper()
	return fieldAfter(ns.IP(t, "link show eth0"), "link/ether")
}

// neighbour is the Ethernet address that a namespace has for an address.
func neighbour(t *testing.T, ns *netnstest.NS, addr string) string {
	t.Helper()
	return fieldAfter(ns.IP(t, "neigh show "+addr), "lladdr")
}

func awaitNeighbour(t *testing.T, ns *netnstest.NS, addr, want string, within time.Duration) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		got := neighbour(t, ns, addr)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v after the announcement the neighbour entry of %s is %s, want %s", within, addr, got, want)
		}
	}
}

func fieldAfter(out, word string) string {
	fields := strings.Fields(out)
	if i := slices.Index(fields, word); i >= 0 && i+1 < len(fields) {
		return fields[i+1]
	}
	return fmt.Sprintf("(no %s in %q)", word, out)
}
