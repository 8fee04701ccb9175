//go:build integration

package netif

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"
	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp/router"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

// waitLink reads states until one satisfies ok. The kernel reports a carrier in
// several steps, so not every state that comes is the one that the test is about.
func waitLink(t *testing.T, ch <-chan router.Link, what string, ok func(router.Link) bool) router.Link {
	t.Helper()
	deadline := time.After(patience)
	var last router.Link
	for {
		select {
		case last = <-ch:
			if ok(last) {
				return last
			}
		case <-deadline:
			t.Fatalf("no state %q within %v; the last was %+v", what, patience, last)
		}
	}
}

func isUp(l router.Link) bool { return l.Up }

func why(s string) func(router.Link) bool {
	return func(l router.Link) bool { return !l.Up && l.Why == s }
}

func startWatcher(t *testing.T) *Watcher {
	t.Helper()
	return startWatcherWith(t, quiet)
}

func startWatcherWith(t *testing.T, logger *slog.Logger) *Watcher {
	t.Helper()
	w := NewWatcher(logger)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil after cancel", err)
		}
	})
	return w
}

func TestWatcherSeesTheLifeOfALink(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	w := startWatcher(t)
	ch, stop := w.Watch("eth0")
	defer stop()

	waitLink(t, ch, "missing", why("link eth0 does not exist"))
	netnstest.Cable(t, self, "eth0", far, "eth0")
	waitLink(t, ch, "up", isUp)
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	waitLink(t, ch, "address", func(l router.Link) bool { return slices.Contains(l.Addrs, prefix("10.0.0.1/24")) })
	far.IP(t, "link set eth0 down")
	waitLink(t, ch, "no carrier", why("link eth0 has no carrier"))
	far.IP(t, "link set eth0 up")
	waitLink(t, ch, "carrier again", isUp)
	self.IP(t, "link set eth0 down")
	waitLink(t, ch, "down", why("link eth0 is down"))
	self.IP(t, "link set eth0 name lan0")
	waitLink(t, ch, "renamed away", why("link eth0 does not exist"))
	self.IP(t, "link set lan0 name eth0")
	self.IP(t, "link set eth0 up")
	l := waitLink(t, ch, "renamed back", isUp)
	if !slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
		t.Errorf("after the renaming the addresses are %v, want 10.0.0.1/24 among them", l.Addrs)
	}
	self.IP(t, "link del eth0")
	waitLink(t, ch, "deleted", why("link eth0 does not exist"))
	netnstest.Cable(t, self, "eth0", far, "eth0")
	l = waitLink(t, ch, "recreated", isUp)
	if slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
		t.Errorf("the recreated link still has the old one's address: %v", l.Addrs)
	}
}

// A port that leaves its bridge is told in a message that looks like a deletion.
func TestWatcherKeepsAPortThatLeavesItsBridge(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "link add br0 type bridge")
	t.Cleanup(func() { self.IP(t, "link del br0") })
	self.IP(t, "link set eth0 master br0")

	w := startWatcher(t)
	ch, stop := w.Watch("eth0")
	defer stop()
	waitLink(t, ch, "up", isUp)
	self.IP(t, "link set eth0 nomaster")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	for {
		l := waitLink(t, ch, "any", func(router.Link) bool { return true })
		if !l.Up {
			t.Fatalf("told %q although the port has only left its bridge", l.Why)
		}
		if slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
			return
		}
	}
}

func TestAddressesAreIdempotent(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	a := NewAddresses(quiet)
	vips := prefixes("10.0.0.100/24", "10.0.0.101/32", "2001:db8::100/64")

	for range 2 {
		if err := a.Acquire("eth0", vips); err != nil {
			t.Fatal(err)
		}
		for _, v := range vips {
			if !slices.Contains(addrsOf(t, "eth0"), v) {
				t.Errorf("%v is not on eth0: %v", v, addrsOf(t, "eth0"))
			}
		}
	}
	out := self.IP(t, "addr show dev eth0")
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "inet 10.0.0.100/24"):
			if !strings.Contains(line, "secondary") || strings.Contains(line, "brd") {
				t.Errorf("%q: want a secondary address without broadcast", line)
			}
		case strings.HasPrefix(line, "inet6 2001:db8::100/64"):
			if !strings.Contains(line, "nodad") || !strings.Contains(line, "deprecated") || strings.Contains(line, "tentative") {
				t.Errorf("%q: want nodad, deprecated, not tentative", line)
			}
		}
	}
	for range 2 {
		if err := a.Release("eth0", vips); err != nil {
			t.Fatal(err)
		}
		for _, v := range vips {
			if slices.Contains(addrsOf(t, "eth0"), v) {
				t.Errorf("%v is still on eth0", v)
			}
		}
	}
	if !slices.Contains(addrsOf(t, "eth0"), prefix("10.0.0.1/24")) {
		t.Errorf("the own address is gone: %v", addrsOf(t, "eth0"))
	}
}

