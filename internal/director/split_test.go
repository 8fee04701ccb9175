package director

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

// splitStep is how things are from a moment on.
type splitStep struct {
	at   time.Duration
	view splitView
}

// playSplit looks ten times a second until end, and tells what was said when.
func playSplit(steps []splitStep, end time.Duration) string {
	names := map[splitKind]string{advertsBlocked: "blocked", splitBrain: "split brain", equalPriorities: "equal"}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var s split
	var story strings.Builder
	for at := time.Duration(0); at <= end; at += 100 * time.Millisecond {
		v := steps[0].view
		for _, step := range steps {
			if step.at <= at {
				v = step.view
			}
		}
		for _, c := range s.observe(start.Add(at), v) {
			over := ""
			if c.over {
				over = "no longer "
			}
			fmt.Fprintf(&story, "%v %s%s: %s\n", at, over, names[c.kind], c.text)
		}
	}
	return story.String()
}

func TestSplit(t *testing.T) {
	// lb-b looks. Its priority is 100.
	view := func(state vrrp.State, received uint64, masters ...string) splitView {
		v := splitView{self: "lb-b", state: state, masters: masters, received: received, priority: 100, effective: 100}
		if state == vrrp.Backup {
			v.heard, v.heardPriority = "lb-a", 150
		}
		return v
	}
	held := view(vrrp.Backup, 7, "lb-a")
	held.held = true
	refused := func(n uint64) splitView {
		v := view(vrrp.Master, 7, "lb-a")
		v.discarded = map[string]uint64{"checksum": 3, "hmac": n}
		return v
	}
	tie := view(vrrp.Backup, 7, "lb-a")
	tie.heardPriority = 100
	lowered := tie
	lowered.heardPriority, lowered.effective = 10, 10
	same := view(vrrp.Master, 7)
	same.same = []string{"lb-a", "lb-c"}
	backup := view(vrrp.Backup, 7, "lb-a")

	for _, tt := range []struct {
		name  string
		steps []splitStep
		want  string
	}{
		{"all is well", []splitStep{{0, backup}}, ""},
		{"a hand-over, of which the membership tells late", []splitStep{
			{0, backup}, {time.Second, view(vrrp.Master, 7, "lb-a")}, {2400 * time.Millisecond, view(vrrp.Master, 7)},
		}, ""},
		{"the Master is silent and alive, and we took over", []splitStep{
			{0, backup}, {time.Second, view(vrrp.Master, 7, "lb-a")}, {5 * time.Second, view(vrrp.Backup, 9, "lb-a")},
		}, `2.5s blocked: adverts of lb-a do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112
3s split brain: lb-b and lb-a are Master at the same time: its adverts do not arrive here
6s no longer blocked: adverts of lb-a arrive again
6s no longer split brain: one Master again
`},
		{"the other one yields to us, whom it does hear", []splitStep{
			{0, backup}, {time.Second, view(vrrp.Master, 7, "lb-a")}, {5 * time.Second, view(vrrp.Master, 7)},
		}, `2.5s blocked: adverts of lb-a do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112
3s split brain: lb-b and lb-a are Master at the same time: its adverts do not arrive here
6s no longer blocked: no other director says that it is Master any more
6s no longer split brain: one Master again
`},
		{"the Master is silent and alive, and we hold", []splitStep{
			{0, backup}, {time.Second, held}, {5 * time.Second, view(vrrp.Backup, 8, "lb-a")},
		}, `2.5s blocked: adverts of lb-a do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112
6s no longer blocked: adverts of lb-a arrive again
`},
		{"the Master dies while we hold", []splitStep{{0, held}, {1400 * time.Millisecond, view(vrrp.Master, 7)}}, ""},
		{"our adverts do not arrive there", []splitStep{
			{0, view(vrrp.Master, 7, "lb-a")}, {100 * time.Millisecond, view(vrrp.Master, 8, "lb-a")},
		}, `2s split brain: lb-b and lb-a are Master at the same time: its adverts arrive here, so those of lb-b do not arrive there, or are discarded
`},
		{"its adverts are discarded", []splitStep{{0, refused(4)}, {100 * time.Millisecond, refused(5)}},
			`1.5s blocked: adverts of lb-a are discarded here although it is alive: hmac
2s split brain: lb-b and lb-a are Master at the same time: its adverts are discarded here: hmac
`},
		{"three Masters", []splitStep{{0, view(vrrp.Master, 7, "lb-a", "lb-c")}},
			`1.5s blocked: adverts of lb-a and lb-c do not arrive although they are alive: a firewall, IGMP snooping or a VLAN blocks protocol 112
2s split brain: lb-b and lb-a and lb-c are Master at the same time: their adverts do not arrive here
`},
		{"one look that says otherwise does not end it", []splitStep{
			{0, held}, {2 * time.Second, backup}, {2900 * time.Millisecond, held},
		}, `1.5s blocked: adverts of lb-a do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112
`},
		{"the Master has our priority", []splitStep{{0, tie}, {5 * time.Second, backup}},
			`3s equal: lb-b and lb-a have the same priority 100, so the higher address decides who is Master: give each its own
6s no longer equal: the priorities differ
`},
		{"both have lowered it", []splitStep{{0, lowered}}, ""},
		{"the file gives others our priority", []splitStep{{0, same}},
			`3s equal: lb-b and lb-a and lb-c have the same priority 100, so the higher address decides who is Master: give each its own
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, playSplit(tt.steps, 8*time.Second)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// says makes the peer alive, heard of just now, and of the given role.
func (p *fakePeers) says(state vrrp.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peer.Alive, p.peer.LastSeen = true, time.Now()
	p.peer.Roles = map[string]vrrp.State{"web": state}
}

// isSilent lets time pass without a sign of life of the peer.
func isSilent(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// isAlive lets time pass while the peer says again and again what its role is.
func (p *fakePeers) isAlive(d time.Duration, state vrrp.State) {
	for ; d > 0; d -= 200 * time.Millisecond {
		p.says(state)
		isSilent(200 * time.Millisecond)
	}
}

// inherited is a snapshot of a Backup, lb-a, that last heard lb-b with the priority 100.
func inherited(state vrrp.State) vrrp.Snapshot {
	return vrrp.Snapshot{
		State: state, Params: vrrp.Params{Priority: 150},
		MasterAddr: netip.MustParseAddr("10.0.0.12"), MasterPriority: 100,
	}
}

func TestHoldFollowsWhatTheMasterSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		_, stop := w.run(strings.Replace(keyedTOML, "[vrrp.web]\n", "[vrrp.web]\non_split = \"hold\"\n", 1))
		defer stop()
		w.vrrp.snapshot(inherited(vrrp.Backup))
		w.peers.becomes(true, nil)
		isSilent(time.Second)
		w.told()
		for _, step := range []struct {
			what string
			pass func()
			want bool
		}{
			{"the peer is Master", func() { w.peers.isAlive(400*time.Millisecond, vrrp.Master) }, true},
			{"and still is", func() { w.peers.isAlive(10*time.Second, vrrp.Master) }, true},
			{"it was heard of 0.8s ago", func() { isSilent(600 * time.Millisecond) }, true},
			{"it was heard of 1.2s ago", func() { isSilent(400 * time.Millisecond) }, false},
			{"it is back", func() { w.peers.isAlive(400*time.Millisecond, vrrp.Master) }, true},
			{"it has failed", func() { w.peers.isAlive(400*time.Millisecond, vrrp.Fault) }, false},
			{"it is Backup", func() { w.peers.isAlive(400*time.Millisecond, vrrp.Backup) }, false},
			{"it is Master again", func() { w.peers.isAlive(400*time.Millisecond, vrrp.Master) }, true},
		} {
			step.pass()
			if got := w.vrrp.applied("web").Hold; got != step.want {
				t.Errorf("%s: hold %v, want %v", step.what, got, step.want)
			}
		}
	})
}

// A director that a reload has left alone waits for nobody.
func TestHoldEndsWithTheLastPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		toml := strings.Replace(keyedTOML, "[vrrp.web]\n", "[vrrp.web]\non_split = \"hold\"\n", 1)
		d, stop := w.run(toml)
		defer stop()
		w.vrrp.snapshot(inherited(vrrp.Backup))
		w.peers.becomes(true, nil)
		w.peers.isAlive(400*time.Millisecond, vrrp.Master)
		if !w.vrrp.applied("web").Hold {
			t.Fatal("does not hold")
		}
		before, after, _ := strings.Cut(toml, "[director.lb-b]")
		_, after, _ = strings.Cut(after, "[vrrp.web]")
		if _, err := d.Reload(t.Context(), parse(t, before+"[vrrp.web]"+after)); err != nil {
			t.Fatal(err)
		}
		isSilent(2 * time.Second)
		if w.vrrp.applied("web").Hold {
			t.Error("still holds")
		}
	})
}

func TestTakeNeverHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		_, stop := w.run(keyedTOML)
		defer stop()
		w.peers.becomes(true, nil)
		w.peers.isAlive(2*time.Second, vrrp.Master)
		if w.vrrp.applied("web").Hold {
			t.Error("hold without on_split = \"hold\"")
		}
	})
}

func TestSplitIsSaidAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		d, stop := w.run(keyedTOML)
		defer stop()
		w.peers.becomes(true, nil)
		w.vrrp.snapshot(inherited(vrrp.Master))
		w.peers.isAlive(3*time.Second, vrrp.Master)
		r := d.Status().VirtualRouters[0]
		const blocked = "adverts of lb-b do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112"
		const brain = "lb-a and lb-b are Master at the same time: its adverts do not arrive here"
		if diff := cmp.Diff([]string{blocked, brain}, r.Problems); diff != "" || !r.AdvertsBlocked || !r.SplitBrain {
			t.Errorf("status: %v %v, problems -want +got:\n%s", r.AdvertsBlocked, r.SplitBrain, diff)
		}
		w.peers.isAlive(3*time.Second, vrrp.Backup)
		if r := d.Status().VirtualRouters[0]; len(r.Problems) > 0 || r.AdvertsBlocked || r.SplitBrain {
			t.Errorf("status after the split: %+v", r)
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="advertisements are blocked" virtual_router=web interface=eth0 vrid=51 reason="` + blocked + `"`,
			`level=INFO msg="advertisements are no longer blocked" virtual_router=web interface=eth0 vrid=51 reason="no other director says that it is Master any more"`,
		}, w.logged("advertisements are")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="two directors are master" virtual_router=web interface=eth0 vrid=51 reason="` + brain + `"`,
		}, w.logged("two directors")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		var got []string
		for _, kind := range []string{"adverts-", "split-"} {
			got = append(got, w.recorded(kind)...)
		}
		if diff := cmp.Diff([]string{
			"adverts-blocked web: " + blocked,
			"adverts-arrive web: no other director says that it is Master any more",
			"split-brain web: " + brain,
			"split-healed web: one Master again",
		}, got); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

// TestMuteProcessIsNoSplit: what the virtual routers' process said before it fell silent is
// no view of today. That it does not answer is said in its own line.
func TestMuteProcessIsNoSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.peers = &fakePeers{}
		silentSince := time.Now()
		w.process.Status = func() ProcessStatus { return ProcessStatus{Up: true, Answered: silentSince} }
		d, stop := w.run(keyedTOML)
		defer stop()
		w.peers.becomes(true, nil)
		w.vrrp.snapshot(inherited(vrrp.Master))
		w.peers.isAlive(3*time.Second, vrrp.Master)
		if r := d.Status().VirtualRouters[0]; len(r.Problems) > 0 {
			t.Errorf("problems %q", r.Problems)
		}
	})
}
