package director

import (
	"maps"

	"github.com/hadirector/hadirector/healthcheck"
)

// verdicts are the facts that checks tell, for readers. There are many of them and few
// change at a time, so they are a copy of all that is older, and the changes since. Nobody
// writes to either.
type verdicts struct {
	copied Facts // Health, Assumed and Values alone
	newest *factChange
	n      int // changes
}

// factChange is a change of facts, and those before it.
type factChange struct {
	make   func(Facts)
	before *factChange
}

// changeFacts changes what checks have told. Readers do the same with what they have got,
// so it depends on nothing that changes later.
func (d *Director) changeFacts(change func(Facts)) {
	change(d.facts)
	d.verdicts.newest = &factChange{change, d.verdicts.newest}
	d.verdicts.n++
}

// verdictsNow returns the verdicts for readers. Copying all of them for each change in so
// many costs as much as the changes.
func (d *Director) verdictsNow() verdicts {
	if d.verdicts.copied.Health == nil || 4*d.verdicts.n > len(d.facts.Health) {
		d.verdicts = verdicts{copied: Facts{Health: maps.Clone(d.facts.Health), Assumed: maps.Clone(d.facts.Assumed), Values: maps.Clone(d.facts.Values)}}
	}
	return d.verdicts
}

// of returns f with the verdicts. The caller owns their maps.
func (v verdicts) of(f Facts) Facts {
	f.Health, f.Assumed, f.Values = maps.Clone(v.copied.Health), maps.Clone(v.copied.Assumed), maps.Clone(v.copied.Values)
	changes := make([]func(Facts), 0, v.n)
	for c := v.newest; c != nil; c = c.before {
		changes = append(changes, c.make)
	}
	for i := len(changes) - 1; i >= 0; i-- {
		changes[i](f)
	}
	return f
}

// waits tells whether a check has no verdict of its own yet.
func (f Facts) waits(t healthcheck.Target) bool {
	return f.Health[t] == healthcheck.Unknown || f.Assumed[t]
}

// waiting counts the checks without a verdict of their own.
func (f Facts) waiting(targets map[healthcheck.Target]healthcheck.Spec) int {
	n := 0
	for t := range targets {
		if f.waits(t) {
			n++
		}
	}
	return n
}
