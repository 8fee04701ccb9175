package healthcheck

import "slices"

// host is an address of which targets are asked: it may have hundreds of ports, and no more
// than so many of them are asked at once.
type host struct {
	running int // probes
	// held are due targets that had got to the head of their line in vain, the one that
	// has waited longest first. For each probe that ends, one returns to its line.
	held []*entry
	// returning are those that have, and have not got to the head again.
	returning int
}

// hold takes up a probe of e with its host, or keeps e until the host has room and tells so.
// A target without an address, which is a check of the director itself, has no host.
func (s *schedule) hold(e *entry) bool {
	addr := e.target.Addr.Addr()
	if !addr.IsValid() {
		return false
	}
	h := s.hosts[addr]
	if h == nil {
		h = &host{}
		s.hosts[addr] = h
	}
	if e.returned {
		e.returned = false
		h.returning--
	}
	if h.running < s.perHost {
		h.running++
		return false
	}
	h.held = inOrder(h.held, e)
	return true
}

// leave says that a probe of e has ended.
func (s *schedule) leave(e *entry) {
	if h := s.hosts[e.target.Addr.Addr()]; h != nil {
		h.running--
		s.room(e, h)
	}
}

// passed says that e, which was removed while it waited, has got to the head of its line.
func (s *schedule) passed(e *entry) {
	if h := s.hosts[e.target.Addr.Addr()]; h != nil && e.returned {
		h.returning--
		s.room(e, h)
	}
}

// room has targets of e's host return to their lines, for each probe that it may take more.
func (s *schedule) room(e *entry, h *host) {
	for len(h.held) > 0 && h.running+h.returning < s.perHost {
		first := h.held[0]
		h.held = h.held[1:]
		first.returned = true
		h.returning++
		line := s.lineOf(first)
		*line = inOrder(*line, first)
	}
	if h.running == 0 && h.returning == 0 && len(h.held) == 0 {
		delete(s.hosts, e.target.Addr.Addr())
	}
}

// inOrder adds e to targets that wait, where its time belongs.
func inOrder(line []*entry, e *entry) []*entry {
	i, _ := slices.BinarySearchFunc(line, e, func(in, e *entry) int {
		if in.at.After(e.at) {
			return 1
		}
		return -1 // also those of the same time: they were first
	})
	return slices.Insert(line, i, e)
}
