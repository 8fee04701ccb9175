package router

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// instance is another virtual router beside web, with its own VRID and address.
func instance(name string, vrid vrrp.VRID, priority vrrp.Priority, group string) vrrp.Instance {
	in := web(priority)
	in.Name, in.ID.VRID, in.Group = name, vrid, group
	in.Addresses = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(vrid)}), 24)}
	return in
}

func one(vrrpPriority vrrp.Priority) []vrrp.Instance {
	return []vrrp.Instance{instance("one", 101, vrrpPriority, "site"), instance("two", 102, vrrpPriority, "site")}
}

// TestGroupMovesTogether: a fault of one member makes the other director Master of
// both.
func TestGroupMovesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a, b := newHost(t, lan, "a", "10.0.0.1/24"), newHost(t, lan, "b", "10.0.0.2/24")
		a.set.Apply(only(one(200)...))
		b.set.Apply(only(one(100)...))
		pass(4 * time.Second)
		check(t, "a's start", a.transitions(), []string{
			"0s one stopped→backup startup", "0s two stopped→backup startup",
			"3.21875s one backup→master master-down", "3.21875s two backup→master master-down",
		})
		b.transitions()
		troubled := one(200)
		troubled[0].Fault = "track gateway: down"
		a.set.Apply(only(troubled...))
		pass(time.Second)
		check(t, "a", a.transitions(), []string{
			"4s one master→fault failed: track gateway: down",
			"4s two master→fault failed: sync group member one: track gateway: down",
		})
		check(t, "b", b.transitions(), []string{
			"4.609375s one backup→master master-released", "4.609375s two backup→master master-released",
		})
	})
}

// TestGroupChangesKeepMastership: members that join or leave a group, or are put into
// one, go on as what they are.
func TestGroupChangesKeepMastership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		alone := []vrrp.Instance{instance("one", 101, 200, ""), instance("two", 102, 200, "")}
		a.set.Apply(only(alone...))
		pass(4 * time.Second)
		a.transitions()
		lan.take()

		a.set.Apply(only(one(200)...))
		pass(0)
		check(t, "put into a group", a.transitions(), nil)

		a.set.Apply(only(append(one(200), instance("three", 103, 200, "site"))...))
		pass(0)
		check(t, "with a third", a.transitions(), []string{"4s three stopped→master group"})

		a.set.Apply(only(one(200)...))
		pass(0)
		check(t, "without it", a.transitions(), []string{"4s three master→stopped shutdown"})

		a.set.Apply(only(alone...))
		pass(time.Minute)
		check(t, "alone again", a.transitions(), nil)
		for _, c := range lan.conns {
			if n := len(c.sent); n < 60 {
				t.Errorf("VRID %d sent %d advertisements in a minute", c.id.VRID, n)
			}
		}
	})
}

// TestReportsStayInOrder: what a virtual router has reported and nobody has read yet
// comes before what it reports in another sync group.
func TestReportsStayInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // two channels, of which either may be ready first
			a := newHost(t, newLAN(), "a", "10.0.0.1/24")
			for len(a.reports) < cap(a.reports) {
				a.reports <- vrrp.Report{Instance: "of before"}
			}
			a.set.Apply(only(one(200)...))
			pass(4 * time.Second)
			alone := []vrrp.Instance{instance("one", 101, 200, ""), instance("two", 102, 200, "")}
			alone[1].Fault = "track gateway: down"
			a.set.Apply(only(alone...))
			pass(0)
			var states []string
			for len(a.reports) > 0 {
				if r := <-a.reports; r.Instance == "two" {
					states = append(states, r.To.String())
				}
				synctest.Wait()
			}
			check(t, "the states of two", states, []string{"backup", "master", "fault"})
			a.stop()
		}
	})
}

// TestHandOver: the Backup takes over within its Skew_Time, (256-100)/256 s, and the
// addresses are never on nobody.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a, b := newHost(t, lan, "a", "10.0.0.1/24"), newHost(t, lan, "b", "10.0.0.2/24")
		in := web(200)
		in.Preempt = false
		a.set.Apply(only(in))
		b.set.Apply(only(web(100)))
		pass(4 * time.Second)
		a.transitions()
		b.transitions()
		lan.take()

		a.set.HandOver("web")
		pass(time.Second)
		check(t, "a", a.transitions(), []string{"4.629375s web master→backup switchover"})
		check(t, "b", b.transitions(), []string{"4.609375s web backup→master master-released"})
		got := lan.take()
		if len(got) != 3 || got[0] != "4.609375s b +10.0.0.100/24" {
			t.Errorf("kernel %v, want b to have the address before a releases it", got)
		}
		pass(time.Minute)
		check(t, "later", a.transitions(), nil)
	})
}

