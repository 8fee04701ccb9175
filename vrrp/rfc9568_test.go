package vrrp_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

// These tests follow RFC 9568 sentence by sentence, with its errata. Where it says
// Active Router, the code says Master.

// do handles an event at a time after t0 and returns the actions as text.
func do(vr *vrrp.VirtualRouter, after time.Duration, ev vrrp.Event) []string {
	return vrrptest.DescribeAll(vr.Handle(t0.Add(after), ev))
}

func wantActions(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("actions %q, want %q", got, want)
	}
}

func wantState(t *testing.T, vr *vrrp.VirtualRouter, s vrrp.State, next string) {
	t.Helper()
	if got := vr.Snapshot().State; got != s {
		t.Errorf("state %v, want %v", got, s)
	}
	if got := deadline(vr); got != next {
		t.Errorf("next timeout %s, want %s", got, next)
	}
}

// Section 6.1, Skew_Time: "(((256 - priority) * Active_Adver_Interval) / 256)".
// Active_Down_Interval: "(3 * Active_Adver_Interval) + Skew_Time". The snapshot
// shows the very values that the timers run with.
func TestRFC9568_6_1_Timers(t *testing.T) {
	vr := at(t, vrrp.Backup, params(priority(200)))
	s := vr.Snapshot()
	if s.SkewTime != 218750*time.Microsecond || s.MasterDownInterval != 3218750*time.Microsecond {
		t.Errorf("Skew_Time %v, Active_Down_Interval %v", s.SkewTime, s.MasterDownInterval)
	}
	wantState(t, vr, vrrp.Backup, "3.21875s")
}

// Section 6.4.1: "If the Priority = 255, i.e., the router owns the IPvX address(es)
// associated with the Virtual Router, then: Send an ADVERTISEMENT; [broadcast a
// gratuitous ARP for each address]; Set the Adver_Timer to Advertisement_Interval;
// Transition to the {Active} state".
func TestRFC9568_6_4_1_Owner(t *testing.T) {
	vr := vrrp.NewVirtualRouter(51, params(priority(255)))
	wantActions(t, do(vr, 0, vrrp.Startup{}),
		"advert 255", "acquire 192.0.2.100/24", "announce 192.0.2.100/24", "stopped→master (owner)")
	wantState(t, vr, vrrp.Master, "1s")
}

// Section 6.4.1: "else Set Active_Adver_Interval to Advertisement_Interval; Set the
// Active_Down_Timer to Active_Down_Interval; Transition to the {Backup} state".
func TestRFC9568_6_4_1_NotOwner(t *testing.T) {
	vr := vrrp.NewVirtualRouter(51, params(priority(254)))
	do(vr, 0, vrrp.Startup{})
	if s := vr.Snapshot(); s.MasterAdverInterval != time.Second {
		t.Errorf("Active_Adver_Interval %v, want 1s", s.MasterAdverInterval)
	}
	wantState(t, vr, vrrp.Backup, "3.0078125s") // 3 s + 2/256 s
}

// Section 6.4.2: "If a Shutdown event is received, then: Cancel the
// Active_Down_Timer; Transition to the {Initialize} state". A Backup says nothing. It
// takes away what a predecessor may have left.
func TestRFC9568_6_4_2_Shutdown(t *testing.T) {
	vr := at(t, vrrp.Backup, params())
	wantActions(t, do(vr, time.Second, vrrp.Shutdown{}), "release 192.0.2.100/24", "backup→stopped (shutdown)")
	wantState(t, vr, vrrp.Initialize, "none")
}

// Section 6.4.2: "If the Active_Down_Timer fires, then: Send an ADVERTISEMENT;
// [gratuitous ARP or unsolicited ND Neighbor Advertisement for each address]; Set
// the Adver_Timer to Advertisement_Interval; Transition to the {Active} state".
func TestRFC9568_6_4_2_DownTimerFires(t *testing.T) {
	vr := at(t, vrrp.Backup, params())
	wantActions(t, do(vr, 3609375*time.Microsecond, vrrp.Timeout{}),
		"advert 100", "acquire 192.0.2.100/24", "announce 192.0.2.100/24", "backup→master (master-down)")
	wantState(t, vr, vrrp.Master, "4.609375s")
}

