package vrrptest

import (
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// dispute is how long two directors have held the same virtual addresses while each
// could hear the other.
type dispute struct {
	since time.Time
	limit time.Duration
}

// contests looks for two Masters that hear each other. One of them gives way to the
// other's next advertisement, so it takes at most the longer interval and the way; a
// Master that hands over does not advertise until it has waited long enough.
func (j *judge) contests(s *Segment) {
	if j.failed != nil {
		return
	}
	for i, h := range s.hosts {
		for _, m := range h.members {
			for _, o := range s.hosts[i+1:] {
				for _, n := range o.members {
					if m.id == n.id {
						j.contestOf(s, m, n)
					}
				}
			}
		}
	}
}

func (j *judge) contestOf(s *Segment, m, n *member) {
	key := [2]*member{m, n}
	if m.state != vrrp.Master || n.state != vrrp.Master || !m.live() || !n.live() || !s.clear(m, n) {
		if len(j.contest) > 0 {
			delete(j.contest, key)
		}
		return
	}
	d, ok := j.contest[key]
	if !ok {
		d.since = s.now
	}
	interval := max(m.params.AdvertInterval, n.params.AdvertInterval)
	limit := interval + 2*s.wire.slowest()
	if m.vr.Snapshot().HandingOver || n.vr.Snapshot().HandingOver {
		limit += handOverTime(interval)
	}
	if rank := slices.Index(m.unit.members, m); rank > 0 && m.params.Priority == n.params.Priority {
		// The members before it decide, if they can.
		for i, before := range m.unit.members[:rank] {
			if other := n.unit.members[i]; !s.clear(before, other) {
				limit += time.Duration(rank) * 4 * interval
			}
		}
	}
	d.limit = max(d.limit, limit)
	if j.contest == nil {
		j.contest = make(map[[2]*member]dispute)
	}
	j.contest[key] = d
	if lasts := s.now.Sub(d.since); lasts > d.limit {
		j.fail(s, "%v and %v hear each other and have both been Master for %v", m, n, lasts)
	}
}

// handOverTime is how long a Master that hands over is silent at most.
func handOverTime(interval time.Duration) time.Duration {
	return max(interval+interval/2, 250*time.Millisecond)
}

// clear tells whether each hears all that the other sends.
func (s *Segment) clear(m, n *member) bool {
	return s.wire.passes(m, n) && s.wire.passes(n, m) && compatible(m.params, n.params) &&
		s.wire.path(m.host, n.host).loss == 0 && s.wire.path(n.host, m.host).loss == 0
}

// compatible tells whether two virtual routers accept each other's advertisements.
func compatible(p, q vrrp.Params) bool {
	return p.Version == q.Version && (p.Version == vrrp.Version3 || p.AdvertInterval == q.AdvertInterval && p.Auth == q.Auth)
}
