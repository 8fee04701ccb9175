package syncd

import (
	"slices"
	"time"
)

// KernelList is what a list of the kernel's connections showed.
type KernelList struct {
	Conns []Living
	Asked time.Time // when it was begun to be read
	Due   time.Time // by when there is another one; zero: nobody knows
}

// Learned takes in what was read of the kernel's own table: at the start, after messages
// were lost, or because a connection may not have been told yet. The peers are told what
// was not in the shadow table, and what that would forget before the next list although the
// kernel has it for longer: packets keep a connection without a message, and one may have
// been missed.
func (x *Exchange) Learned(now time.Time, list KernelList) []Tell {
	var fresh []Conn
	for _, l := range list.Conns {
		// A list has whole seconds, and no time at all would mean the whole one. A template
		// counts for as long as peers will think that it does.
		l.Remaining = max(l.Remaining, time.Second)
		c := l.Resync()
		if x.table.Has(now, c) {
			if renewed, ok := x.table.Renew(now, list.Asked, list.Due, l); ok {
				fresh = append(fresh, renewed)
			}
		} else if x.table.Seed(now, Living{l.Conn, c.lifetime()}) {
			fresh = append(fresh, c)
		}
	}
	x.count.Learned += uint64(len(fresh))
	return changes(slices.Values(fresh))
}

// Compare takes in a complete list of what the kernel has, as it was read some time ago.
// What is missing there for the second time the kernel is told again, but for what this
// director serves: its kernel has ended that. What this kernel told itself while it served it is
// no exception. The Master's may have it still, which is not read what this director told
// last. It returns how many were missing.
func (x *Exchange) Compare(now time.Time, kernel []Living) int {
	there := make(map[key]bool, len(kernel))
	for _, l := range kernel {
		there[keyOf(l.Conn)] = true
	}
	var job Injection
	missing := make(map[key]int)
	for walk := (Cursor{}); !walk.Done(); {
		x.one, walk = x.table.Chunk(now, walk, x.one[:0], reinjected)
		for _, l := range x.one {
			k := keyOf(l.Conn)
			// Templates of engines have more to tell them apart than a listing shows.
			if there[k] || l.Engine != "" || x.serves(l.Conn) {
				continue
			}
			// A third list says that the kernel does not take it, or that it is
			// none that such a list shows.
			if missing[k] = x.missing[k] + 1; missing[k] == 2 {
				job.Conns = append(job.Conns, l.Resync())
			}
		}
	}
	x.missing = missing
	if len(job.Conns) > 0 {
		x.count.Missing += uint64(len(job.Conns))
		x.jobs = append(x.jobs, job)
	}
	return len(job.Conns)
}

// Renew has a connection live on as a list of this director's kernel showed it, and returns
// it as peers are to be told. It does so if the table would forget it before due and more
// than a second, which is how exact a list is, before the kernel does, and if nothing was told
// since the list was asked for.
func (t *Table) Renew(now, asked, due time.Time, l Living) (Conn, bool) {
	slot, ok := t.find(keyOf(l.Conn), l.Conn)
	if !ok {
		return Conn{}, false
	}
	e, ms := t.at(slot), t.clock(now)
	if e.expires <= ms {
		return Conn{}, false
	}
	was := e.living(t.extraOf(slot), ms)
	told := was.lifetime() - was.Remaining // so long ago
	if was.Remaining > due.Sub(now) || was.Remaining >= l.Remaining-time.Second || told < now.Sub(asked) {
		return Conn{}, false
	}
	c := l.Resync()
	if was.Real == c.Real { // messages tell more than a list shows
		c.Flags, c.FWMark, c.Sequences = was.Flags&^FlagInactive|c.Flags&FlagInactive, was.FWMark, was.Sequences
	}
	return c, t.enter(now, Living{c, c.lifetime()}, 0, true)
}
