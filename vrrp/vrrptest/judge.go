package vrrptest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Violation is a rule that a virtual router, or a segment of them, has broken.
type Violation struct {
	At   time.Time
	Rule string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("at %v: %s", v.At.Sub(Epoch), v.Rule)
}

// judge looks at every step of every virtual router.
type judge struct {
	failed *Violation
	// changes counts the changes of state.
	changes int
	// longest is the longest interval so far.
	longest time.Duration
}

func (j *judge) fail(s *Segment, format string, args ...any) {
	if j.failed == nil {
		j.failed = &Violation{s.now, fmt.Sprintf(format, args...)}
	}
}

// event is told of every event before it is handled.
func (j *judge) event(now time.Time, a arrival) {
	for _, m := range a.to.unit.members {
		h := &m.history
		h.handingOver = m.handingOver
		h.saidRelease, h.late = false, false
		if !a.concerns(m) {
			continue
		}
		interval := h.before.AdvertInterval
		h.late = m.state == vrrp.Master && !h.handingOver && now.Sub(h.sentAt) > interval+masterDownInterval(h.before, interval)
		switch ev := a.ev.(type) {
		case vrrp.Startup:
			if !ev.Adopt && !a.to.unit.masters() {
				h.listenAt = now.Add(m.params.StartDelay)
			}
			h.swept = h.listenAt.After(now)
			h.listen(now, m.params.AdvertInterval, false)
		case vrrp.AdvertReceived:
			if !m.accepts(now, ev) {
				h.late = false // the timer follows
			} else if m.state == vrrp.Backup {
				h.hears(now, m.params, ev.Advert)
				h.swept = h.swept || ev.Advert.Priority > 0
			} else if h.handingOver {
				h.succeeds(now, ev)
			}
		case vrrp.ParamsChanged:
			h.reconsider(now, h.before, ev.Params)
		case vrrp.HandOver:
			h.asked = m.state == vrrp.Master
		}
	}
}

// concerns tells whether an event is for a virtual router itself, and not for another
// member of its sync group.
func (a arrival) concerns(m *member) bool {
	switch a.ev.(type) {
	case vrrp.Timeout, vrrp.HandOver:
		return true
	}
	return a.to == m
}

// accepts tells whether an advertisement counts for a virtual router that runs.
func (m *member) accepts(now time.Time, rx vrrp.AdvertReceived) bool {
	return !now.Before(m.history.listenAt) && m.params.Check(rx.From, rx.Advert) == nil
}

// action is told of every action of a step after it was carried out.
func (j *judge) action(s *Segment, now time.Time, m *member, cause arrival, a vrrp.Action) {
	h := &m.history
	switch a := a.(type) {
	case vrrp.SendAdvert:
		h.sentAt = now
		if a.Advert.Priority == 0 {
			h.saidRelease = true
		}
	case vrrp.ReleaseAddrs:
		_, leaves := cause.ev.(vrrp.Shutdown)
		_, fails := cause.ev.(vrrp.Failed)
		if m.was == vrrp.Master && (leaves || fails) && !h.saidRelease && !h.handingOver {
			j.fail(s, "%v gives its addresses up and has not said priority 0", m)
		}
	case vrrp.Transitioned:
		h.swept = h.swept || a.To != vrrp.Backup
		j.changes++
		if a.From != m.was || a.From == a.To {
			j.fail(s, "%v was %v and reports %s", m, m.was, Describe(a))
		}
		if a.Reason == vrrp.ReasonMasterDown {
			j.deaf(s, m)
		}
		if lie := m.lie(now, cause, a.Transition); lie != "" {
			j.fail(s, "%v says %s, but %s", m, Describe(a), lie)
		}
		switch a.To {
		case vrrp.Backup:
			rx, heard := cause.ev.(vrrp.AdvertReceived)
			heard = heard && cause.to == m && a.Reason != vrrp.ReasonGroup && a.Reason != vrrp.ReasonLate
			switch {
			case a.Reason == vrrp.ReasonSwitchover:
				h.listen(now, h.successorInterval, true)
			case heard:
				h.listen(now, rx.Advert.Interval, true)
			default:
				h.listen(now, m.params.AdvertInterval, false)
			}
			if rx, ok := cause.ev.(vrrp.AdvertReceived); ok && cause.to == m && a.Reason == vrrp.ReasonLate {
				h.hears(now, m.params, rx.Advert)
			}
		case vrrp.Master:
			h.asked, h.succeededAt = false, time.Time{}
		}
	}
}

// after looks at a unit after a step.
func (j *judge) after(s *Segment, now time.Time, u *unit, cause arrival) {
	masters, others := 0, 0
	u.swept()
	for _, m := range u.members {
		h := &m.history
		if m.params.Hold {
			h.loose = true
		}
		snap := m.vr.Snapshot()
		m.handingOver = snap.HandingOver
		if snap.State != m.state {
			j.fail(s, "%v is %v and has reported %v", m, snap.State, m.state)
		}
		var want []netip.Prefix
		if m.state == vrrp.Master {
			want = append(slices.Clone(m.params.Addresses), m.params.Excluded...)
			if !snap.HandingOver {
				h.asked, h.succeededAt = false, time.Time{}
			}
		}
		// What a predecessor has left may still be there, and the owner's is its own.
		leftover := h.setAt.IsZero() || !h.swept || m.params.Priority == 255
		if !leftover && !sameSet(want, m.holds) {
			j.fail(s, "%v is %v and has %v on its interface", m, m.state, m.holds)
		}
		switch {
		case m.state == vrrp.Master && !snap.HandingOver:
			masters++
		case m.state != vrrp.Master && m.state != vrrp.Initialize:
			others++
		}
		if h.late && m.state == vrrp.Master {
			j.fail(s, "%v is still Master after %v without an advertisement", m, now.Sub(h.sentAt))
		}
		if rx, ok := cause.ev.(vrrp.AdvertReceived); ok && m == cause.to && !m.accepts(now, rx) {
			if next, _ := m.vr.Deadline(); len(m.did) > 0 || !next.Equal(m.deadline) {
				j.fail(s, "%v does something about an advertisement that it must discard", m)
			}
		}
	}
	if masters > 0 && others > 0 && !u.leaving(cause) {
		j.fail(s, "the members of %v's sync group are not Master together", u.members[0].host.name)
	}
	j.look(s)
}

// swept notes that nothing may be left to any member when one of them knows that another
// director is Master.
func (u *unit) swept() {
	if !slices.ContainsFunc(u.members, func(m *member) bool {
		return m.state == vrrp.Backup && (m.history.swept || m.vr.Snapshot().Held)
	}) {
		return
	}
	for _, m := range u.members {
		if m.state == vrrp.Backup {
			m.history.swept = true
		}
	}
}

// masters tells whether a member of the unit is Master.
func (u *unit) masters() bool {
	return slices.ContainsFunc(u.members, func(m *member) bool { return m.state == vrrp.Master })
}

// leaving tells whether the unit is in the middle of being started or stopped, one
// member after the other.
func (u *unit) leaving(cause arrival) bool {
	switch cause.ev.(type) {
	case vrrp.Shutdown, vrrp.Startup:
		return true
	}
	return false
}

func sameSet(a, b []netip.Prefix) bool {
	return len(without(a, b)) == 0 && len(without(b, a)) == 0
}
