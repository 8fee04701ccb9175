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

// vrid is the one virtual router of a segment.
const vrid vrrp.VRID = 51

// Segment is a LAN with directors and a clock that stands still unless told
// otherwise.
type Segment struct {
	now   time.Time
	hosts []*host
	queue []frame
	out   strings.Builder
}

// host is one director.
type host struct {
	name   string
	params vrrp.Params
	vr     *vrrp.VirtualRouter // nil while no daemon runs
	cut    bool
	holds  []netip.Prefix // virtual addresses on its interface
	// What its timers did since the last account.
	adverts, announcements int
}

// frame is an advertisement on the wire.
type frame struct {
	from   *host // nil if it came out of nowhere
	to     *host // nil for everybody
	src    netip.Addr
	advert vrrp.Advert
}

// NewSegment returns an empty segment at [Epoch].
func NewSegment() *Segment { return &Segment{now: Epoch} }

// Transcript returns what has happened so far.
func (s *Segment) Transcript() string { return s.out.String() }

func (s *Segment) host(name string) *host {
	i := slices.IndexFunc(s.hosts, func(h *host) bool { return h.name == name })
	if i < 0 {
		return nil
	}
	return s.hosts[i]
}

// handle gives an event to a host and lets everything follow that happens at the
// same instant.
func (s *Segment) handle(h *host, what string, ev vrrp.Event) {
	s.step(h, what, ev)
	s.deliver()
}

// deliver hands over what is on the wire, and what is sent in answer.
func (s *Segment) deliver() {
	for len(s.queue) > 0 {
		f := s.queue[0]
		s.queue = s.queue[1:]
		for _, to := range s.hosts {
			deaf := to == f.from || to.vr == nil || to.cut || f.to != nil && f.to != to
			if deaf {
				continue
			}
			heard := fmt.Sprintf("hears priority %d from %v", f.advert.Priority, f.src)
			s.step(to, heard, vrrp.AdvertReceived{From: f.src, Advert: f.advert})
		}
	}
}

// step gives an event to a host, carries the actions out and writes them down.
func (s *Segment) step(h *host, what string, ev vrrp.Event) {
	before, _ := h.vr.Deadline()
	actions := h.vr.Handle(s.now, ev)
	var transition string
	var did []string
	for _, a := range actions {
		switch a := a.(type) {
		case vrrp.SendAdvert:
			if !h.cut {
				s.queue = append(s.queue, frame{from: h, src: h.params.Source, advert: a.Advert})
			}
		case vrrp.AcquireAddrs:
			h.holds = append(without(h.holds, a.Addresses), a.Addresses...)
		case vrrp.ReleaseAddrs:
			h.holds = without(h.holds, a.Addresses)
		case vrrp.Transitioned:
			transition = Describe(a)
			continue
		}
		did = append(did, Describe(a))
	}
	after, armed := h.vr.Deadline()
	if _, timer := ev.(vrrp.Timeout); timer && transition == "" {
		for _, a := range actions {
			switch a.(type) {
			case vrrp.SendAdvert:
				h.adverts++
			case vrrp.Announce:
				h.announcements++
			}
		}
		return
	}
	if transition == "" {
		_, changed := ev.(vrrp.ParamsChanged)
		if len(did) == 0 && (!changed || after.Equal(before)) {
			return
		}
		transition = what
	}
	line := strings.TrimSuffix(transition+": "+strings.Join(did, ", "), ": ")
	if armed && !after.Equal(before) {
		line += "; next " + s.at(after)
	}
	s.logf(h, "%s", line)
}

// run lets time pass.
func (s *Segment) run(d time.Duration) {
	end := s.now.Add(d)
	for {
		var next *host
		var due time.Time
		for _, h := range s.hosts {
			if h.vr == nil {
				continue
			}
			if t, armed := h.vr.Deadline(); armed && !t.After(end) && (next == nil || t.Before(due)) {
				next, due = h, t
			}
		}
		if next == nil {
			break
		}
		if due.After(s.now) {
			s.now = due
		}
		s.handle(next, "timer", vrrp.Timeout{})
	}
	s.now = end
	s.account()
}

// account tells what the timers did, and who holds which address.
func (s *Segment) account() {
	holders := make(map[netip.Prefix][]string)
	var all []netip.Prefix
	for _, h := range s.hosts {
		if h.adverts+h.announcements > 0 {
			s.logf(h, "by timer: adverts %d, announcements %d", h.adverts, h.announcements)
			h.adverts, h.announcements = 0, 0
		}
		for _, a := range h.holds {
			all = append(all, a)
			holders[a] = append(holders[a], h.name)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	for _, a := range slices.Compact(all) {
		s.logf(nil, "%v is on %s", a, strings.Join(holders[a], " and "))
	}
	if len(all) == 0 {
		s.logf(nil, "no virtual address is anywhere")
	}
}

func (s *Segment) logf(h *host, format string, args ...any) {
	name := ""
	if h != nil {
		name = h.name + "  "
	}
	fmt.Fprintf(&s.out, "%11s  %s%s\n", s.at(s.now), name, fmt.Sprintf(format, args...))
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
