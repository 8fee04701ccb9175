package director

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

const (
	// splitLook is how often the two views of who is Master are compared: VRRP's, and
	// what the directors tell each other.
	splitLook = 200 * time.Millisecond
	// freshFor is how old a peer's last sign of life may be when its word counts.
	freshFor = time.Second
	// muteAfter is for how long the virtual routers' process has not answered when
	// nothing is made of what it said before. It is asked twice a second.
	muteAfter = 1200 * time.Millisecond
)

// splitRunner compares the two views of who is Master.
type splitRunner struct {
	vrrp    VRRP
	process func() ProcessStatus // nil: the virtual routers run in this one
	self    string
	peers   *peersRunner
	configs mailbox[applied]
	news    chan splitNews
	// pub is what readers see, by virtual router.
	pub atomic.Pointer[map[string]splitStatus]
}

// splitStatus is what readers see of one virtual router.
type splitStatus struct {
	problems       []string
	blocked, brain bool
}

// splitNews is what a look has brought.
type splitNews struct {
	changes map[string][]splitChange // by virtual router
	// hold are the virtual routers that must not take over from a silent Master.
	hold map[string]bool
}

func newSplitRunner(o Options, peers *peersRunner) *splitRunner {
	r := &splitRunner{vrrp: o.VRRP, process: o.Process.Status, self: o.Self, peers: peers, configs: newMailbox[applied](), news: make(chan splitNews)}
	r.pub.Store(&map[string]splitStatus{})
	return r
}

func (r *splitRunner) configure(a applied) { r.configs.put(a) }

// run works until ctx is canceled.
func (r *splitRunner) run(ctx context.Context) error {
	var a applied
	splits := make(map[string]*split)
	hold := make(map[string]bool)
	ticker := time.NewTicker(splitLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case a = <-r.configs:
		case <-ticker.C:
		}
		if a.cfg == nil || r.mute(time.Now()) {
			continue
		}
		n := r.look(time.Now(), a, splits)
		if len(n.changes) == 0 && maps.Equal(n.hold, hold) {
			continue
		}
		hold = n.hold
		r.publish(splits)
		select {
		case r.news <- n:
		case <-ctx.Done():
			return nil
		}
	}
}

// mute tells whether the virtual routers' process does not answer. It may hang, and its
// last words then speak of a state that is over: no firewall is to blame for that.
func (r *splitRunner) mute(now time.Time) bool {
	if r.process == nil {
		return false
	}
	s := r.process()
	return !s.Up || !s.Answered.IsZero() && now.Sub(s.Answered) > muteAfter
}

// look compares once.
func (r *splitRunner) look(now time.Time, a applied, splits map[string]*split) splitNews {
	n := splitNews{changes: make(map[string][]splitChange), hold: make(map[string]bool)}
	snapshots := r.vrrp.Snapshots()
	peers, _ := r.peers.snapshots()
	for _, vr := range a.cfg.VirtualRouters {
		v := viewOf(now, a.cfg, vr, r.self, a.instances[vr.Name], snapshots[vr.Name], peers)
		s := splits[vr.Name]
		if s == nil {
			s = &split{}
			splits[vr.Name] = s
		}
		if c := s.observe(now, v); len(c) > 0 {
			n.changes[vr.Name] = c
		}
		if vr.OnSplit == conf.SplitHold && len(v.masters) > 0 {
			n.hold[vr.Name] = true
		}
	}
	maps.DeleteFunc(splits, func(name string, _ *split) bool {
		_, ok := virtualRouter(a.cfg, name)
		return !ok
	})
	return n
}

// viewOf puts together what is known of a virtual router.
func viewOf(now time.Time, cfg *conf.Config, vr conf.VirtualRouter, self string, in vrrp.Instance, s vrrp.Snapshot, peers []Peer) splitView {
	v := splitView{
		self: self, state: s.State, held: s.Held,
		received: s.Counters.AdvertsReceived, discarded: s.Counters.Discarded,
		priority: vr.Priority[self], effective: s.Params.Priority,
	}
	for _, p := range masters(peers, vr.Name) {
		if now.Sub(p.LastSeen) <= freshFor {
			v.masters = append(v.masters, p.Name)
		}
	}
	slices.Sort(v.masters)
	if s.State == vrrp.Backup && s.MasterAddr.IsValid() {
		v.heard, v.heardPriority = senderName(cfg, in, s.MasterAddr), s.MasterPriority
		if v.heard == "" {
			v.heard = s.MasterAddr.String()
		}
	}
	for _, d := range cfg.Directors {
		if d.Name != self && vr.Priority[d.Name] == v.priority {
			v.same = append(v.same, d.Name)
		}
	}
	return v
}

// publish shows readers what is wrong.
func (r *splitRunner) publish(splits map[string]*split) {
	pub := make(map[string]splitStatus, len(splits))
	for name, s := range splits {
		pub[name] = splitStatus{problems: s.problems(), blocked: s.blocked.on, brain: s.brain.on}
	}
	r.pub.Store(&pub)
}