// TestHandOverToNobody: a Master that nobody succeeds goes on after the time that a
// Backup of the lowest priority has.
func TestHandOverToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		a.set.HandOver("web")
		pass(time.Second)
		if !a.snapshot("web").HandingOver {
			t.Error("after a second it no longer waits")
		}
		pass(time.Second)
		check(t, "reports", a.transitions(), nil)
		if s := a.snapshot("web"); s.State != vrrp.Master || s.HandingOver {
			t.Errorf("after two seconds: %v, handing over %v", s.State, s.HandingOver)
		}
	})
}

// TestStopHandsOver: a director that stops keeps its addresses until the other one has
// them.
func TestStopHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a, b := newHost(t, lan, "a", "10.0.0.1/24"), newHost(t, lan, "b", "10.0.0.2/24")
		in := web(200)
		in.Peers = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		a.set.Apply(only(in))
		b.set.Apply(only(web(100)))
		pass(4 * time.Second)
		a.transitions()
		lan.take()
		a.stop()
		pass(0)
		check(t, "a", a.transitions(), []string{
			"4.629375s web master→backup switchover", "4.629375s web backup→stopped shutdown",
		})
		if got := lan.take(); len(got) != 3 || got[0] != "4.609375s b +10.0.0.100/24" {
			t.Errorf("kernel %v, want b to have the address before a releases it", got)
		}
	})
}

// TestRemovedHandsOver: one that a reload takes away hears its successor too.
func TestRemovedHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a, b := newHost(t, lan, "a", "10.0.0.1/24"), newHost(t, lan, "b", "10.0.0.2/24")
		in := web(200)
		in.Peers = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		a.set.Apply(only(in))
		b.set.Apply(only(web(100)))
		pass(4 * time.Second)
		a.transitions()
		a.set.Apply(nil)
		pass(10 * time.Second)
		check(t, "a", a.transitions(), []string{
			"4.629375s web master→backup switchover", "4.629375s web backup→stopped shutdown",
		})
	})
}

// TestOthersGoOnMeanwhile: a virtual router that a reload puts elsewhere advertises as
// long as another one hands over.
func TestOthersGoOnMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHost(t, newLAN(), "a", "10.0.0.1/24")
		pair := one(200)
		pair[0].Peers = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		a.set.Apply(only(pair...))
		pass(4 * time.Second)
		a.transitions()
		pair[0].VMAC, pair[0].Group, pair[1].Group = &vrrp.VMAC{Link: "vrrp.101"}, "", ""
		a.set.Apply(only(pair...))
		pass(1400 * time.Millisecond) // 96 ms before it gives up
		check(t, "a", a.transitions(), nil)
		if before, after := uint64(2), a.snapshot("two").Counters.AdvertsSent; after <= before {
			t.Errorf("two has sent %d advertisements", after)
		}
	})
}

// TestAdopt: a virtual router that was Master in a process that has ended goes on at
// once.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		in := web(200)
		in.Adopt = true
		a.set.Apply(only(in))
		pass(0)
		check(t, "reports", a.transitions(), []string{"0s web stopped→master adopted"})
	})
}

// TestAdoptTooLate: one whose link is known only when others have called it down starts
// as a Backup.
func TestAdoptTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHost(t, newLAN(), "a", "10.0.0.1/24")
		a.change(func() { a.silent = true })
		in := web(200)
		in.Adopt = true
		a.set.Apply(only(in))
		pass(3218750 * time.Microsecond) // three intervals and (256-200)/256 s
		a.change(func() { a.silent = false })
		pass(0)
		check(t, "reports", a.transitions(), []string{"3.21875s web stopped→backup startup"})
	})
}

// TestAnnounceAgain: five rounds 1.1 s apart follow, as after a takeover.
func TestAnnounceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := master(t, lan)
		pass(20 * time.Second)
		lan.take()
		a.set.Announce("web")
		pass(5 * time.Second)
		if got := lan.take(); len(got) != 5 {
			t.Errorf("announced %v, want five rounds", got)
		}
	})
}

// TestPartingDelaysNobody: a Master that a reload has taken away waits for a successor,
// and what is applied meanwhile is in force at once.
func TestPartingDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		first, second := instance("one", 101, 200, ""), instance("two", 102, 200, "")
		first.Peers = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
		a.set.Apply(only(first, second))
		pass(4 * time.Second)
		a.transitions()
		a.set.Apply(only(second))
		pass(0)
		second.Fault = "a test"
		a.set.Apply(only(second))
		pass(0)
		check(t, "at once", a.transitions(), []string{"4s two master→fault failed: a test"})
		second.Fault = ""
		a.set.Apply(only(first, second)) // waits for its own predecessor
		pass(2 * time.Second)
		check(t, "later", slices.Sorted(slices.Values(a.transitions())), []string{
			"5.49609375s one master→stopped shutdown",
			"5.49609375s one stopped→backup startup",
			"5.49609375s two fault→backup recovered",
		})
	})
}
