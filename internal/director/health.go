package director

import (
	"maps"
	"net/netip"
	"slices"

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
	var changes []serverChange
	for n := 1; ; n++ {
		d.logNotice(e)
		for _, c := range d.health(e) {
			changes = append(changes, c)
			touched[c.vs] = true
		}
		if n == healthBatchMax || len(d.o.HealthEvents) == 0 {
			break
		}
		e = <-d.o.HealthEvents
	}
	d.give(d.desired.recompile(touched, d.facts))
	for _, c := range changes {
		d.logHealth(c)
	}
	said := make(map[*conf.VirtualServer]bool)
	for _, c := range changes {
		if !said[c.vs] {
			said[c.vs] = true
			d.logPool(c.vs)
		}
	}
	d.virtualServerTracks(touched)
	d.compareSight()         // first: whoever becomes ready and is blind is not to preempt
	d.lookAtQuorums(touched) // after it is known who sees what
	d.readiness()
	d.keepStatuses()
}

// serverChange is what an event has changed about a real server.
type serverChange struct {
	user
	event healthcheck.Event
	// The status is what its checks say together, the weight what they make of the
	// configured one.
	was, is               healthcheck.Status
	wasWeighed, isWeighed uint32
	// failed says that it was down by a check's own verdict, held that it stayed in while it
	// was down, for a panic.
	failed, held bool
	kept         map[string]bool // what a panic kept in before; nil: there was none
}

// health takes in what a target says, and returns the real servers for which that is a
// change.
func (d *Director) health(e healthcheck.Event) []serverChange {
	users := d.force.users[e.Target]
	if len(users) == 0 {
		return nil // a reload has taken it away
	}
	target, status, value := e.Target, e.Status, e.Value
	if status == healthcheck.Down {
		value = d.facts.Values[target] // what it has said last
	}
	changed := d.facts.Health[target] != status || d.facts.Values[target] != value
	waited := d.facts.waits(target)
	if !changed && !waited {
		return nil
	}
	changes := make([]serverChange, len(users))
	for i, u := range users {
		held := d.facts.held(u.vs)
		changes[i] = serverChange{user: u, event: e, was: d.facts.status(u.rs), failed: d.facts.fails(u.rs), held: held[u.rs.Name], kept: held}
		changes[i].wasWeighed, _ = d.facts.weight(u.rs)
	}
	d.changeFacts(func(f Facts) {
		delete(f.Assumed, target)
		f.Health[target] = status
		if value == (healthcheck.Value{}) {
			delete(f.Values, target)
		} else {
			f.Values[target] = value
		}
	})
	d.viewChanged(e)
	switch waits := d.facts.waits(target); {
	case waits && !waited:
		d.waiting++
	case waited && !waits:
		d.waiting--
	}
	for i := range changes {
		c := &changes[i]
		c.is = d.facts.status(c.rs)
		c.isWeighed, _ = d.facts.weight(c.rs)
		d.seen[c.was]--
		d.seen[c.is]++
		// What a panic has kept in does not begin anew.
		if c.was == healthcheck.Down && c.is != healthcheck.Down && c.failed && !c.held && c.vs.SlowStart > 0 {
			d.facts.rise(c.vs, c.rs.Name, e.At)
		}
		// In a panic it has to have passed to be good.
		if c.was == healthcheck.Up || c.was == healthcheck.Unknown && c.kept == nil {
			d.facts.remember(c.vs, c.rs.Name)
		} else {
			d.facts.remember(c.vs)
		}
		held := d.facts.held(c.vs)
		c.held = c.held || held[c.rs.Name]
		if !sameNames(c.kept, held) {
			d.keepStatusesOf(c.vs)
		}
		d.keepPanic(c.vs)
	}
	d.keepStatus(target)
	return slices.DeleteFunc(changes, func(c serverChange) bool {
		// A verdict that confirms what was assumed may still begin a panic, and decide that
		// there is no quorum.
		return c.was == c.is && c.wasWeighed == c.isWeighed && c.vs.PanicThreshold == 0 && c.failed == d.facts.fails(c.rs)
	})
}

// sameNames tells whether two sets are the same one, or both none.
func sameNames[K comparable](a, b map[K]bool) bool {
	return (a == nil) == (b == nil) && maps.Equal(a, b)
}

// carriedHealth lets a real server whose check was exchanged start with the verdict of
// the old one: a reload must not put servers that are known to be dead back into the
// table. The verdict is assumed until the new check has its own. Of what is not asked any
// more only that it was down is remembered: it may be back soon, and much may happen before.
func carriedHealth(before, after inForce, f Facts) (health map[healthcheck.Target]healthcheck.Status, assumed map[healthcheck.Target]bool, values map[healthcheck.Target]healthcheck.Value) {
	health, assumed, values = maps.Clone(f.Health), maps.Clone(f.Assumed), maps.Clone(f.Values)
	verdicts := make(map[netip.AddrPort]healthcheck.Status)
	for _, users := range before.users {
		for _, u := range users {
			status := f.status(u.rs)
			if was, ok := verdicts[u.rs.Address]; ok && was != status {
				status = healthcheck.Unknown // two virtual servers that disagree about one address
			}
			verdicts[u.rs.Address] = status
		}
	}
	for t, users := range after.users {
		if _, known := before.users[t]; known {
			continue
		}
		status := verdicts[t.Addr]
		if status == healthcheck.Unknown && health[t] == healthcheck.Down {
			status = healthcheck.Down // when an earlier configuration asked it
		}
		// One that another check keeps out has no need of it.
		out := func(other healthcheck.Target) bool {
			_, asked := before.users[other]
			return asked && f.Health[other] == healthcheck.Down
		}
		for _, u := range users {
			if slices.ContainsFunc(slices.Collect(targetsOf(u.rs)), out) {
				status = healthcheck.Unknown
			}
		}
		delete(health, t)
		if status != healthcheck.Unknown {
			health[t], assumed[t] = status, true
		}
	}
	forgotten := func(t healthcheck.Target) bool { return len(after.users[t]) == 0 }
	maps.DeleteFunc(health, func(t healthcheck.Target, s healthcheck.Status) bool {
		return s != healthcheck.Down && forgotten(t)
	})
	maps.DeleteFunc(assumed, func(t healthcheck.Target, _ bool) bool { return forgotten(t) })
	maps.DeleteFunc(values, func(t healthcheck.Target, _ healthcheck.Value) bool { return forgotten(t) })
	return health, assumed, values
}
