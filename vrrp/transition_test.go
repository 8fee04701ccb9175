package vrrp_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

var t0 = vrrptest.Epoch

// params are version 3, priority 100, one second, preempting, one address, at
// 192.0.2.5: Skew_Time 609.375 ms, Master_Down_Interval 3.609375 s.
func params(change ...func(*vrrp.Params)) vrrp.Params {
	p := vrrp.Params{
		Version: vrrp.Version3, Priority: 100, AdvertInterval: time.Second, Preempt: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.100/24")},
		Source:    netip.MustParseAddr("192.0.2.5"),
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func priority(n vrrp.Priority) func(*vrrp.Params) { return func(p *vrrp.Params) { p.Priority = n } }

func vips(ss ...string) func(*vrrp.Params) {
	return func(p *vrrp.Params) {
		p.Addresses = nil
		for _, s := range ss {
			p.Addresses = append(p.Addresses, netip.MustParsePrefix(s))
		}
	}
}

// heard is an advertisement with a priority, every second, from an address.
func heard(from string, p vrrp.Priority) vrrp.AdvertReceived {
	return heardEvery(from, p, time.Second)
}

func heardEvery(from string, p vrrp.Priority, interval time.Duration) vrrp.AdvertReceived {
	return vrrp.AdvertReceived{From: netip.MustParseAddr(from), Advert: vrrp.Advert{
		Version: vrrp.Version3, VRID: 51, Priority: p, Interval: interval,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.100")},
	}}
}

// at brings a virtual router into a state, entered at t0.
func at(t *testing.T, s vrrp.State, p vrrp.Params) *vrrp.VirtualRouter {
	t.Helper()
	vr := vrrp.NewVirtualRouter(51, p)
	switch s {
	case vrrp.Initialize:
		return vr
	case vrrp.Fault:
		vr.Handle(t0, vrrp.Failed{Detail: "link eth0 is down"})
	case vrrp.Backup:
		vr.Handle(t0, vrrp.Startup{})
	case vrrp.Master:
		if p.Priority == vrrp.PriorityOwner {
			vr.Handle(t0, vrrp.Startup{})
			break
		}
		down := vrrp.MasterDownInterval(p.Version, p.Priority, p.AdvertInterval)
		vr.Handle(t0.Add(-down), vrrp.Startup{})
		vr.Handle(t0, vrrp.Timeout{})
	}
	if got := vr.Snapshot(); got.State != s || s != vrrp.Initialize && !got.Since.Equal(t0) {
		t.Fatalf("state %v since %v, want %v since %v", got.State, got.Since, s, t0)
	}
	return vr
}

// deadline renders the next deadline, counted from t0.
func deadline(vr *vrrp.VirtualRouter) string {
	d, armed := vr.Deadline()
	if !armed {
		return "none"
	}
	return d.Sub(t0).String()
}

// TestTransitions is the table of state and event: the exact actions in their order,
// the next state, and when a Timeout is wanted next. Every event happens 500 ms after
// the state was entered, unless the row says when.
func TestTransitions(t *testing.T) {
	const (
		addr     = "192.0.2.100/24"
		acquire  = "acquire " + addr
		release  = "release " + addr
		announce = "announce " + addr
		half     = 500 * time.Millisecond
	)
	failed := vrrp.Failed{Detail: "link eth0 is down"}
	tests := []struct {
		name     string
		state    vrrp.State
		params   vrrp.Params
		event    vrrp.Event
		after    time.Duration
		want     []string
		next     vrrp.State
		deadline string
	}{
		// Initialize
		{"startup", vrrp.Initialize, params(), vrrp.Startup{}, half,
			[]string{"stopped→backup (startup)"}, vrrp.Backup, "4.109375s"},
		{"startup with a delay", vrrp.Initialize, params(func(p *vrrp.Params) { p.StartDelay = time.Minute }), vrrp.Startup{}, half,
			[]string{release, "stopped→backup (startup)"}, vrrp.Backup, "1m4.109375s"},
		{"startup of the owner", vrrp.Initialize, params(priority(255)), vrrp.Startup{}, half,
			[]string{"advert 255", acquire, announce, "stopped→master (owner)"}, vrrp.Master, "1.5s"},
		{"shutdown", vrrp.Initialize, params(), vrrp.Shutdown{}, half, []string{release}, vrrp.Initialize, "none"},
		{"timeout", vrrp.Initialize, params(), vrrp.Timeout{}, half, nil, vrrp.Initialize, "none"},
		{"advertisement", vrrp.Initialize, params(), heard("192.0.2.9", 50), half, nil, vrrp.Initialize, "none"},
		{"parameters", vrrp.Initialize, params(), vrrp.ParamsChanged{Params: params(priority(7))}, half, nil, vrrp.Initialize, "none"},
		{"parameters: another address", vrrp.Initialize, params(), vrrp.ParamsChanged{Params: params(vips("192.0.2.101/24"))}, half,
			[]string{release}, vrrp.Initialize, "none"},
		{"failed", vrrp.Initialize, params(), failed, half,
			[]string{release, "stopped→fault (failed: link eth0 is down)"}, vrrp.Fault, "none"},
		{"failed owner", vrrp.Initialize, params(priority(255)), failed, half,
			[]string{"stopped→fault (failed: link eth0 is down)"}, vrrp.Fault, "none"},
		{"recovered", vrrp.Initialize, params(), vrrp.Recovered{}, half, nil, vrrp.Initialize, "none"},

		// Backup
		{"startup", vrrp.Backup, params(), vrrp.Startup{}, half, nil, vrrp.Backup, "3.609375s"},
		{"shutdown", vrrp.Backup, params(), vrrp.Shutdown{}, half, []string{release, "backup→stopped (shutdown)"}, vrrp.Initialize, "none"},
		{"early timeout", vrrp.Backup, params(), vrrp.Timeout{}, 3609374 * time.Microsecond, nil, vrrp.Backup, "3.609375s"},
		{"timeout", vrrp.Backup, params(), vrrp.Timeout{}, 3609375 * time.Microsecond,
			[]string{"advert 100", acquire, announce, "backup→master (master-down)"}, vrrp.Master, "4.609375s"},
		{"priority 0", vrrp.Backup, params(), heard("192.0.2.9", 0), half, nil, vrrp.Backup, "1.109375s"},
		{"lower priority", vrrp.Backup, params(), heard("192.0.2.9", 99), half, []string{release}, vrrp.Backup, "3.609375s"},
		{"lower priority without preemption", vrrp.Backup, params(func(p *vrrp.Params) { p.Preempt = false }), heard("192.0.2.9", 99), half,
			[]string{release}, vrrp.Backup, "4.109375s"},
		{"lower priority within the delay", vrrp.Backup, params(func(p *vrrp.Params) { p.PreemptDelay = time.Minute }), heard("192.0.2.9", 99), half,
			[]string{release}, vrrp.Backup, "4.109375s"},
		{"equal priority", vrrp.Backup, params(), heard("192.0.2.4", 100), half, []string{release}, vrrp.Backup, "4.109375s"},
		{"higher priority", vrrp.Backup, params(), heard("192.0.2.9", 200), half, []string{release}, vrrp.Backup, "4.109375s"},
		// 3 × 2 s + 156/256 of 2 s.
		{"higher priority, another interval", vrrp.Backup, params(), heardEvery("192.0.2.9", 200, 2*time.Second), half, []string{release}, vrrp.Backup, "7.71875s"},
		{"own address", vrrp.Backup, params(), heard("192.0.2.5", 200), half, nil, vrrp.Backup, "3.609375s"},
		{"own address with a zone", vrrp.Backup, params(func(p *vrrp.Params) { p.Source = netip.MustParseAddr("fe80::5") }), heard("fe80::5%eth0", 200), half,
			nil, vrrp.Backup, "3.609375s"},
		// 3 s + 56/256 s.
		{"parameters: higher priority", vrrp.Backup, params(), vrrp.ParamsChanged{Params: params(priority(200))}, half, nil, vrrp.Backup, "3.21875s"},
		{"parameters: interval before any Master", vrrp.Backup, params(),
			vrrp.ParamsChanged{Params: params(func(p *vrrp.Params) { p.AdvertInterval = 2 * time.Second })}, half, nil, vrrp.Backup, "7.21875s"},
		{"parameters: another address", vrrp.Backup, params(), vrrp.ParamsChanged{Params: params(vips("192.0.2.101/24"))}, half,
			[]string{"release 192.0.2.101/24 192.0.2.100/24"}, vrrp.Backup, "3.609375s"},
		{"failed", vrrp.Backup, params(), failed, half, []string{release, "backup→fault (failed: link eth0 is down)"}, vrrp.Fault, "none"},
		{"recovered", vrrp.Backup, params(), vrrp.Recovered{}, half, nil, vrrp.Backup, "3.609375s"},

		// Master
		{"startup", vrrp.Master, params(), vrrp.Startup{}, half, nil, vrrp.Master, "1s"},
		{"shutdown", vrrp.Master, params(), vrrp.Shutdown{}, half,
			[]string{"advert 0", release, "master→stopped (shutdown)"}, vrrp.Initialize, "none"},
		{"early timeout", vrrp.Master, params(), vrrp.Timeout{}, half, nil, vrrp.Master, "1s"},
		{"timeout", vrrp.Master, params(), vrrp.Timeout{}, time.Second, []string{"advert 100"}, vrrp.Master, "1.1s"},
		{"late timeout", vrrp.Master, params(), vrrp.Timeout{}, 1500 * time.Millisecond, []string{"advert 100", announce}, vrrp.Master, "2s"},
		{"very late timeout", vrrp.Master, params(), vrrp.Timeout{}, 4609 * time.Millisecond, []string{"advert 100", announce}, vrrp.Master, "5.609s"},
		{"timeout later than Master_Down_Interval", vrrp.Master, params(), vrrp.Timeout{}, 4610 * time.Millisecond,
			[]string{release, "master→backup (late)"}, vrrp.Backup, "8.219375s"},
		{"lower priority later than Master_Down_Interval", vrrp.Master, params(), heard("192.0.2.9", 99), 4610 * time.Millisecond,
			[]string{release, "master→backup (late)"}, vrrp.Backup, "8.219375s"},
		{"priority 0", vrrp.Master, params(), heard("192.0.2.9", 0), half, []string{"advert 100"}, vrrp.Master, "1.1s"},
		{"priority 0, announcements over", vrrp.Master, params(), heard("192.0.2.9", 0), 4 * time.Second,
			[]string{"advert 100", announce}, vrrp.Master, "5s"},
		{"lower priority", vrrp.Master, params(), heard("192.0.2.9", 99), half, []string{"advert 100"}, vrrp.Master, "1s"},
		{"equal priority, lower address", vrrp.Master, params(), heard("192.0.2.4", 100), half, []string{"advert 100"}, vrrp.Master, "1s"},
		{"equal priority, higher address", vrrp.Master, params(), heard("192.0.2.9", 100), half,
			[]string{release, "advert 100", "master→backup (higher-address, peer 192.0.2.9 priority 100)"}, vrrp.Backup, "4.109375s"},
		{"equal priority, equal address", vrrp.Master, params(), heard("192.0.2.5", 100), half, nil, vrrp.Master, "1s"},
		{"higher priority", vrrp.Master, params(), heard("192.0.2.4", 101), half,
			[]string{release, "advert 100", "master→backup (higher-priority, peer 192.0.2.4 priority 101)"}, vrrp.Backup, "4.109375s"},
		{"higher priority, another interval", vrrp.Master, params(), heardEvery("192.0.2.4", 101, 100*time.Millisecond), half,
			[]string{release, "advert 100", "master→backup (higher-priority, peer 192.0.2.4 priority 101)"}, vrrp.Backup, "860.9375ms"},
		{"same parameters", vrrp.Master, params(), vrrp.ParamsChanged{Params: params()}, half, nil, vrrp.Master, "1s"},
		{"parameters: preemption", vrrp.Master, params(),
			vrrp.ParamsChanged{Params: params(func(p *vrrp.Params) { p.Preempt, p.PreemptDelay = false, time.Minute })}, half, nil, vrrp.Master, "1s"},
		{"parameters: priority", vrrp.Master, params(), vrrp.ParamsChanged{Params: params(priority(50))}, half, []string{"advert 50"}, vrrp.Master, "1.1s"},
		{"parameters: interval", vrrp.Master, params(),
			vrrp.ParamsChanged{Params: params(func(p *vrrp.Params) { p.AdvertInterval = 100 * time.Millisecond })}, half, []string{"advert 100"}, vrrp.Master, "600ms"},
		{"parameters: addresses", vrrp.Master, params(), vrrp.ParamsChanged{Params: params(vips("192.0.2.101/24", "192.0.2.102/24"))}, half,
			[]string{"advert 100", "acquire 192.0.2.101/24 192.0.2.102/24", "announce 192.0.2.101/24 192.0.2.102/24", release}, vrrp.Master, "1.5s"},
		{"parameters: prefix length", vrrp.Master, params(), vrrp.ParamsChanged{Params: params(vips("192.0.2.100/32"))}, half,
			[]string{"advert 100", "acquire 192.0.2.100/32", "announce 192.0.2.100/32", release}, vrrp.Master, "1.5s"},
		{"failed", vrrp.Master, params(), failed, half,
			[]string{"advert 0", release, "master→fault (failed: link eth0 is down)"}, vrrp.Fault, "none"},
		{"recovered", vrrp.Master, params(), vrrp.Recovered{}, half, nil, vrrp.Master, "1s"},

		// Fault
		{"startup", vrrp.Fault, params(), vrrp.Startup{}, half, nil, vrrp.Fault, "none"},
		{"shutdown", vrrp.Fault, params(), vrrp.Shutdown{}, half, []string{"fault→stopped (shutdown)"}, vrrp.Initialize, "none"},
		{"timeout", vrrp.Fault, params(), vrrp.Timeout{}, half, nil, vrrp.Fault, "none"},
		{"advertisement", vrrp.Fault, params(), heard("192.0.2.9", 50), half, nil, vrrp.Fault, "none"},
		{"parameters", vrrp.Fault, params(), vrrp.ParamsChanged{Params: params(priority(7))}, half, nil, vrrp.Fault, "none"},
		{"failed again", vrrp.Fault, params(), vrrp.Failed{Detail: "link eth0 does not exist"}, half, nil, vrrp.Fault, "none"},
		{"recovered", vrrp.Fault, params(), vrrp.Recovered{}, half, []string{release, "fault→backup (recovered)"}, vrrp.Backup, "4.109375s"},
		{"recovered owner", vrrp.Fault, params(priority(255)), vrrp.Recovered{}, half,
			[]string{"advert 255", acquire, announce, "fault→master (owner)"}, vrrp.Master, "1.5s"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v/%s", tt.state, tt.name), func(t *testing.T) {
			state := tt.state
			vr := at(t, state, tt.params)
			got := vrrptest.DescribeAll(vr.Handle(t0.Add(tt.after), tt.event))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if s := vr.Snapshot().State; s != tt.next {
				t.Errorf("state %v, want %v", s, tt.next)
			}
			if d := deadline(vr); d != tt.deadline {
				t.Errorf("deadline %s, want %s", d, tt.deadline)
			}
		})
	}
}

// The delay counts from the first advertisement of a Master of lower priority, and
// starts anew when a better Master has been there in between.
func TestPreemptDelayStartsAnew(t *testing.T) {
	vr := at(t, vrrp.Backup, params(func(p *vrrp.Params) { p.PreemptDelay = 4 * time.Second }))
	for _, step := range []struct {
		after    time.Duration
		priority vrrp.Priority
		deadline string // after it
	}{
		{1 * time.Second, 50, "4.609375s"},
		{3 * time.Second, 200, "6.609375s"},
		{5 * time.Second, 50, "8.609375s"},   // counts from here
		{8 * time.Second, 50, "11.609375s"},  // 3 s of 4 s
		{9 * time.Second, 50, "11.609375s"},  // over: ignored
		{10 * time.Second, 50, "11.609375s"}, // and so on
	} {
		do(vr, step.after, heard("192.0.2.9", step.priority))
		if got := deadline(vr); got != step.deadline {
			t.Errorf("after %v deadline %s, want %s", step.after, got, step.deadline)
		}
	}
}

// What was learned from a Master of another version counts no longer.
func TestVersionChangeForgetsTheMaster(t *testing.T) {
	vr := at(t, vrrp.Backup, params(version2(2*time.Second)))
	do(vr, time.Second, heard2("192.0.2.9", 200, 2*time.Second, vrrp.Auth{}))
	wantState(t, vr, vrrp.Backup, "7.609375s")
	do(vr, 2*time.Second, vrrp.ParamsChanged{Params: params()})
	// From 6 s + 156/256 s to 3 s + 156/256 s.
	wantState(t, vr, vrrp.Backup, "4.609375s")
	if s := vr.Snapshot(); s.MasterAddr.IsValid() {
		t.Errorf("Master %v is still known", s.MasterAddr)
	}
}

// A virtual router in Fault hears nobody, so it knows no Master.
func TestFaultForgetsTheMaster(t *testing.T) {
	vr := at(t, vrrp.Backup, params())
	do(vr, time.Second, heard("192.0.2.9", 200))
	wantActions(t, do(vr, 2*time.Second, vrrp.Failed{Detail: "link eth0 is down"}), "backup→fault (failed: link eth0 is down)")
	if s := vr.Snapshot(); s.MasterAddr.IsValid() || s.MasterPriority != 0 {
		t.Errorf("Master %v with priority %d is still known", s.MasterAddr, s.MasterPriority)
	}
}
