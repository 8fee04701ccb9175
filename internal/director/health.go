package director

import (
	"maps"
	"net/netip"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// healthBatchMax bounds how many check events are taken in before the table is
// compiled again and other events get their turn.
const healthBatchMax = 256

// healthBatch takes in an event and what is waiting behind it: after a start, or when
// a rack goes down, thousands of checks change at the same time, and one compilation
// serves many of them. The kernel is told first, and then everybody else.
func (d *Director) healthBatch(e healthcheck.Event) {
	touched := make(map[*conf.VirtualServer]bool)
	var changes []healthChange
	for n := 1; ; n++ {
		if c := d.health(e); len(c.users) > 0 {
			changes = append(changes, c)
			for _, u := range c.users {
				touched[u.vs] = true
			}
		}
		if n == healthBatchMax || len(d.o.HealthEvents) == 0 {
			break
		}
		e = <-d.o.HealthEvents
	}
	d.give(d.desired.recompile(touched, d.facts))
	for _, c := range changes {
		// A first verdict that confirms what was assumed is no change.
		if c.was == healthcheck.Down || c.event.Status == healthcheck.Down {
			d.logHealth(c.event, c.was, c.users)
		}
	}
	for vs := range touched {
		d.logPool(vs)
	}
	d.virtualServerTracks(touched)
	d.readiness()
}

// healthChange is a target's change of status.
type healthChange struct {
	event healthcheck.Event
	was   healthcheck.Status
	users []user // the real servers that it is about
}

// health takes in a target's status. Without users there is no change.
func (d *Director) health(e healthcheck.Event) healthChange {
	users := d.force.users[e.Target]
	if len(users) == 0 {
		return healthChange{} // a reload has taken it away
	}
	target, is := e.Target, e.Status
	was, waited := d.facts.Health[target], d.facts.waits(target)
	if was == is && !waited {
		return healthChange{}
	}
	d.changeFacts(func(f Facts) {
		delete(f.Assumed, target)
		f.Health[target] = is
	})
	switch waits := d.facts.waits(target); {
	case waits && !waited:
		d.waiting++
	case waited && !waits:
		d.waiting--
	}
	if was == is {
		return healthChange{}
	}
	return healthChange{e, was, users}
}

// carriedHealth lets a real server whose check was exchanged start with the verdict of
// the old one: a reload must not put servers that are known to be dead back into the
// table. The verdict is assumed until the new check has its own.
func carriedHealth(before, after inForce, f Facts) (health map[healthcheck.Target]healthcheck.Status, assumed map[healthcheck.Target]bool) {
	health, assumed = maps.Clone(f.Health), maps.Clone(f.Assumed)
	verdicts := make(map[netip.AddrPort]healthcheck.Status)
	for t := range before.users {
		status := f.Health[t]
		if was, ok := verdicts[t.Addr]; ok && was != status {
			status = healthcheck.Unknown // two checks of one address that disagree
		}
		verdicts[t.Addr] = status
	}
	for t := range after.users {
		if _, known := before.users[t]; known {
			continue
		}
		status := verdicts[t.Addr]
		if status == healthcheck.Unknown {
			status = health[t] // of an earlier configuration
		}
		if status != healthcheck.Unknown {
			health[t], assumed[t] = status, true
		}
	}
	return health, assumed
}