// Section 6.4.2: "If the Priority in the ADVERTISEMENT is 0, then: Set the
// Active_Down_Timer to Skew_Time".
func TestRFC9568_6_4_2_PriorityZero(t *testing.T) {
	vr := at(t, vrrp.Backup, params())
	do(vr, time.Second, heard("192.0.2.9", 200))
	wantActions(t, do(vr, 2*time.Second, heard("192.0.2.9", 0)))
	wantState(t, vr, vrrp.Backup, "2.609375s")
	got := do(vr, 2609375*time.Microsecond, vrrp.Timeout{})
	if last := got[len(got)-1]; last != "backup→master (master-released, peer 192.0.2.9 priority 200)" {
		t.Errorf("transition %q", last)
	}
}

// Section 6.4.2: "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT
// is greater than or equal to the local Priority, then: Set the
// Active_Adver_Interval to the Max Advertise Interval contained in the
// ADVERTISEMENT; Recompute the Skew_Time; Recompute the Active_Down_Interval; Set
// the Active_Down_Timer to Active_Down_Interval".
func TestRFC9568_6_4_2_Accepted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		preempt bool
		from    vrrp.Priority
	}{
		{"equal", true, 100},
		{"greater", true, 101},
		{"lower without preemption", false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vr := at(t, vrrp.Backup, params(func(p *vrrp.Params) { p.Preempt = tt.preempt }))
			wantActions(t, do(vr, time.Second, heardEvery("192.0.2.4", tt.from, 200*time.Millisecond)), "release 192.0.2.100/24")
			s := vr.Snapshot()
			// 156/256 of 200 ms is 121.875 ms.
			if s.MasterAdverInterval != 200*time.Millisecond || s.SkewTime != 121875*time.Microsecond || s.MasterDownInterval != 721875*time.Microsecond {
				t.Errorf("Active_Adver_Interval %v, Skew_Time %v, Active_Down_Interval %v", s.MasterAdverInterval, s.SkewTime, s.MasterDownInterval)
			}
			if s.MasterAddr != netip.MustParseAddr("192.0.2.4") || s.MasterPriority != tt.from {
				t.Errorf("Master %v with priority %d", s.MasterAddr, s.MasterPriority)
			}
			wantState(t, vr, vrrp.Backup, "1.721875s")
		})
	}
}

// Section 6.4.2: "else // preempt was true and priority was less than the local
// priority: Discard the ADVERTISEMENT". Nothing that it says is kept, but that there is a
// Master, who has the addresses.
func TestRFC9568_6_4_2_Discarded(t *testing.T) {
	vr := at(t, vrrp.Backup, params())
	wantActions(t, do(vr, time.Second, heardEvery("192.0.2.9", 99, 200*time.Millisecond)), "release 192.0.2.100/24")
	if s := vr.Snapshot(); s.MasterAdverInterval != time.Second || s.MasterAddr.IsValid() {
		t.Errorf("Active_Adver_Interval %v, Master %v", s.MasterAdverInterval, s.MasterAddr)
	}
	wantState(t, vr, vrrp.Backup, "3.609375s")
}

// Section 6.1, Preempt_Mode: "the router that owns the IPvX address(es) associated
// with the Virtual Router always preempts, independent of the setting of this flag".
func TestRFC9568_6_1_OwnerPreempts(t *testing.T) {
	vr := at(t, vrrp.Backup, params(func(p *vrrp.Params) { p.Preempt = false }))
	do(vr, 0, vrrp.ParamsChanged{Params: params(priority(255), func(p *vrrp.Params) { p.Preempt, p.PreemptDelay = false, time.Hour })})
	do(vr, time.Second, heard("192.0.2.9", 254))
	wantState(t, vr, vrrp.Backup, "3.00390625s") // the timer runs on
}

// Section 6.4.3: "If a Shutdown event is received, then: Cancel the Adver_Timer;
// Send an ADVERTISEMENT with Priority = 0; Transition to the {Initialize} state".
func TestRFC9568_6_4_3_Shutdown(t *testing.T) {
	vr := at(t, vrrp.Master, params())
	wantActions(t, do(vr, time.Second, vrrp.Shutdown{}),
		"advert 0", "release 192.0.2.100/24", "master→stopped (shutdown)")
	wantState(t, vr, vrrp.Initialize, "none")
}

