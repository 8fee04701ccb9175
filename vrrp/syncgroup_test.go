package vrrp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

// pair is a sync group of two virtual routers, a and b, with an interval of one second
// and priority 100. Its clock is the test's.
type pair struct {
	t   *testing.T
	now time.Time
	g   vrrp.SyncGroup
	vrs map[string]*vrrp.VirtualRouter
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, now: t0, vrs: map[string]*vrrp.VirtualRouter{}}
	for i, name := range []string{"a", "b"} {
		p.vrs[name] = vrrp.NewVirtualRouter(vrrp.VRID(51+i), params())
		p.g.Add(name, p.vrs[name])
	}
	return p
}

// gives gives an event to a member and returns what follows, without announcements.
func (p *pair) gives(name string, ev vrrp.Event) []string {
	p.t.Helper()
	out := []string{}
	for _, a := range p.g.Handle(p.now, strings.Index("abc", name), ev) {
		if text := vrrptest.Describe(a.Action); !strings.HasPrefix(text, "announce") {
			out = append(out, "abc"[a.Member:a.Member+1]+" "+text)
		}
	}
	return out
}

// after lets time pass, with the timers that run out in it.
func (p *pair) after(d time.Duration) []string {
	p.t.Helper()
	end := p.now.Add(d)
	out := []string{}
	for {
		next, armed := p.g.Deadline()
		if !armed || next.After(end) {
			p.now = end
			return out
		}
		p.now = next
		out = append(out, p.gives("", vrrp.Timeout{})...)
	}
}

func (p *pair) states() string {
	return p.vrs["a"].Snapshot().State.String() + " " + p.vrs["b"].Snapshot().State.String()
}

func (p *pair) want(what string, got, want []string) {
	p.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// start brings both members to Backup, or to Master.
func (p *pair) start(state vrrp.State) {
	p.t.Helper()
	p.gives("a", vrrp.Startup{})
	p.gives("b", vrrp.Startup{})
	if state == vrrp.Master {
		p.after(3700 * time.Millisecond)
	}
	if got, want := p.states(), state.String()+" "+state.String(); got != want {
		p.t.Fatalf("started as %s, want %s", got, want)
	}
}

const vip = "192.0.2.100/24"

// With priority 100 and one second, Master_Down_Interval is 3.609375 s.
func TestSyncGroupWaitsForEveryMember(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Backup)
	p.after(time.Second)
	p.gives("b", heard("192.0.2.9", 200)) // b's Master lives one second longer
	p.want("when a's timer runs out", p.after(3*time.Second), []string{})
	if got := p.states(); got != "backup backup" {
		t.Fatalf("states %s, want backup backup", got)
	}
	p.want("when b's has too", p.after(time.Second), []string{
		"a advert 100", "a acquire " + vip, "a backup→master (master-down)",
		"b advert 100", "b acquire " + vip, "b backup→master (master-down, peer 192.0.2.9 priority 200)",
	})
}

func TestSyncGroupStaysBackupWhileOneMasterLives(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Backup)
	for range 20 {
		p.gives("b", heard("192.0.2.9", 200))
		p.want("a second later", p.after(time.Second), []string{})
	}
	if _, armed := p.g.Deadline(); !armed {
		t.Error("b's timer is not armed")
	}
}

func TestSyncGroupLeavesTogether(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ev     vrrp.Event
		want   []string
		states string
	}{
		{"a higher priority", heard("192.0.2.9", 200), []string{
			"a release " + vip, "a advert 100", "a master→backup (higher-priority, peer 192.0.2.9 priority 200)",
			"b advert 0", "b release " + vip, "b master→backup (group: with a)",
		}, "backup backup"},
		{"a failure", vrrp.Failed{Detail: "link eth0 is down"}, []string{
			"a advert 0", "a release " + vip, "a master→fault (failed: link eth0 is down)",
			"b advert 0", "b release " + vip, "b master→fault (failed: sync group member a: link eth0 is down)",
		}, "fault fault"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			p.start(vrrp.Master)
			p.want("what follows", p.gives("a", tt.ev), tt.want)
			if got := p.states(); got != tt.states {
				t.Errorf("states %s, want %s", got, tt.states)
			}
		})
	}
}

