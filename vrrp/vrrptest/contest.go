package vrrptest

import (
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// toward is what the judge knows of a virtual router and the same one of another
// director. Its times are the segment's, zero if it is not so at present.
type toward struct {
	// heard is since when this one is Master and all that it sends reaches the other.
	heard time.Time
	// rivals is since when the other one is so too, and limit how long that may last.
	rivals time.Time
	limit  time.Duration
}

// look looks at every two directors, after each step and before time goes on.
func (j *judge) look(s *Segment) {
	for _, h := range s.hosts {
		for _, m := range h.members {
			for len(m.toward) < len(s.hosts) {
				m.toward = append(m.toward, toward{})
			}
			for _, o := range s.hosts {
				for _, n := range o.members {
					if n.id == m.id && o != h {
						j.hearing(s, m, n)
					}
				}
			}
		}
	}
	if j.failed != nil {
		return
	}
	for i, h := range s.hosts {
		for _, m := range h.members {
			for _, o := range s.hosts[i+1:] {
				for _, n := range o.members {
					if m.id == n.id {
						j.contest(s, m, n)
					}
				}
			}
		}
	}
}

// hearing keeps since when a Master is heard.
func (j *judge) hearing(s *Segment, m, n *member) {
	t := &m.toward[n.host.index]
	switch {
	case m.state != vrrp.Master || !m.live() || !n.live() || !s.clear(m, n) || m.handingOver:
		t.heard = time.Time{}
	case t.heard.IsZero():
		t.heard = s.now
	}
}

// contest looks for two Masters that hear each other. One of them gives way to the
// other's next advertisement, so it takes at most the longer interval and the way; a
// Master that hands over does not advertise until it has waited long enough.
func (j *judge) contest(s *Segment, m, n *member) {
	t := &m.toward[n.host.index]
	if m.state != vrrp.Master || n.state != vrrp.Master || !m.live() || !n.live() || !s.clear(m, n) || !s.clear(n, m) {
		t.rivals, t.limit = time.Time{}, 0
		return
	}
	if t.rivals.IsZero() {
		t.rivals = s.now
	}
	interval := max(m.params.AdvertInterval, n.params.AdvertInterval)
	limit := interval + 2*s.wire.slowest()
	if m.handingOver || n.handingOver {
		limit += handOverTime(interval)
	}
	if rank := slices.Index(m.unit.members, m); rank > 0 && m.params.Priority == n.params.Priority {
		// The members before it decide, if they can.
		for i, before := range m.unit.members[:rank] {
			if other := n.unit.members[i]; !s.clear(before, other) || !s.clear(other, before) {
				limit += time.Duration(rank) * 4 * interval
			}
		}
	}
	t.limit = max(t.limit, limit)
	if lasts := s.now.Sub(t.rivals); lasts > t.limit {
		j.fail(s, "%v and %v hear each other and have both been Master for %v", m, n, lasts)
	}
}

// deaf looks for a Master that a virtual router calls down although it has heard, all
// the time that this takes, whatever that Master had to say.
func (j *judge) deaf(s *Segment, m *member) {
	for _, h := range s.hosts {
		for _, o := range h.members {
			if o.id != m.id || h == m.host {
				continue
			}
			// One that advertises less often than the Master last heard may well not have
			// been due.
			patience := masterDownInterval(m.params, m.history.interval)
			due := o.params.AdvertInterval + s.wire.slowest()
			if since := o.toward[m.host.index].heard; !since.IsZero() && s.now.Sub(since) >= patience && patience > due {
				j.fail(s, "%v calls the Master down, but could hear %v for %v", m, o, s.now.Sub(since))
			}
		}
	}
}

// handOverTime is how long a Master that hands over is silent at most.
func handOverTime(interval time.Duration) time.Duration {
	return max(interval+interval/2, 250*time.Millisecond)
}

// clear tells whether all that one sends reaches the other and is accepted.
func (s *Segment) clear(from, to *member) bool {
	return s.wire.passes(from, to) && compatible(from.params, to.params) && s.wire.path(from.host, to.host).loss == 0
}

// compatible tells whether two virtual routers accept each other's advertisements.
func compatible(p, q vrrp.Params) bool {
	return p.Version == q.Version && (p.Version == vrrp.Version3 || p.AdvertInterval == q.AdvertInterval && p.Auth == q.Auth)
}