// Section 6.4.3: "If the Adver_Timer fires, then: Send an ADVERTISEMENT; Reset the
// Adver_Timer to Advertisement_Interval".
func TestRFC9568_6_4_3_AdverTimerFires(t *testing.T) {
	vr := at(t, vrrp.Master, params(func(p *vrrp.Params) { p.AdvertInterval = 300 * time.Millisecond }))
	for _, after := range []time.Duration{300, 600, 900} {
		wantActions(t, do(vr, after*time.Millisecond, vrrp.Timeout{}), "advert 100")
	}
	wantState(t, vr, vrrp.Master, "1.1s") // the next announcement; then 1.2 s
}

// Section 6.4.3: "If the Priority in the ADVERTISEMENT is 0, then: Send an
// ADVERTISEMENT; Reset the Adver_Timer to Advertisement_Interval".
func TestRFC9568_6_4_3_PriorityZero(t *testing.T) {
	vr := at(t, vrrp.Master, params(func(p *vrrp.Params) { p.AdvertInterval = 500 * time.Millisecond }))
	wantActions(t, do(vr, 400*time.Millisecond, heard("192.0.2.9", 0)), "advert 100")
	wantState(t, vr, vrrp.Master, "900ms")
}

// Section 6.4.3: "If the Priority in the ADVERTISEMENT is greater than the local
// Priority or the Priority in the ADVERTISEMENT is equal to the local Priority and
// the primary IPvX address of the sender is greater than the local primary IPvX
// address (based on an unsigned integer comparison of the IPvX addresses in network
// byte order), then: Cancel Adver_Timer; Set the Active_Adver_Interval to the Max
// Advertise Interval contained in the ADVERTISEMENT; Recompute the Skew_Time;
// Recompute the Active_Down_Interval; Set the Active_Down_Timer to
// Active_Down_Interval; Transition to the {Backup} state".
func TestRFC9568_6_4_3_GivesWay(t *testing.T) {
	for _, tt := range []struct {
		name, own, from string
		priority        vrrp.Priority
		gives           bool
	}{
		{"greater priority", "192.0.2.5", "192.0.2.1", 101, true},
		{"equal, greater address", "192.0.2.5", "192.0.2.6", 100, true},
		{"equal, greater only as an unsigned number", "127.0.0.1", "128.0.0.1", 100, true},
		{"equal, greater only as a number, not as text", "192.0.2.9", "192.0.2.10", 100, true},
		{"equal, lower address", "192.0.2.5", "192.0.2.4", 100, false},
		{"lower priority, greater address", "192.0.2.5", "192.0.2.6", 99, false},
		{"equal, greater IPv6 address, with a zone", "fe80::5", "fe80::6%eth0", 100, true},
		{"equal, lower IPv6 address, with a zone", "fe80::5", "fe80::4%eth0", 100, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vr := at(t, vrrp.Master, params(func(p *vrrp.Params) { p.Source = netip.MustParseAddr(tt.own) }))
			do(vr, 500*time.Millisecond, heardEvery(tt.from, tt.priority, 2*time.Second))
			if !tt.gives {
				wantState(t, vr, vrrp.Master, "1s")
				return
			}
			if s := vr.Snapshot(); s.MasterAdverInterval != 2*time.Second {
				t.Errorf("Active_Adver_Interval %v, want 2s", s.MasterAdverInterval)
			}
			wantState(t, vr, vrrp.Backup, "7.71875s") // 0.5 s + 3 × 2 s + 156/256 of 2 s
		})
	}
}

// Section 6.4.3: "else // new Active Router logic: Discard the ADVERTISEMENT; Send
// an ADVERTISEMENT immediately to assert the {Active} state to the sending VRRP
// Router and to update any learning bridges with the correct Active VRRP Router
// path". Adver_Timer is not mentioned, so it runs on.
func TestRFC9568_6_4_3_Asserts(t *testing.T) {
	vr := at(t, vrrp.Master, params())
	wantActions(t, do(vr, 300*time.Millisecond, heard("192.0.2.9", 99)), "advert 100")
	wantState(t, vr, vrrp.Master, "1s")
	if s := vr.Snapshot(); s.MasterAddr != netip.MustParseAddr("192.0.2.5") || s.MasterPriority != 100 {
		t.Errorf("Master %v with priority %d, want ourselves", s.MasterAddr, s.MasterPriority)
	}
}