func TestSyncGroupRecoversWhenNobodyIsInTrouble(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Backup)
	p.gives("a", vrrp.Failed{Detail: "link eth0 is down"})
	p.gives("b", vrrp.Failed{Detail: "link eth1 is down"})
	p.want("a is well, b is not", p.gives("a", vrrp.Recovered{}), []string{})
	if got := p.vrs["a"].Snapshot().Detail; got != "sync group member b: link eth1 is down" {
		t.Errorf("a's fault: %q", got)
	}
	p.want("both are well", p.gives("b", vrrp.Recovered{}), []string{
		"a release " + vip, "a fault→backup (recovered)", "b release " + vip, "b fault→backup (recovered)",
	})
}

func TestSyncGroupStartsInFaultOfAnother(t *testing.T) {
	p := newPair(t)
	p.gives("a", vrrp.Failed{Detail: "link eth0 does not exist"})
	p.want("b starts", p.gives("b", vrrp.Startup{}), []string{
		"b release " + vip, "b stopped→fault (failed: sync group member a: link eth0 does not exist)",
	})
}

// A member that a reload adds to a group of Masters is Master at once: the others must
// not lose their part for it.
func TestSyncGroupJoinsMasters(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Master)
	c := vrrp.NewVirtualRouter(53, params())
	p.g.Add("c", c)
	p.want("c starts", p.gives("c", vrrp.Startup{}), []string{
		"c advert 100", "c acquire " + vip, "c stopped→master (group)",
	})
	if got := p.states(); got != "master master" {
		t.Errorf("the others are %s", got)
	}
}

// The successor of a hand-over is heard for one member after the other.
func TestSyncGroupHandsOver(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Master)
	p.want("hand over", p.gives("", vrrp.HandOver{}), []string{"a advert 0", "b advert 0"})
	p.want("a's successor", p.gives("a", heard("192.0.2.9", 50)), []string{})
	p.want("until it has the address", p.after(19*time.Millisecond), []string{})
	p.want("then", p.after(time.Millisecond), []string{
		"a release " + vip, "a master→backup (switchover, peer 192.0.2.9 priority 50)",
	})
	p.gives("b", heard("192.0.2.9", 50))
	p.want("b's successor", p.after(20*time.Millisecond), []string{
		"b release " + vip, "b master→backup (switchover, peer 192.0.2.9 priority 50)",
	})
}

// Half a hand-over is none: the member that nobody has taken follows the other.
func TestSyncGroupHandOverOfOneMember(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Master)
	p.gives("", vrrp.HandOver{})
	p.gives("a", heard("192.0.2.9", 50))
	p.after(20 * time.Millisecond)
	p.want("b's time is over", p.after(1480*time.Millisecond), []string{
		"b advert 100", "b advert 0", "b release " + vip, "b master→backup (group: with a)",
	})
}

// After a stall every member is late, and nobody says priority 0: it would make the
// other Backups of the new Master impatient.
func TestSyncGroupStepsDownLate(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Master)
	p.now = p.now.Add(6 * time.Second)
	p.want("an advertisement of the new Master", p.gives("b", heard("192.0.2.9", 50)), []string{
		"b release " + vip, "b master→backup (late)", "a release " + vip, "a master→backup (late)",
	})
}

// That one member's Master has left is news for all: with priority 100 at one second the
// others wait for one more advertisement and Skew_Time, 1.609375 s, and not 3.609375 s.
func TestSyncGroupHurriesWhenOneMasterLeaves(t *testing.T) {
	p := newPair(t)
	p.start(vrrp.Backup)
	p.gives("a", heard("192.0.2.9", 200))
	p.gives("b", heard("192.0.2.9", 200))
	p.gives("a", heard("192.0.2.9", 0))
	p.want("until then", p.after(1609*time.Millisecond), []string{})
	p.want("then", p.after(time.Millisecond), []string{
		"a advert 100", "a acquire " + vip, "a backup→master (master-released, peer 192.0.2.9 priority 200)",
		"b advert 100", "b acquire " + vip, "b backup→master (group, peer 192.0.2.9 priority 200)",
	})

	p = newPair(t)
	p.start(vrrp.Backup)
	p.gives("b", heard("192.0.2.9", 200))
	p.gives("a", heard("192.0.2.9", 0))
	p.after(time.Second)
	p.gives("b", heard("192.0.2.9", 200)) // it has not left there
	p.want("b's Master lives", p.after(3*time.Second), []string{})
}
