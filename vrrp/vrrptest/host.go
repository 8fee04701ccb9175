package vrrptest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// inboxSize is how many advertisements wait for a process that does not run, as in
// package vrrp/router. When it is full, the oldest is lost.
const inboxSize = 16

// host is one director: a machine, and the daemon on it.
type host struct {
	name    string
	index   int // among the segment's
	members []*member
	units   []*unit // what runs; none while no daemon runs

	sleep   sleep
	slept   time.Time // since when
	backlog []arrival // what a stalled process finds when it goes on
	lag     time.Duration
}

// sleep is why a process does nothing.
type sleep int

const (
	awake sleep = iota
	// stalled: the process is not scheduled. Its clock goes on, its queue fills.
	stalled
	// suspended: the whole machine stands still. What is sent to it is lost, and its
	// clock goes on from where it was.
	suspended
)

// unit is what one goroutine of the daemon runs: a virtual router, or those of a sync
// group.
type unit struct {
	group   *vrrp.SyncGroup
	members []*member
}

// member is one virtual router of a director.
type member struct {
	host  *host
	label string // "" if the director has only one
	group string // the sync group's name, "" without
	id    vrrp.VRID
	index int // among all virtual routers of the segment
	// config is what the director is configured with, params what the virtual router
	// has been told of it.
	config, params vrrp.Params

	unit  *unit // nil while no daemon runs
	vr    *vrrp.VirtualRouter
	state vrrp.State
	// handingOver is as the last step left it.
	handingOver bool
	holds       []netip.Prefix // virtual addresses on its interface
	cut         bool           // frames neither leave nor arrive

	// What the present step does, and what state and timer were before.
	was      vrrp.State
	did      []vrrp.Action
	deadline time.Time
	// What its timers did since the last account.
	adverts, announcements int
	// What was heard last, and what was lost since, for chatty transcripts.
	heard string
	lost  map[string]int

	history history
	toward  []toward // by the other director's index
}

// arrival is an event for a virtual router; what is its name in the transcript.
type arrival struct {
	to   *member
	what string
	ev   vrrp.Event
}

func (m *member) String() string {
	if m.label == "" {
		return m.host.name
	}
	return m.host.name + "/" + m.label
}

// live tells whether the virtual router takes part in the election at this moment.
func (m *member) live() bool {
	return m.unit != nil && m.host.sleep == awake && (m.state == vrrp.Backup || m.state == vrrp.Master)
}

func (m *member) before() {
	m.was, m.did = m.state, m.did[:0]
	m.deadline, _ = m.vr.Deadline()
}

// count counts what a timer did without a change of state.
func (m *member) count() {
	for _, a := range m.did {
		switch a.(type) {
		case vrrp.SendAdvert:
			m.adverts++
		case vrrp.Announce:
			m.announcements++
		}
	}
}

// waitedFor tells what a Backup whose timer ran out had heard last.
func (m *member) waitedFor(s *Segment) string {
	heard := m.heard
	if heard == "" {
		heard = "nothing"
	}
	text := "; heard last " + heard
	for _, cause := range []string{"cut", "loss", "suspended", "overflow"} {
		if n := m.lost[cause]; n > 0 {
			text += fmt.Sprintf(", then lost %d by %s", n, cause)
		}
	}
	return text
}

// clock is what the director's own clock shows.
func (h *host) clock(now time.Time) time.Time { return now.Add(-h.lag) }

// start starts the daemon. What it finds on the interfaces is what a predecessor has
// left there.
func (h *host) start() {
	h.units, h.backlog = nil, nil
	for _, m := range h.members {
		m.params = m.config
		// The daemon's start releases what is no longer configured.
		held := m.config.Held()
		m.holds = slices.DeleteFunc(m.holds, func(a netip.Prefix) bool { return !slices.Contains(held, a) })
		m.vr, m.state, m.history = vrrp.NewVirtualRouter(m.id, m.params), vrrp.Initialize, history{}
		m.handingOver = false
		i := -1
		if m.group != "" {
			i = slices.IndexFunc(h.units, func(u *unit) bool { return u.members[0].group == m.group })
		}
		if i < 0 {
			h.units = append(h.units, &unit{group: &vrrp.SyncGroup{}})
			i = len(h.units) - 1
		}
		m.unit = h.units[i]
		m.unit.group.Add(m.String(), m.vr)
		m.unit.members = append(m.unit.members, m)
	}
}

// end ends the daemon without a word.
func (h *host) end() {
	h.units, h.backlog = nil, nil
	for _, m := range h.members {
		m.unit, m.vr, m.state, m.handingOver = nil, nil, vrrp.Initialize, false
	}
}

func (h *host) running() bool { return h.units != nil }

// enqueue keeps what arrives while the process does nothing.
func (h *host) enqueue(a arrival) {
	if _, advert := a.ev.(vrrp.AdvertReceived); advert {
		waiting := 0
		for _, b := range h.backlog {
			if _, ok := b.ev.(vrrp.AdvertReceived); ok && b.to.unit == a.to.unit {
				waiting++
			}
		}
		if waiting >= inboxSize {
			i := slices.IndexFunc(h.backlog, func(b arrival) bool {
				_, ok := b.ev.(vrrp.AdvertReceived)
				return ok && b.to.unit == a.to.unit
			})
			h.backlog[i].to.noteLost("overflow")
			h.backlog = slices.Delete(h.backlog, i, i+1)
		}
	}
	h.backlog = append(h.backlog, a)
}

// fallAsleep makes the process do nothing from now on.
func (s *Segment) fallAsleep(h *host, how sleep) {
	if h.sleep == awake {
		h.sleep, h.slept = how, s.now
	}
}

// wake lets it go on: what is in its queue goes before a timer that has run out, as in
// package vrrp/router.
func (s *Segment) wake(h *host) {
	backlog := h.backlog
	s.rouse(h)
	for _, a := range backlog {
		s.step(a)
	}
	s.deliver()
}

// rouse ends the sleep, with an empty queue.
func (s *Segment) rouse(h *host) {
	if h.sleep == suspended {
		h.lag += s.now.Sub(h.slept)
	}
	if h.sleep != awake {
		for _, m := range h.members {
			m.history.slept = true
			if h.sleep == stalled {
				m.history.stalledAt, m.history.wokeAt = h.clock(h.slept), h.clock(s.now)
			}
		}
	}
	h.sleep, h.backlog = awake, nil
}