// A virtual address that was on the interface first is the primary one of the
// subnet. Without promote_secondaries the kernel would remove the others with it.
func TestReleaseKeepsTheOtherAddressesOfTheSubnet(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.Sysctl(t, "net/ipv4/conf/eth0/promote_secondaries", "0")
	self.IP(t, "addr add 10.0.0.100/24 dev eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	if err := NewAddresses(quiet).Release("eth0", prefixes("10.0.0.100/24")); err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(addrsOf(t, "eth0"), func(p netip.Prefix) bool { return p.Addr().Is6() })
	if diff := cmp.Diff(prefixes("10.0.0.1/24"), got, comparePrefixes); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if v, err := sysctl.Get("net/ipv4/conf/eth0/promote_secondaries"); v != "1" {
		t.Errorf("promote_secondaries = %q, %v, want 1", v, err)
	}
}

func TestAnotherPrefixLengthIsReplacedAndReleased(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	ipv4 := func() []netip.Prefix {
		return slices.DeleteFunc(addrsOf(t, "eth0"), func(p netip.Prefix) bool { return p.Addr().Is6() })
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(prefixes(want...), ipv4(), comparePrefixes); diff != "" {
			t.Errorf("%s: addresses (-want +got):\n%s", what, diff)
		}
	}
	a := NewAddresses(quiet)
	self.IP(t, "addr add 10.0.0.100/32 dev eth0")
	must(t, a.Acquire("eth0", prefixes("10.0.0.100/24")))
	check("acquired over a leftover", "10.0.0.1/24", "10.0.0.100/24")
	// What a reload that changes the length does.
	must(t, a.Acquire("eth0", prefixes("10.0.0.100/28")))
	must(t, a.Release("eth0", prefixes("10.0.0.100/24")))
	check("length changed", "10.0.0.1/24", "10.0.0.100/28")
	must(t, a.Release("eth0", prefixes("10.0.0.100/28")))
	check("released", "10.0.0.1/24")
	self.IP(t, "addr add 10.0.0.100/32 dev eth0")
	must(t, a.Release("eth0", prefixes("10.0.0.100/24")))
	check("leftover of another length released", "10.0.0.1/24")
}

func TestMissingLink(t *testing.T) {
	a := NewAddresses(quiet)
	if err := a.Release("nosuch0", prefixes("10.0.0.100/24")); err != nil {
		t.Errorf("release on a missing link: %v, want nil, nothing is there", err)
	}
	if err := a.Acquire("nosuch0", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("acquire on a missing link: %v, want an error that names it", err)
	}
	n := NewAnnouncer()
	defer n.Close()
	if err := n.Announce("nosuch0", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("announce on a missing link: %v, want an error that names it", err)
	}
	if err := n.Announce("lo", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "no Ethernet address") {
		t.Errorf("announce on lo: %v, want an error that says why not", err)
	}
}

// One address that fails suppresses no other.
func TestAcquireTriesEveryAddress(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.Sysctl(t, "net/ipv6/conf/eth0/disable_ipv6", "1")
	err := NewAddresses(quiet).Acquire("eth0", prefixes("2001:db8::1/64", "10.0.0.100/24"))
	if err == nil || !strings.Contains(err.Error(), "2001:db8::1/64") {
		t.Errorf("err = %v, want one that names 2001:db8::1/64", err)
	}
	if !slices.Contains(addrsOf(t, "eth0"), prefix("10.0.0.100/24")) {
		t.Errorf("10.0.0.100/24 was not added after the other had failed")
	}
}

func TestInterfaceOf(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	if got, err := InterfaceOf(netip.MustParseAddr("10.0.0.1")); got != "eth0" || err != nil {
		t.Errorf("InterfaceOf(10.0.0.1) = %q, %v", got, err)
	}
	if got, err := InterfaceOf(netip.MustParseAddr("127.0.0.1")); got != "lo" || err != nil {
		t.Errorf("InterfaceOf(127.0.0.1) = %q, %v", got, err)
	}
	if got, err := InterfaceOf(netip.MustParseAddr("10.0.0.2")); err == nil {
		t.Errorf("InterfaceOf(10.0.0.2) = %q, want an error", got)
	}
	all, err := LocalAddresses()
	if err != nil || !slices.Contains(all, prefix("10.0.0.1/24")) || !slices.Contains(all, prefix("127.0.0.1/8")) {
		t.Errorf("LocalAddresses() = %v, %v", all, err)
	}
}

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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addrsOf(t *testing.T, ifname string) []netip.Prefix {
	t.Helper()
	tb, err := readTable()
	must(t, err)
	return tb.state(ifname).Addrs
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

// More changes at once than the socket's buffer holds end the subscription. The
// watcher must come back with the right state.
func TestWatcherRecoversFromLostMessages(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	var log bytes.Buffer
	w := startWatcherWith(t, slog.New(slog.NewTextHandler(&log, nil)))
	ch, stop := w.Watch("eth0")
	defer stop()
	waitLink(t, ch, "up", isUp)

	w.mu.Lock() // the watcher stops reading, the kernel goes on telling
	a := NewAddresses(quiet)
	var flood []netip.Prefix
	for i := range 250 {
		flood = append(flood, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)}), 32))
	}
	var err error
	for range 40 {
		err = errors.Join(err, a.Acquire("eth0", flood), a.Release("eth0", flood))
	}
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	w.mu.Unlock()
	must(t, err)
	waitLink(t, ch, "the last address", func(l router.Link) bool {
		return slices.Contains(l.Addrs, prefix("10.0.0.1/24")) && !slices.Contains(l.Addrs, prefix("10.1.0.250/32"))
	})
	// Written before the state was read again, so nobody writes it now.
	if !strings.Contains(log.String(), "link subscription lost") {
		t.Error("the flood was too small, the subscription has not been lost")
	}
}
