package syncd

import (
	"slices"
	"time"
)

// settled is how long a virtual server's digests must have been as they are on both sides
// before a difference counts: what one has told takes a while to arrive, and both forget what
// has expired in their own time.
const settled = 3 * time.Second

// Sameness compares what a peer says of its table with this director's. It is fed once a
// second or so with each side's digests, and belongs to one goroutine.
type Sameness struct {
	mine   map[VirtualServer]standing
	theirs map[VirtualServer]standing
	pages  [DigestPages][]VirtualServer // what is in theirs, by page
	known  [DigestPages]bool
	more   [DigestPages]bool
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
	return &Sameness{mine: make(map[VirtualServer]standing), theirs: make(map[VirtualServer]standing)}
}

// Mine says what this director has now.
func (s *Sameness) Mine(now time.Time, all []ServerDigest) {
	next := make(map[VirtualServer]standing, len(all))
	for _, d := range all {
		next[d.VirtualServer] = s.mine[d.VirtualServer].then(now, d.Digest)
	}
	for v, was := range s.mine {
		// Of one that has none left it is remembered since when.
		if _, ok := next[v]; !ok && (was.Digest != Digest{} || now.Sub(was.since) < settled) {
			next[v] = was.then(now, Digest{})
		}
	}
	s.mine = next
}

func (s standing) then(now time.Time, d Digest) standing {
	if s.Digest == d && !s.since.IsZero() {
		return s
	}
	return standing{d, now}
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
	for _, d := range all {
		fresh[d.VirtualServer] = true
		s.theirs[d.VirtualServer] = s.theirs[d.VirtualServer].then(now, d.Digest)
	}
	servers := s.pages[page][:0]
	for _, v := range s.pages[page] {
		if fresh[v] {
			continue
		}
		was := s.theirs[v]
		if was.Digest == (Digest{}) && now.Sub(was.since) >= settled {
			delete(s.theirs, v)
			continue
		}
		s.theirs[v] = was.then(now, Digest{})
		servers = append(servers, v)
	}
	for v := range fresh {
		servers = append(servers, v)
	}
	s.pages[page], s.known[page], s.more[page] = servers, true, more
	return true, nil
}

// Compare compares.
func (s *Sameness) Compare(now time.Time) Comparison {
	c := Comparison{Known: !slices.Contains(s.known[:], false) && !slices.Contains(s.more[:], true)}
	differs := func(v VirtualServer, a, b standing) {
		switch {
		case a.Digest == b.Digest:
		case now.Sub(a.since) < settled || now.Sub(b.since) < settled:
			c.Changing++
		case c.Known:
			c.Differs = append(c.Differs, ServerDifference{v, a.Digest, b.Digest})
		}
	}
	for v, a := range s.mine {
		c.Here = c.Here.Add(a.Digest)
		differs(v, a, s.theirs[v])
	}
	for v, b := range s.theirs {
		c.There = c.There.Add(b.Digest)
		if _, ok := s.mine[v]; !ok {
			differs(v, standing{}, b)
		}
	}
	slices.SortFunc(c.Differs, func(a, b ServerDifference) int { return compareServers(a.VirtualServer, b.VirtualServer) })
	return c
}
