package vrrptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Epoch is when a segment's time begins.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// firstVRID is that of the virtual routers without a name of their own.
const firstVRID vrrp.VRID = 51

// Segment is a LAN with directors and a clock that stands still unless told
// otherwise.
type Segment struct {
	now   time.Time
	hosts []*host
	vrids map[string]vrrp.VRID // by the name of the virtual router
	wire  wire
	judge judge

	out *strings.Builder // nil: nothing is written down
	// chatty also writes down what is lost, and what a timer that ran out had waited
	// for.
	chatty bool
}

// NewSegment returns an empty segment at [Epoch].
func NewSegment() *Segment {
	return &Segment{now: Epoch, vrids: make(map[string]vrrp.VRID), out: new(strings.Builder)}
}

// Transcript returns what has happened so far.
func (s *Segment) Transcript() string {
	if s.out == nil {
		return ""
	}
	return s.out.String()
}

// handle gives an event to a virtual router and lets everything follow that happens
// at the same instant.
func (s *Segment) handle(m *member, what string, ev vrrp.Event) {
	s.arrive(m.host, arrival{m, what, ev})
	s.deliver()
}

// arrive gives an event to a process that runs, or leaves it in its queue.
func (s *Segment) arrive(h *host, a arrival) {
	if h.sleep != awake {
		h.enqueue(a)
		return
	}
	s.step(a)
}

// deliver hands over what is due on the wire, and what is sent in answer.
func (s *Segment) deliver() {
	for {
		f, ok := s.wire.take(s.now)
		if !ok {
			return
		}
		switch h := f.to.host; {
		case f.to.unit == nil:
			// Nobody listens.
		case h.sleep == suspended:
			s.lost(f, "suspended")
		default:
			heard := ""
			if s.out != nil {
				heard = fmt.Sprintf("hears priority %d from %v", f.advert.Priority, f.src)
			}
			s.arrive(h, arrival{f.to, heard, vrrp.AdvertReceived{From: f.src, Advert: f.advert}})
		}
	}
}

// run lets time pass.
func (s *Segment) run(d time.Duration) {
	end := s.now.Add(d)
	for s.judge.failed == nil {
		next, due, found := s.nextTimer()
		at, waiting := s.wire.next()
		switch {
		case waiting && !at.After(end) && (!found || !at.After(due)):
			s.pass(at)
			s.deliver()
			continue
		case !found || due.After(end):
			s.pass(end)
			s.account()
			return
		}
		s.pass(due)
		s.handle(next, "timer", vrrp.Timeout{})
	}
}

// pass moves the clock on, unless it is there already.
func (s *Segment) pass(t time.Time) {
	if t.After(s.now) {
		s.now = t
	}
	s.judge.look(s)
}

// nextTimer returns a virtual router whose timer runs out first.
func (s *Segment) nextTimer() (next *member, due time.Time, found bool) {
	for _, h := range s.hosts {
		if h.sleep != awake {
			continue
		}
		for _, u := range h.units {
			t, armed := u.group.Deadline()
			if t = t.Add(h.lag); armed && (!found || t.Before(due)) {
				next, due, found = u.members[0], t, true
			}
		}
	}
	return next, due, found
}

// step gives an event to a virtual router, carries the actions out and writes them
// down.
func (s *Segment) step(a arrival) {
	u := a.to.unit
	if u == nil || s.judge.failed != nil {
		return // the process ended while the event was in its queue
	}
	now := a.to.host.clock(s.now)
	for _, m := range u.members {
		m.before()
		m.history.before = m.params
	}
	switch ev := a.ev.(type) {
	case vrrp.AdvertReceived:
		a.to.noteHeard(s, ev)
	case vrrp.ParamsChanged:
		a.to.params = ev.Params
	}
	s.judge.event(now, a)
	for _, ga := range u.group.Handle(now, slices.Index(u.members, a.to), a.ev) {
		m := u.members[ga.Member]
		s.carryOut(m, ga.Action)
		s.judge.action(s, now, m, a, ga.Action)
	}
	for _, m := range u.members {
		s.writeDown(m, a)
	}
	s.judge.after(s, now, u, a)
}

func (s *Segment) carryOut(m *member, a vrrp.Action) {
	switch a := a.(type) {
	case vrrp.SendAdvert:
		s.send(m, a.Advert)
	case vrrp.AcquireAddrs:
		m.holds = append(without(m.holds, a.Addresses), a.Addresses...)
	case vrrp.ReleaseAddrs:
		m.holds = without(m.holds, a.Addresses)
	case vrrp.Transitioned:
		m.state = a.To
	}
	m.did = append(m.did, a)
}

// writeDown tells what a virtual router did in answer to an event, its own or that of
// another member of its sync group.
func (s *Segment) writeDown(m *member, cause arrival) {
	if s.out == nil {
		return
	}
	var transition string
	var did []string
	for _, a := range m.did {
		if t, ok := a.(vrrp.Transitioned); ok {
			transition = Describe(t)
			continue
		}
		did = append(did, Describe(a))
	}
	_, timer := cause.ev.(vrrp.Timeout)
	if timer && transition == "" {
		m.count()
		return
	}
	after, armed := m.vr.Deadline()
	moved := armed && !after.Equal(m.deadline)
	what := transition
	if transition == "" {
		_, changed := cause.ev.(vrrp.ParamsChanged)
		if len(did) == 0 && (!changed || cause.to != m || !moved && after.Equal(m.deadline)) {
			return
		}
		what = cause.what
	}
	line := strings.TrimSuffix(what+": "+strings.Join(did, ", "), ": ")
	if moved {
		line += "; next " + s.at(after.Add(m.host.lag))
	}
	if s.chatty && timer {
		line += m.waitedFor(s)
	}
	s.logf(m.String(), "%s", line)
}

// account tells what the timers did, and who holds which address.
func (s *Segment) account() {
	if s.out == nil {
		return
	}
	holders := make(map[netip.Prefix][]string)
	var all []netip.Prefix
	for _, h := range s.hosts {
		for _, m := range h.members {
			if m.adverts+m.announcements > 0 {
				s.logf(m.String(), "by timer: adverts %d, announcements %d", m.adverts, m.announcements)
				m.adverts, m.announcements = 0, 0
			}
			for _, a := range m.holds {
				all = append(all, a)
				holders[a] = append(holders[a], h.name)
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for _, a := range slices.Compact(all) {
		s.logf("", "%v is on %s", a, strings.Join(holders[a], " and "))
	}
	if len(all) == 0 {
		s.logf("", "no virtual address is anywhere")
	}
}

func (s *Segment) logf(who, format string, args ...any) {
	if s.out == nil {
		return
	}
	if who != "" {
		who += "  "
	}
	fmt.Fprintf(s.out, "%11s  %s%s\n", s.at(s.now), who, fmt.Sprintf(format, args...))
}

// at renders a time, exact to the nanosecond, as seconds since the beginning.
func (s *Segment) at(t time.Time) string {
	d := t.Sub(Epoch)
	frac := strings.TrimRight(fmt.Sprintf("%09d", d%time.Second), "0")
	return fmt.Sprintf("%d.%ss", d/time.Second, frac+strings.Repeat("0", max(0, 3-len(frac))))
}

func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}
