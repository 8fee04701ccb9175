package vrrptest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// settle lets no more frames be lost, waits until every election must be over, and
// looks at who is Master. Then it waits once more: without a cause nothing changes.
func (s *Segment) settle() {
	s.wire.calm()
	s.run(s.bound())
	s.elected()
	changes := s.judge.changes
	s.run(12 * s.longestInterval())
	if n := s.judge.changes - changes; n > 0 {
		s.judge.fail(s, "%d changes of state without a cause", n)
	}
}

// bound is how long the elections may take from now on, at worst, one after the other:
//
//	what is in flight arrives, and start delays end
//	the Masters that hand over go on, or have given way
//	Master_Down_Interval, at most four intervals, and again after a stall two
//	all but one of the new Masters hear the best of them
//	a better router waits for its preempt delay, then its timer runs out
//	the one that was preempted hears it
//
// The interval is the longest that any router has advertised, because a Backup works
// with that of the Master last heard.
func (s *Segment) bound() time.Duration {
	interval := s.longestInterval()
	var delay, start time.Duration
	for _, h := range s.hosts {
		for _, m := range h.members {
			delay = max(delay, m.params.PreemptDelay)
			start = max(start, m.history.listenAt.Sub(h.clock(s.now)))
		}
	}
	way := s.wire.slowest()
	return way + start + handOverTime(interval) + 6*interval + (interval + way) + delay + 5*interval + (interval + way)
}

func (s *Segment) longestInterval() time.Duration {
	for _, h := range s.hosts {
		for _, m := range h.members {
			s.judge.longest = max(s.judge.longest, m.params.AdvertInterval, m.history.interval)
		}
	}
	return s.judge.longest
}

// elected checks every set of virtual routers that hear each other.
func (s *Segment) elected() {
	var all [][][]*member // by virtual router
	for _, label := range s.labels() {
		var live []*member
		for _, h := range s.hosts {
			for _, m := range h.members {
				if m.label == label && m.live() {
					live = append(live, m)
				}
			}
		}
		components, ok := s.components(live)
		if !ok {
			return
		}
		all = append(all, components)
	}
	for _, components := range all {
		for _, c := range components {
			s.electedIn(c, s.grouped() && !sameSets(all))
		}
	}
}

// labels returns the names of the virtual routers.
func (s *Segment) labels() []string { return slices.Sorted(maps.Keys(s.vrids)) }

func (s *Segment) grouped() bool { return s.hosts[0].members[0].group != "" }

// sameSets tells whether the same directors hear each other everywhere.
func sameSets(all [][][]*member) bool {
	same := func(a, b *member) bool { return a.host == b.host }
	for _, sets := range all[1:] {
		if !slices.EqualFunc(all[0], sets, func(a, b []*member) bool { return slices.EqualFunc(a, b, same) }) {
			return false
		}
	}
	return true
}

// components splits virtual routers into sets in which each hears each other one, and
// none of another set. There is no answer if some are heard by others whom they do not
// hear: VRRP promises nothing there.
func (s *Segment) components(live []*member) (sets [][]*member, ok bool) {
	connected := func(a, b *member) bool { return s.wire.passes(a, b) && compatible(a.params, b.params) }
next:
	for _, m := range live {
		for _, n := range live {
			if m != n && connected(m, n) != connected(n, m) {
				return nil, false
			}
		}
		for i, c := range sets {
			if !connected(m, c[0]) {
				continue
			}
			sets[i] = append(c, m)
			continue next
		}
		sets = append(sets, []*member{m})
	}
	for i, c := range sets {
		for _, m := range c {
			for k, d := range sets {
				for _, n := range d {
					if m != n && connected(m, n) != (i == k) {
						return nil, false
					}
				}
			}
		}
	}
	return sets, true
}

// electedIn checks that a set has one Master, and that no better one is held up. Members
// of a sync group whose others are connected otherwise may have to do without.
func (s *Segment) electedIn(set []*member, tied bool) {
	var master *member
	var names []string
	waits := true // nobody is there who may take over when the Master is silent
	for _, m := range set {
		if m.state == vrrp.Master {
			if m.handingOver {
				s.judge.fail(s, "%v still hands over", m)
			}
			master = m
			names = append(names, m.String())
		}
		waits = waits && m.params.Hold
	}
	switch {
	case len(names) > 1:
		s.judge.fail(s, "%s are Master side by side", strings.Join(names, " and "))
	case master == nil && !waits && !tied:
		s.judge.fail(s, "nobody is Master among %v", set)
	}
	if master == nil || tied {
		return
	}
	for _, m := range set {
		better := m.params.Priority > master.params.Priority
		if better && (m.params.Preempt || m.params.Priority == 255) {
			s.judge.fail(s, "%v is Master, but %v has a higher priority and may preempt", master, m)
		}
	}
}
