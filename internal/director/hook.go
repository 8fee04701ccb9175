package director

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// Hook is a command to be run for a virtual server.
type Hook struct {
	Args    []string // the program's absolute path and its arguments
	User    string
	Env     []string // besides what every command has, "NAME=value"
	Timeout time.Duration
}

// HookRunner runs a hook until it ends or ctx does, and says in one short line why it was
// no success. Any number of goroutines may call it.
type HookRunner func(ctx context.Context, h Hook) error

// maxHooks is how many run at the same time: a rack that goes down must not start
// a thousand programs on the director.
const maxHooks = 16

// quorum is a virtual server's quorum as its hooks know it.
type quorum uint8

const (
	quorumUnknown quorum = iota // its checks have not decided it yet
	quorumUp
	quorumDown
)

// quorum says whether a virtual server has its quorum, as far as that is certain: was as
// long as it depends on real servers whose checks have no verdict of their own yet. It is
// the quorum that the pool goes by, so those that a panic keeps in count, and those that an
// operator has taken out do not.
func (f Facts) quorum(vs *conf.VirtualServer, was quorum) quorum {
	held, certain, open := f.held(vs), 0, 0
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		if rs.Backup {
			continue
		}
		if status := f.status(rs); status == healthcheck.Unknown || status == healthcheck.Down && !f.fails(rs) {
			open++
		} else if is, in := f.realServer(vs, rs, held); in && is.Weight > 0 {
			certain++
		}
	}
	lost := f.Pools[vs.Name].Lost
	switch atLeast, atMost := certain, certain+open; {
	case !quorumLost(vs, atLeast, lost):
		return quorumUp
	case quorumLost(vs, atMost, lost):
		return quorumDown
	}
	return was
}

// hooks are the loop's side of the commands that virtual servers run.
type hooks struct {
	ctx     context.Context // of those that run
	stop    context.CancelFunc
	group   sync.WaitGroup
	ended   chan hookEnd
	running int
	servers map[string]*hookState // by virtual server
	// doubted are those whose quorum's loss is not believed yet. They are looked at again
	// when doubtedUntil has come.
	doubted      map[*hookState]doubt
	doubtedUntil time.Time
	// waiting are those that may have something to run, in the order in which that came.
	waiting []*hookState
}

// hookState is what is known of one virtual server's hooks.
type hookState struct {
	vs     *conf.VirtualServer // of the configuration in force; nil: it is gone
	is     quorum
	dealt  quorum // what the last hook was run for, or would have been
	busy   bool   // a hook of it runs
	queued bool   // it is among waiting
}

// hookEnd tells that a hook has ended.
type hookEnd struct {
	of   *hookState
	name string // of the virtual server then
	key  string // on_quorum_up, on_quorum_down
	err  error
	took time.Duration
}

