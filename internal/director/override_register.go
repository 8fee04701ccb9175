package director

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// Register is what was last wanted of one real server, on whichever director: an override,
// or with OverrideNone that there is none. The end of one has to be known too: a director
// that was away would bring the override back.
//
// The last writer wins. Who that is, the clocks of the directors do not decide alone: a
// version is higher than any that its director has seen, so what an operator does to an
// override that this director knows always wins over it. Only of changes that were made
// while the directors did not hear each other, the clocks tell the later one.
type Register struct {
	// Version is in milliseconds since 1970, or one more than the highest that was known
	// if that is later (a hybrid logical clock).
	Version uint64 `json:"version"`
	Override
}

// Registers are all that a director knows of, also without effect: ended, expired, or of
// real servers that its configuration does not name. One that is published is never
// written to.
type Registers map[ServerID]Register

// compare orders registers by who wins. It is 0 only for equal ones, so that all directors
// choose alike whatever they have been sent.
func (r Register) compare(s Register) int {
	return cmp.Or(cmp.Compare(r.Version, s.Version), cmp.Compare(r.Director, s.Director), r.Override.compare(s.Override))
}

func (o Override) compare(p Override) int {
	return cmp.Or(cmp.Compare(o.Kind, p.Kind), cmp.Compare(o.Weight, p.Weight), cmp.Compare(o.By, p.By), cmp.Compare(o.Director, p.Director),
		o.At.Compare(p.At), o.Until.Compare(p.Until), cmp.Compare(o.Reason, p.Reason))
}

// merge is what two directors know together. It is commutative, associative and
// idempotent: in whatever order and however often they hear of each other's, in the end
// all know the same.
func merge(a, b Registers) Registers {
	all := maps.Clone(a)
	if all == nil {
		all = make(Registers, len(b))
	}
	for id, r := range b {
		if was, ok := all[id]; !ok || r.compare(was) > 0 {
			all[id] = r
		}
	}
	return all
}

func (r Registers) equal(s Registers) bool {
	return maps.EqualFunc(r, s, func(a, b Register) bool { return a.compare(b) == 0 })
}

// next is the version of a change that is made now.
func (r Registers) next(now time.Time) uint64 {
	version := uint64(max(now.UnixMilli(), 1))
	for _, reg := range r {
		version = max(version, reg.Version+1)
	}
	return version
}

// live tells whether it is an override that has not ended. The zero value is none.
func (r Register) live(now time.Time) bool {
	return r.Kind != "" && r.Kind != OverrideNone && !r.over(now)
}

// split returns the overrides that have not ended: those of real servers that there are,
// which are in force, and the others, which have no effect.
func (r Registers) split(servers map[ServerID]bool, now time.Time) (inForce, unnamed Overrides) {
	inForce, unnamed = make(Overrides), make(Overrides)
	for id, reg := range r {
		switch {
		case !reg.live(now):
		case servers[id]:
			inForce[id] = reg.Override
		default:
			unnamed[id] = reg.Override
		}
	}
	return inForce, unnamed
}

// keepEnded is how long what has ended is remembered. A director that was away for longer
// may bring back what was ended meanwhile.
const keepEnded = 30 * 24 * time.Hour

// prune leaves out what ended long ago.
func (r Registers) prune(now time.Time) Registers {
	kept := maps.Clone(r)
	maps.DeleteFunc(kept, func(_ ServerID, reg Register) bool {
		end := reg.Until
		if reg.Kind == OverrideNone {
			end = reg.At
		}
		return !reg.live(now) && now.Sub(end) > keepEnded
	})
	return kept
}

// moved returns the new names of the real servers with an override that have another name
// in a new configuration, or whose virtual server has, by the addresses of both. An
// override that was given to the new name later stays.
func (r Registers) moved(before, after *conf.Config, now time.Time) map[ServerID]ServerID {
	names := make(map[ServerID]ServerID)
	if len(r) == 0 {
		return names
	}
	is := identities(after)
	there := make(map[ServerID]bool, len(is))
	for _, id := range is {
		there[id] = true
	}
	for place, id := range identities(before) {
		name, ok := is[place]
		if reg := r[id]; ok && !there[id] && reg.live(now) && reg.Version > r[name].Version {
			names[id] = name
		}
	}
	return names
}

func (r Registers) sorted() []ServerID { return slices.SortedFunc(maps.Keys(r), ServerID.compare) }

func (o Overrides) sorted() []ServerID { return slices.SortedFunc(maps.Keys(o), ServerID.compare) }

// nextOver is when the first override's time comes; zero: never.
func (o Overrides) nextOver() time.Time {
	var next time.Time
	for _, ov := range o {
		if !ov.Until.IsZero() && (next.IsZero() || ov.Until.Before(next)) {
			next = ov.Until
		}
	}
	return next
}

// placeName tells whether a name is one that the configuration could have.
func placeName(s string) bool {
	return s != "" && len(s) <= maxPlaceName && printable(s) && !strings.Contains(s, "/")
}

// maxPlaceName is the longest name of the configuration, in bytes.
const maxPlaceName = 63
