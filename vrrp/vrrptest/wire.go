package vrrptest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// wire is what is between the directors.
type wire struct {
	// seed decides what is left to chance.
	seed uint64
	net  path
	// paths are the directed pairs of directors that are not like net.
	paths map[[2]string]path
	// blocked are the directed pairs that nothing passes.
	blocked map[[2]string]bool
	flying  []frame // by time of arrival, then in the order of sending
}

// path is how frames travel.
type path struct {
	loss, dup float64       // the parts that are lost and that arrive twice
	delay     time.Duration // every frame takes this long,
	jitter    time.Duration // and up to this much more
}

// frame is an advertisement on its way to one virtual router.
type frame struct {
	at     time.Time
	from   *member // nil if it came out of nowhere
	to     *member
	src    netip.Addr
	advert vrrp.Advert
}

// take takes a frame that has arrived.
func (w *wire) take(now time.Time) (frame, bool) {
	if len(w.flying) == 0 || w.flying[0].at.After(now) {
		return frame{}, false
	}
	f := w.flying[0]
	w.flying = w.flying[1:]
	return f, true
}

// next returns when the next frame arrives.
func (w *wire) next() (time.Time, bool) {
	if len(w.flying) == 0 {
		return time.Time{}, false
	}
	return w.flying[0].at, true
}

func (w *wire) put(f frame) {
	i, _ := slices.BinarySearchFunc(w.flying, f.at, func(g frame, at time.Time) int {
		if g.at.After(at) {
			return 1
		}
		return -1
	})
	w.flying = slices.Insert(w.flying, i, f)
}

// path returns how frames travel from one director to another.
func (w *wire) path(from, to *host) path {
	if p, ok := w.paths[[2]string{from.name, to.name}]; ok {
		return p
	}
	return w.net
}

// passes tells whether frames reach to at all.
func (w *wire) passes(from, to *member) bool {
	return !from.cut && !to.cut && !w.blocked[[2]string{from.host.name, to.host.name}]
}

// slowest is how long a frame takes at most.
func (w *wire) slowest() time.Duration {
	d := w.net.delay + w.net.jitter
	for _, p := range w.paths {
		d = max(d, p.delay+p.jitter)
	}
	return d
}

// calm ends what is left to chance but how long frames take.
func (w *wire) calm() {
	w.net.loss = 0
	for k, p := range w.paths {
		p.loss = 0
		w.paths[k] = p
	}
}

// luck is a frame's own: it depends on the seed, the way and the time, and not on what
// else was sent. A script with one command less so meets the same luck elsewhere.
func (w *wire) luck(f frame, now time.Time) (loss, dup, first, second float64) {
	var pcg rand.PCG
	way := uint64(f.from.index)<<16 | uint64(f.to.index)<<8 | uint64(f.advert.Priority)
	pcg.Seed(w.seed, uint64(now.UnixNano())^way<<32)
	next := func() float64 { return float64(pcg.Uint64()>>11) / (1 << 53) }
	return next(), next(), next(), next()
}

// send sends an advertisement to the same virtual router of every other director.
func (s *Segment) send(from *member, a vrrp.Advert) {
	for _, h := range s.hosts {
		for _, to := range h.members {
			if h != from.host && to.id == from.id {
				s.transmit(frame{from: from, to: to, src: from.params.Source, advert: a})
			}
		}
	}
}

func (s *Segment) transmit(f frame) {
	p := s.wire.path(f.from.host, f.to.host)
	loss, dup, first, second := s.wire.luck(f, s.now)
	switch {
	case !s.wire.passes(f.from, f.to):
		s.lost(f, "cut")
		return
	case loss < p.loss:
		s.lost(f, "loss")
		return
	}
	f.at = s.now.Add(p.delay + time.Duration(first*float64(p.jitter)))
	s.wire.put(f)
	if dup < p.dup {
		f.at = s.now.Add(p.delay + time.Duration(second*float64(p.jitter)))
		s.wire.put(f)
	}
}

// lost tells of a frame that does not arrive. What does not for a reason that lasts is
// only counted.
func (s *Segment) lost(f frame, why string) {
	f.to.noteLost(why)
	if s.chatty && why == "loss" {
		s.logf(f.to.String(), "does not hear priority %d from %v: %s", f.advert.Priority, f.src, why)
	}
}

func (m *member) noteLost(why string) {
	if m.lost == nil {
		m.lost = make(map[string]int)
	}
	m.lost[why]++
}

// noteHeard remembers what the virtual router was given last.
func (m *member) noteHeard(s *Segment, rx vrrp.AdvertReceived) {
	if !s.chatty {
		return
	}
	m.heard = fmt.Sprintf("priority %d from %v at %s", rx.Advert.Priority, rx.From, s.at(s.now))
	clear(m.lost)
}
