package director

import (
	"fmt"
	"maps"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// turnover is what becomes of the loop's state with another configuration. It is worked
// out without changing anything: a reload puts it in force, and a plan tells of it.
type turnover struct {
	before, after inForce
	facts         Facts // shares no map that anybody writes to with those before
	yielded       map[string]time.Time
	// live are the changes to the overrides' registers, and moved the new names of real
	// servers that have another one.
	live  Registers
	moved map[ServerID]ServerID
}

// changed are the first keys that differ. With a long configuration it takes a while.
func (t turnover) changed() []string { return conf.DiffKeys(t.before.text, t.after.text) }

// ended are the overrides, of those in force before, that end with their real servers.
func (t turnover) ended(was Overrides) []ServerID {
	var list []ServerID
	for _, id := range was.sorted() {
		_, still := t.facts.Overrides[id]
		_, moved := t.moved[id]
		if !still && !moved {
			list = append(list, id)
		}
	}
	return list
}

// turnover works out what a validated configuration would make of the loop's state, or
// why it cannot be put in force.
func (d *Director) turnover(next inForce, now time.Time) (turnover, error) {
	cfg := next.cfg
	if err := d.acceptable(cfg); err != nil {
		return turnover{}, err
	}
	t := turnover{before: d.force, after: next, facts: d.facts}
	t.facts.Health, t.facts.Assumed, t.facts.Values = carriedHealth(t.before, t.after, d.facts)
	t.facts.assume(t.before.targets, t.after.targets, nil)
	t.facts.Pools = carriedPools(t.before.cfg, cfg, d.facts.Pools)
	t.facts.Tracks = carriedTracks(t.before.cfg, cfg, d.facts.Tracks)
	t.facts.VRRP, t.yielded = carriedRouters(t.before.cfg, cfg, d.facts.VRRP, d.yielded)
	t.live, t.moved = d.live.all.carried(t.before.cfg, cfg, d.o.Self, now.Round(0))
	t.facts.Overrides, _ = merge(d.live.all, t.live).split(t.after.servers, now.Round(0))
	t.facts.Leaving = leave(d.facts.Leaving, t.before.cfg, cfg, d.o.Self, d.inTable(), now)
	return t, nil
}

// inTable is what the kernel's table holds, as far as the loop can know: what the last pass
// has told and, until a pass tells of what is desired now, that as well.
func (d *Director) inTable() ipvs.Table {
	is := d.lastPass.Table()
	if d.lastPass.Desired.Generation >= d.desired.Generation {
		return is
	}
	both := d.desired.Table.Clone()
	for key, e := range is {
		if _, there := both[key]; !there {
			both[key] = e
			continue
		}
		maps.Copy(both[key].Destinations, e.Destinations)
	}
	return both
}

// acceptable says what about a valid configuration cannot be put in force while the
// daemon runs.
func (d *Director) acceptable(cfg *conf.Config) error {
	if !hasDirector(cfg, d.o.Self) {
		return fmt.Errorf("director %q, which this daemon runs as, is not in %s", d.o.Self, cfg.File)
	}
	if cfg.Admin != d.force.cfg.Admin {
		return fmt.Errorf("[admin] changed in %s: its listeners are opened at the start, so restart the daemon to change them", cfg.File)
	}
	if cfg.Log.Format != d.force.cfg.Log.Format {
		return fmt.Errorf("[log] format changed in %s: it is set at the start, so restart the daemon to change it", cfg.File)
	}
	return nil
}

// carriedRouters carries facts over to virtual routers that a reload has given another
// name: they go on as they are and report nothing.
func carriedRouters(before, after *conf.Config, states map[string]vrrp.State, yielded map[string]time.Time) (map[string]vrrp.State, map[string]time.Time) {
	nowStates, nowYielded := make(map[string]vrrp.State), make(map[string]time.Time)
	for _, vr := range after.VirtualRouters {
		if name, ok := nameOf(before, idOf(vr)); ok {
			nowStates[vr.Name], nowYielded[vr.Name] = states[name], yielded[name]
		}
	}
	return nowStates, nowYielded
}

// clone returns facts that share no map with f.
func (f Facts) clone() Facts {
	f.VRRP, f.Health, f.Assumed = maps.Clone(f.VRRP), maps.Clone(f.Health), maps.Clone(f.Assumed)
	f.Values, f.Pools = maps.Clone(f.Values), maps.Clone(f.Pools)
	f.Tracks, f.Overrides, f.Leaving = maps.Clone(f.Tracks), maps.Clone(f.Overrides), maps.Clone(f.Leaving)
	return f
}
