package director

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// assume lets targets count as their check's initial says, as long as they have no verdict.
// Those of known are left as they are; down are those that were so at the end of the last
// run. What counts as up stays Unknown, which is in the table.
func (f Facts) assume(known, targets map[healthcheck.Target]healthcheck.Spec, down map[healthcheck.Target]bool) {
	for t, spec := range targets {
		_, was := known[t]
		if was || f.Health[t] != healthcheck.Unknown {
			continue
		}
		if spec.Initial == healthcheck.InitialDown || spec.Initial == healthcheck.InitialLast && down[t] {
			f.Health[t], f.Assumed[t] = healthcheck.Down, true
		}
	}
}

// resume lets the panics of the last run go on. Who was good then is found by address: names may
// be others. Where none of them is left, nobody knows who was good.
func (f Facts) resume(cfg *conf.Config, panics map[string]map[netip.AddrPort]bool) {
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		good, was := panics[vs.Name]
		held := make(map[string]bool)
		for _, rs := range vs.RealServers {
			if good[rs.Address] {
				held[rs.Name] = true
			}
		}
		if was && vs.PanicThreshold > 0 && (len(held) > 0 || len(good) == 0) {
			f.Pools[vs.Name] = Memory{Held: held}
		}
	}
}

// loadStatuses lets what an earlier run has left count until the first verdicts.
func (d *Director) loadStatuses() {
	kept, err := d.o.Statuses.Load()
	if err != nil {
		d.o.Logger.Warn("health of the last run not readable, its real servers count as up until their first verdict", "err", err)
	}
	d.statuses.KeptHealth = kept.clone()
	d.facts.assume(nil, d.force.targets, kept.Down)
	d.facts.resume(d.force.cfg, kept.Panics)
}

// logResumed says which panics of the last run go on.
func (d *Director) logResumed() {
	for i := range d.force.cfg.VirtualServers {
		vs := &d.force.cfg.VirtualServers[i]
		if held := d.facts.held(vs); held != nil {
			d.said.panics[vs.Name] = true
			kept := listed(slices.Sorted(maps.Keys(held)))
			d.o.Logger.Warn("panic of the last run goes on, those that were good stay in", "virtual_server", vs.Name, "kept", kept)
			d.record(Event{Kind: EventPanicBegan, Object: vs.Name, Text: "the panic of the last run goes on: the last good real servers stay in: " + kept})
		}
	}
}

// keptStatuses is what the next run is to know, as far as this one has it.
type keptStatuses struct {
	KeptHealth
	news   bool // it has changed since it was handed to keeper
	keeper statusKeeper
}

// keepStatus keeps one target's status.
func (d *Director) keepStatus(t healthcheck.Target) {
	is := d.force.targets[t].Initial == healthcheck.InitialLast && d.facts.Health[t] == healthcheck.Down && !d.keptIn(t)
	if is == d.statuses.Down[t] {
		return
	}
	d.statuses.news = true
	if is {
		d.statuses.Down[t] = true
	} else {
		delete(d.statuses.Down, t)
	}
}

// keptIn tells whether a panic keeps a real server in that a target stands for: one that was
// in is to be in after a restart.
func (d *Director) keptIn(t healthcheck.Target) bool {
	return slices.ContainsFunc(d.force.users[t], func(u user) bool { return d.facts.held(u.vs)[u.rs.Name] })
}

// keepStatusesOf is keepStatus for all that is asked about a virtual server's real servers,
// when a panic begins or ends.
func (d *Director) keepStatusesOf(vs *conf.VirtualServer) {
	for i := range vs.RealServers {
		for t := range targetsOf(&vs.RealServers[i]) {
			d.keepStatus(t)
		}
	}
}

// keepPanic keeps who was good when a virtual server's panic began.
func (d *Director) keepPanic(vs *conf.VirtualServer) {
	var good map[netip.AddrPort]bool
	if held := d.facts.Pools[vs.Name].Held; held != nil {
		good = make(map[netip.AddrPort]bool, len(held))
		for _, rs := range vs.RealServers {
			if held[rs.Name] {
				good[rs.Address] = true
			}
		}
	}
	if sameNames(good, d.statuses.Panics[vs.Name]) {
		return
	}
	d.statuses.news = true
	if good == nil {
		delete(d.statuses.Panics, vs.Name)
	} else {
		d.statuses.Panics[vs.Name] = good
	}
}

// keepStatuses has what has changed written.
func (d *Director) keepStatuses() {
	if d.statuses.news {
		d.statuses.news = false
		d.statuses.keeper.want.put(d.statuses.clone())
	}
}

// keepAllStatuses keeps those of another configuration.
func (d *Director) keepAllStatuses() {
	for t := range d.statuses.Down {
		d.keepStatus(t)
	}
	for t := range d.force.targets {
		d.keepStatus(t)
	}
	names := make(map[string]bool)
	for i := range d.force.cfg.VirtualServers {
		d.keepPanic(&d.force.cfg.VirtualServers[i])
		names[d.force.cfg.VirtualServers[i].Name] = true
	}
	for name := range d.statuses.Panics {
		if !names[name] {
			delete(d.statuses.Panics, name)
			d.statuses.news = true
		}
	}
	d.keepStatuses()
}
