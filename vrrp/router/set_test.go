package router

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

func check(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestPair starts two directors and stops the Master. The literal times are
// Master_Down_Interval of priority 200 and Skew_Time of priority 100 at one second.
func TestPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		b := newHost(t, lan, "b", "10.0.0.2/24")
		a.set.Apply(only(web(200)))
		b.set.Apply(only(web(100)))
		pass(10 * time.Second)
		check(t, "a", a.transitions(), []string{
			"0s web stopped→backup startup",
			"3.21875s web backup→master master-down",
		})
		check(t, "b", b.transitions(), []string{"0s web stopped→backup startup"})
		check(t, "kernel", lan.take(), []string{
			"3.21875s a +10.0.0.100/24",
			"3.21875s a announces [10.0.0.100/24]",
			"4.31875s a announces [10.0.0.100/24]",
			"5.41875s a announces [10.0.0.100/24]",
			"6.51875s a announces [10.0.0.100/24]",
			"7.61875s a announces [10.0.0.100/24]",
		})
		s := b.snapshot("web")
		if s.MasterAddr != netip.MustParseAddr("10.0.0.1") || s.MasterPriority != 200 || s.Counters.AdvertsReceived != 7 {
			t.Errorf("b sees master %v priority %d after %d adverts", s.MasterAddr, s.MasterPriority, s.Counters.AdvertsReceived)
		}

		a.stop()
		pass(time.Second)
		check(t, "a", a.transitions(), []string{"10s web master→stopped shutdown"})
		check(t, "b", b.transitions(), []string{"10.609375s web backup→master master-released"})
		check(t, "kernel", lan.take(), []string{
			"10s a -10.0.0.100/24",
			"10.609375s b +10.0.0.100/24",
			"10.609375s b announces [10.0.0.100/24]",
		})
	})
}

// master returns a lone host that is Master of web since 3.21875 s.
func master(t *testing.T, lan *lan) *host {
	h := newHost(t, lan, "a", "10.0.0.1/24")
	h.set.Apply(only(web(200)))
	pass(4 * time.Second)
	if s := h.snapshot("web"); s.State != vrrp.Master {
		t.Fatalf("state %v, want master", s.State)
	}
	h.transitions()
	lan.take()
	return h
}

func TestLinkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.change(func() { a.link.Up, a.link.Why = false, "link eth0 is down" })
		pass(time.Second)
		check(t, "down", a.transitions(), []string{"4s web master→fault failed: link eth0 is down"})
		check(t, "kernel", lan.take(), []string{"4s a -10.0.0.100/24"})
		if diff := cmp.Diff([]vrrp.Priority{200, 0}, a.opened[0].sent); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		if s := a.snapshot("web"); s.State != vrrp.Fault || s.Detail != "link eth0 is down" {
			t.Errorf("snapshot %v %q", s.State, s.Detail)
		}
		a.change(func() { a.link.Up, a.link.Why = true, "" })
		pass(4 * time.Second)
		check(t, "up", a.transitions(), []string{
			"5s web fault→backup recovered",
			"8.21875s web backup→master master-down",
		})
		if len(a.opened) != 1 {
			t.Errorf("%d sockets were opened, want 1: the interface is the same", len(a.opened))
		}
	})
}

func TestInterfaceAppearsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		up := a.link
		a.change(func() { a.link = Link{Name: "eth0", Why: "link eth0 does not exist"} })
		a.set.Apply(only(web(200)))
		pass(time.Second)
		a.change(func() { a.link = Link{Name: "eth0", Index: 7, Up: true} })
		pass(time.Second)
		if got, want := a.snapshot("web").Detail, "interface eth0 has no ipv4 address of its own"; got != want {
			t.Errorf("detail %q, want %q", got, want)
		}
		a.change(func() { a.link = up })
		pass(time.Second)
		check(t, "reports", a.transitions(), []string{
			"0s web stopped→fault failed: link eth0 does not exist",
			"2s web fault→backup recovered",
		})
	})
}

// TestOpenFails: it is tried again when the link changes, and every second.
func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		a.change(func() { a.openErr = errKernel })
		a.set.Apply(only(web(200)))
		pass(1500 * time.Millisecond)
		a.change(func() { a.openErr = nil })
		pass(0)
		check(t, "link change", a.transitions(), []string{
			"0s web stopped→fault failed: cannot open a socket on eth0: the kernel says no",
			"1.5s web fault→backup recovered",
		})

		b := newHost(t, lan, "b", "10.0.0.2/24")
		b.change(func() { b.openErr = errKernel })
		b.set.Apply(only(web(100)))
		pass(500 * time.Millisecond)
		b.mu.Lock()
		b.openErr = nil
		b.mu.Unlock()
		pass(time.Second)
		check(t, "timer", b.transitions(), []string{
			"1.5s web stopped→fault failed: cannot open a socket on eth0: the kernel says no",
			"2.5s web fault→backup recovered",
		})
	})
}

// TestInterfaceVanishes: the socket goes with its interface.
func TestInterfaceVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.change(func() { a.link = Link{Name: "eth0", Why: "link eth0 does not exist"} })
		pass(0)
		check(t, "reports", a.transitions(), []string{"4s web master→fault failed: link eth0 does not exist"})
		if n := len(lan.conns); n != 0 {
			t.Errorf("%d sockets are open, want none", n)
		}
	})
}

// TestInterfaceReplaced: a Master whose interface was deleted and made again opens
// another socket and puts its addresses on the new interface.
func TestInterfaceReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.opened[0].discarded = map[string]uint64{"ttl": 3}
		a.change(func() {
			a.link = Link{Name: "eth0", Index: 9, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
		})
		pass(0)
		check(t, "reports", a.transitions(), nil)
		check(t, "kernel", lan.take(), []string{"4s a +10.0.0.100/24", "4s a announces [10.0.0.100/24]"})
		if len(a.opened) != 2 {
			t.Errorf("%d sockets were opened, want 2", len(a.opened))
		}
		if n := a.snapshot("web").Counters.Discarded["ttl"]; n != 3 {
			t.Errorf("%d discards for the TTL, want the 3 of the first socket", n)
		}
	})
}
