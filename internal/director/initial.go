package director

import (
	"maps"
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

// loadStatuses lets what an earlier run has left count until the first verdicts.
func (d *Director) loadStatuses() {
	down, err := d.o.Statuses.Load()
	if err != nil {
		d.o.Logger.Warn("health of the last run not readable, its real servers count as up until their first verdict", "err", err)
	}
	d.statuses.down = maps.Clone(down)
	if d.statuses.down == nil {
		d.statuses.down = make(map[healthcheck.Target]bool)
	}
	d.facts.assume(nil, d.force.targets, down)
}

// keptStatuses is what the next run is to know, as far as this one has it.
type keptStatuses struct {
	down   map[healthcheck.Target]bool // for checks whose initial is "last"
	news   bool                        // it has changed since it was handed to keeper
	keeper statusKeeper
}

// keepStatus keeps one target's status.
func (d *Director) keepStatus(t healthcheck.Target) {
	is := d.force.targets[t].Initial == healthcheck.InitialLast && d.facts.Health[t] == healthcheck.Down && !d.keptIn(t)
	if is == d.statuses.down[t] {
		return
	}
	d.statuses.news = true
	if is {
		d.statuses.down[t] = true
	} else {
		delete(d.statuses.down, t)
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

// keepStatuses has what has changed written.
func (d *Director) keepStatuses() {
	if d.statuses.news {
		d.statuses.news = false
		d.statuses.keeper.want.put(maps.Clone(d.statuses.down))
	}
}

// keepAllStatuses keeps those of another configuration.
func (d *Director) keepAllStatuses() {
	for t := range d.statuses.down {
		d.keepStatus(t)
	}
	for t := range d.force.targets {
		d.keepStatus(t)
	}
	d.keepStatuses()
}