func newHooks() *hooks {
	h := &hooks{ended: make(chan hookEnd), servers: make(map[string]*hookState), doubted: make(map[*hookState]doubt)}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// configureHooks carries what is known of the hooks into the configuration in force.
// A virtual server that goes on, also under another name, knows all it did: what a reload does
// not change runs no hook. One that is new knows nothing, and so does one that clients find
// elsewhere now: what its hooks steer is about where that is.
func (d *Director) configureHooks(before *conf.Config) {
	old, kept := d.hooks.servers, make(map[*hookState]bool)
	was := predecessors(before, d.force.cfg)
	d.hooks.servers = make(map[string]*hookState, len(d.force.cfg.VirtualServers))
	carry := func(moved bool) {
		for i := range d.force.cfg.VirtualServers {
			vs := &d.force.cfg.VirtualServers[i]
			earlier := was[vs]
			if earlier == nil || old[earlier.Name] == nil || kept[old[earlier.Name]] || sameAddresses(earlier, vs) == moved {
				continue
			}
			s := old[earlier.Name]
			if moved { // one hook at a time all the same
				s.is, s.dealt = quorumUnknown, quorumUnknown
				delete(d.hooks.doubted, s)
			}
			s.vs, kept[s] = vs, true
			d.hooks.servers[vs.Name] = s
		}
	}
	carry(false)
	carry(true)
	for i := range d.force.cfg.VirtualServers {
		vs := &d.force.cfg.VirtualServers[i]
		if d.hooks.servers[vs.Name] == nil {
			d.hooks.servers[vs.Name] = &hookState{vs: vs}
		}
	}
	for _, s := range old {
		if !kept[s] {
			s.vs = nil
			delete(d.hooks.doubted, s)
		}
	}
}

// sameAddresses tells whether clients find two virtual servers in the same place.
func sameAddresses(a, b *conf.VirtualServer) bool {
	ports := func(vs *conf.VirtualServer) map[ipvs.Ports]bool {
		set := make(map[ipvs.Ports]bool)
		for _, p := range vs.Ports() {
			set[p] = true
		}
		return set
	}
	x, y := a.Service.Key, b.Service.Key
	return x.Protocol == y.Protocol && x.FWMark == y.FWMark && maps.Equal(ports(a), ports(b))
}

// lookAtQuorums runs the hooks of these virtual servers whose quorum has changed; nil: all.
// Before the director has started nothing is served, nor is a virtual server that is new before
// the kernel has been brought to it.
func (d *Director) lookAtQuorums(touched map[*conf.VirtualServer]bool) {
	if !d.started {
		return
	}
	look := make([]*conf.VirtualServer, 0, len(touched))
	for vs := range touched {
		look = append(look, vs)
	}
	slices.SortFunc(look, func(a, b *conf.VirtualServer) int { return strings.Compare(a.Name, b.Name) })
	if touched == nil {
		for i := range d.force.cfg.VirtualServers {
			look = append(look, &d.force.cfg.VirtualServers[i])
		}
	}
	now, probes := time.Now(), sync.OnceValue(d.o.Health.Snapshots)
	passed := sync.OnceValue(func() time.Time { return lastSuccess(probes(), d.force.targets) })
	for _, vs := range look {
		s := d.hooks.servers[vs.Name]
		if s.is == quorumUnknown && d.instancesAt != 0 {
			continue
		}
		is := d.facts.quorum(vs, s.is)
		if is == quorumDown && is != s.is && d.facts.forLackOfPasses(vs, d.force.targets) {
			of := d.hooks.doubted[s]
			switch {
			case d.sight() == SightNone:
				of = doubt{blind: true}
			case !of.since.IsZero():
			case of.blind:
				of.since = now
			default: // an operator may have taken the rest away long after it
				of.since = d.facts.lastFailure(vs, probes(), d.force.targets, now)
			}
			if d.doubts(func() bool { return passed().After(of.since) && !(of.blind && d.facts.mayRise(vs, probes(), of.since)) }) {
				if len(d.hooks.doubted) == 0 {
					d.hooks.doubtedUntil = now.Add(hookDoubt)
				}
				d.hooks.doubted[s] = of
				continue
			}
		}
		delete(d.hooks.doubted, s)
		if is != s.is {
			s.is = is
			d.queueHook(s)
		}
	}
	d.startHooks()
}

func (d *Director) queueHook(s *hookState) {
	if !s.queued {
		s.queued = true
		d.hooks.waiting = append(d.hooks.waiting, s)
	}
}

// startHooks runs what waits, as far as there is room. Of changes that came while the virtual
// server's hook ran, or had to wait, the last one counts.
func (d *Director) startHooks() {
	h := d.hooks
	h.waiting = slices.DeleteFunc(h.waiting, func(s *hookState) bool {
		if s.busy || s.vs != nil && h.running >= maxHooks {
			return false
		}
		s.queued = false
		if s.vs != nil && s.is != s.dealt {
			s.dealt = s.is
			d.startHook(s)
		}
		return true
	})
}

// startHook runs the hook for what is now, if there is one.
func (d *Director) startHook(s *hookState) {
	key, what := "on_quorum_up", s.vs.OnQuorumUp
	if s.is == quorumDown {
		key, what = "on_quorum_down", s.vs.OnQuorumDown
	}
	if what.Command == "" || d.o.RunHook == nil {
		return
	}
	run := Hook{Args: strings.Split(what.Command, "\x00"), User: what.User, Timeout: what.Timeout, Env: d.hookEnv(s.vs, s.is)}
	end, begun := hookEnd{of: s, name: s.vs.Name, key: key}, time.Now()
	s.busy = true
	d.hooks.running++
	d.hooks.group.Go(func() {
		ctx, cancel := context.WithTimeout(d.hooks.ctx, run.Timeout)
		defer cancel()
		end.err = d.o.RunHook(ctx, run)
		end.took = time.Since(begun)
		select {
		case d.hooks.ended <- end:
		case <-d.hooks.ctx.Done():
			d.logHook(end)
		}
	})
}

// hookEnded takes in that a hook has ended.
func (d *Director) hookEnded(e hookEnd) {
	e.of.busy = false
	d.hooks.running--
	d.logHook(e)
	d.startHooks()
}

// logHook says how a hook has ended. Any goroutine may call it.
func (d *Director) logHook(e hookEnd) {
	attrs := []any{"virtual_server", e.name, "hook", e.key, "took", e.took.Round(time.Millisecond)}
	switch {
	case e.err == nil:
		d.o.Logger.Info("hook has run", attrs...)
		return
	case errors.Is(e.err, context.Canceled): // which nothing else does to it
		d.o.Logger.Info("hook ended by the stop of the daemon", attrs...)
		return
	}
	d.o.Logger.Warn("hook failed", append(attrs, "err", errText(e.err))...)
	d.record(Event{Kind: EventHookFailed, Object: e.name, Reason: e.key, Text: e.key + " failed: " + errText(e.err)})
}

// stopHooks ends those that run.
func (d *Director) stopHooks() {
	d.hooks.stop()
	d.hooks.group.Wait()
}