// A peer with our interval is answered every time, one that floods is not.
func TestAssertionsAreBounded(t *testing.T) {
	vr := at(t, vrrp.Master, params(func(p *vrrp.Params) { p.AdvertInterval = 10 * time.Second }))
	adverts, announcements := 0, 0
	for n := range 10_000 { // one per millisecond, for 10 s
		for _, a := range do(vr, time.Duration(n)*time.Millisecond, heard("192.0.2.9", 99)) {
			switch {
			case strings.HasPrefix(a, "advert"):
				adverts++
			case strings.HasPrefix(a, "announce"):
				announcements++
			}
		}
	}
	// At 0 s and 5 s; at 1.1, 2.2 … 9.9 s.
	if adverts != 2 || announcements != 9 {
		t.Errorf("%d adverts and %d announcements in answer, want 2 and 9", adverts, announcements)
	}
}

// Announcements are made at 0, 1.1, 2.2, 3.3 and 4.4 s, then every minute.
func TestAnnouncements(t *testing.T) {
	vr := vrrp.NewVirtualRouter(51, params(priority(255)))
	var got []time.Duration
	now, ev := t0, vrrp.Event(vrrp.Startup{})
	for now.Before(t0.Add(3 * time.Minute)) {
		for _, a := range vr.Handle(now, ev) {
			if _, ok := a.(vrrp.Announce); ok {
				got = append(got, now.Sub(t0))
			}
		}
		now, _ = vr.Deadline()
		ev = vrrp.Timeout{}
	}
	want := []time.Duration{
		0, 1100 * time.Millisecond, 2200 * time.Millisecond, 3300 * time.Millisecond, 4400 * time.Millisecond,
		64400 * time.Millisecond, 124400 * time.Millisecond,
	}
	if !slices.Equal(got, want) {
		t.Errorf("announced at %v, want %v", got, want)
	}
}

// Section 7.1, erratum 8298: "It SHOULD verify that the local router is not the IPvX
// address owner (Priority = 255) and log the event": an owner takes part in the
// election, so that two of them do not stay Master both.
func TestRFC9568_7_1_OwnerTakesPart(t *testing.T) {
	vr := at(t, vrrp.Master, params(priority(255)))
	do(vr, 100*time.Millisecond, heard("192.0.2.9", 255))
	if s := vr.Snapshot().State; s != vrrp.Backup {
		t.Errorf("state %v, want backup: the other owner's address is higher", s)
	}
}

// Section 7.1: "If any one of the above checks fails, the receiver MUST discard the
// packet"; the checks of the datagram are TestParseAdvertRefuses, this one is of the
// version that the virtual router speaks.
func TestRFC9568_7_1_OtherVersion(t *testing.T) {
	vr := at(t, vrrp.Master, params())
	ev := heard("192.0.2.9", 200)
	ev.Advert.Version = vrrp.Version2
	wantActions(t, do(vr, 100*time.Millisecond, ev))
	wantState(t, vr, vrrp.Master, "1s")
}

// Section 7.1: a receiver that compares the Max Advertise Interval, or the list of
// addresses, with its own must not drop the packet: "the receiver SHOULD log the
// event".
func TestRFC9568_7_1_MismatchIsAccepted(t *testing.T) {
	p := params()
	ev := heardEvery("192.0.2.9", 200, 2*time.Second)
	ev.Advert.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	vr := at(t, vrrp.Master, p)
	do(vr, 100*time.Millisecond, ev)
	if s := vr.Snapshot().State; s != vrrp.Backup {
		t.Errorf("state %v, want backup", s)
	}
	err := p.Mismatch(ev.From, ev.Advert)
	want := "192.0.2.9 advertises other virtual addresses: [192.0.2.77]\n192.0.2.9 advertises every 2s, we every 1s"
	if err == nil || err.Error() != want {
		t.Errorf("mismatch %v, want %v", err, want)
	}
}
