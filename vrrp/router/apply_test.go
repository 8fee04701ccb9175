package router

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

func TestApplyInPlaceKeepsMastership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		in := web(150)
		in.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.101/24")}
		a.set.Apply(only(in))
		pass(0)
		check(t, "reports", a.transitions(), nil)
		check(t, "kernel", lan.take(), []string{
			"4s a +10.0.0.101/24",
			"4s a announces [10.0.0.101/24]",
			"4s a -10.0.0.100/24",
		})
		if s := a.snapshot("web"); s.Params.Priority != 150 || s.State != vrrp.Master {
			t.Errorf("%v with priority %d", s.State, s.Params.Priority)
		}
	})
}

// TestApplyTransport: another peer or checksum form needs other sockets, not an
// election.
func TestApplyTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		in := web(200)
		in.Unicast, in.Peers = true, []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		a.set.Apply(only(in))
		pass(0)
		check(t, "reports", a.transitions(), nil)
		check(t, "kernel", lan.take(), nil)
		if len(a.opened) != 2 || len(lan.conns) != 1 {
			t.Errorf("%d sockets opened, %d open, want 2 and 1", len(a.opened), len(lan.conns))
		}
	})
}

func TestApplyReplacesAnotherID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		in := web(200)
		in.ID.VRID = 52
		a.set.Apply(only(in))
		pass(4 * time.Second)
		check(t, "reports", a.transitions(), []string{
			"4s web master→stopped shutdown",
			"4s web stopped→backup startup",
			"7.21875s web backup→master master-down",
		})
	})
}

// TestApplyRename: another name is no reason to give up mastership.
func TestApplyRename(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		in := web(200)
		in.Name = "www"
		a.set.Apply(only(in))
		pass(0)
		check(t, "reports", a.transitions(), nil)
		check(t, "kernel", lan.take(), nil)
		if s := a.snapshot("www"); s.State != vrrp.Master {
			t.Errorf("www is %v", s.State)
		}
		in.Fault = "a test"
		a.set.Apply(only(in))
		pass(0)
		check(t, "reports", a.transitions(), []string{"4s www master→fault failed: a test"})
	})
}

func TestApplyStopsTheGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		b := newHost(t, lan, "b", "10.0.0.2/24")
		a.set.Apply(only(web(200)))
		b.set.Apply(only(web(100)))
		pass(4 * time.Second)
		a.transitions()
		b.transitions()
		a.set.Apply(nil)
		pass(time.Second)
		check(t, "a", a.transitions(), []string{"4s web master→stopped shutdown"})
		check(t, "b", b.transitions(), []string{"4.609375s web backup→master master-released"})
		if n := len(a.set.Snapshots()); n != 0 {
			t.Errorf("%d snapshots, want none", n)
		}
	})
}

// TestAddressMoves: an address that one Master hands to another in one change stays
// on the interface, whichever of the two is updated first.
func TestAddressMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		vip := netip.MustParsePrefix("10.0.0.110/24")
		one, two := web(200), web(200)
		two.Name, two.ID.VRID = "two", 52
		one.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.101/24"), vip}
		two.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.102/24")}
		a.set.Apply(only(one, two))
		pass(4 * time.Second)
		lan.take()
		for range 4 {
			one.Addresses, two.Addresses = two.Addresses, one.Addresses
			a.set.Apply(only(one, two))
			pass(0)
			for _, line := range lan.take() {
				if strings.HasSuffix(line, "a -10.0.0.110/24") {
					t.Errorf("the address was taken away: %s", line)
				}
			}
		}
	})
}

func TestNewestApplyWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		for p := range vrrp.Priority(100) {
			a.set.Apply(only(web(p + 1)))
		}
		pass(0)
		if p := a.snapshot("web").Params.Priority; p != 100 {
			t.Errorf("priority %d, want 100", p)
		}
	})
}
