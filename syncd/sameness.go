package syncd

import (
	"slices"
	"time"
)

// settled is how long a virtual server's digests must have been as they are on both sides
// before a difference counts: what one has told takes a while to arrive, and both forget what
// has expired in their own time.
const settled = 3 * time.Second

// Sameness compares what a peer says of its table with this director's. It is told what
// changes on either side, once a second or so, and belongs to one goroutine.
type Sameness struct {
	mine, theirs side
	pages        [DigestPages][]VirtualServer // what is in theirs, by page
	known        [DigestPages]bool
	more         [DigestPages]bool
	differ       map[VirtualServer]bool // whose digests are not the same
}

// side is what one director has.
type side struct {
	all  map[VirtualServer]standing
	gone map[VirtualServer]bool // of these, those that have nothing left
	sum  Digest
}

// standing is a digest and since when it is that.
type standing struct {
	Digest
	since time.Time
}

// ServerDifference is a virtual server of which two directors have other connections.
type ServerDifference struct {
	VirtualServer
	Here, There Digest
}

// Comparison is what two directors have.
type Comparison struct {
	// Known says that the peer has told of its whole table.
	Known bool
	// Here and There add up all virtual servers.
	Here, There Digest
	// Changing are the virtual servers whose digests differ and have changed only
	// now, on either side: new connections are on their way.
	Changing int
	// Differs are those that differ and do not change.
	Differs []ServerDifference
}

// Same tells whether both have the same connections.
func (c Comparison) Same() bool { return c.Known && c.Changing == 0 && len(c.Differs) == 0 }

// NewSameness returns a Sameness that knows nothing.
func NewSameness() *Sameness {
	return &Sameness{mine: newSide(), theirs: newSide(), differ: make(map[VirtualServer]bool)}
}

func newSide() side {
	return side{all: make(map[VirtualServer]standing), gone: make(map[VirtualServer]bool)}
}

// set enters a digest. Of a virtual server that has nothing left it is remembered since when.
func (s *Sameness) set(now time.Time, of *side, v VirtualServer, d Digest) {
	was, known := of.all[v]
	if known && was.Digest == d || !known && d == (Digest{}) {
		return
	}
	of.all[v] = standing{d, now}
	of.sum = of.sum.Add(d).sub(was.Digest)
	if d == (Digest{}) {
		of.gone[v] = true
	} else if known {
		delete(of.gone, v)
	}
	if s.mine.all[v].Digest != s.theirs.all[v].Digest {
		s.differ[v] = true
	} else {
		delete(s.differ, v)
	}
}

// tidy forgets what has had nothing for long enough.
func (s *side) tidy(now time.Time) {
	for v := range s.gone {
		if now.Sub(s.all[v].since) >= settled {
			delete(s.all, v)
			delete(s.gone, v)
		}
	}
}

// Mine says what has changed at this director: a zero digest is of a virtual server that has
// nothing left.
func (s *Sameness) Mine(now time.Time, changed []ServerDigest) {
	s.mine.tidy(now)
	s.theirs.tidy(now)
	for _, d := range changed {
		s.set(now, &s.mine, d.VirtualServer, d.Digest)
	}
}

// Note takes a note of the peer in. One that is not of digests is not taken.
func (s *Sameness) Note(now time.Time, kind uint8, payload []byte) (taken bool, err error) {
	page, ok := isDigestNote(kind)
	if !ok {
		return false, nil
	}
	all, more, err := ParseDigestNote(payload)
	if err != nil {
		return true, err
	}
	fresh := make(map[VirtualServer]bool, len(all))
	servers := make([]VirtualServer, 0, len(all))
	for _, d := range all {
		if !fresh[d.VirtualServer] {
			servers = append(servers, d.VirtualServer)
		}
		fresh[d.VirtualServer] = true
		s.set(now, &s.theirs, d.VirtualServer, d.Digest)
	}
	for _, v := range s.pages[page] {
		if !fresh[v] {
			s.set(now, &s.theirs, v, Digest{})
		}
	}
	s.pages[page], s.known[page], s.more[page] = servers, true, more
	return true, nil
}

// Compare compares.
func (s *Sameness) Compare(now time.Time) Comparison {
	c := Comparison{
		Known: !slices.Contains(s.known[:], false) && !slices.Contains(s.more[:], true),
		Here:  s.mine.sum, There: s.theirs.sum,
	}
	for v := range s.differ {
		a, b := s.mine.all[v], s.theirs.all[v]
		switch {
		case now.Sub(a.since) < settled || now.Sub(b.since) < settled:
			c.Changing++
		case c.Known:
			c.Differs = append(c.Differs, ServerDifference{v, a.Digest, b.Digest})
		}
	}
	slices.SortFunc(c.Differs, func(a, b ServerDifference) int { return compareServers(a.VirtualServer, b.VirtualServer) })
	return c
}
