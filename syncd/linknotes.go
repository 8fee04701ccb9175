package syncd

// notes are the small state of both sides. Of each kind there is one, the newest.
type notes struct {
	ours map[uint8]Note
	last uint64           // the last version that we gave, over all kinds
	seen map[uint8]uint64 // the peer's versions
}

func (n *notes) set(kind uint8, payload []byte) {
	if len(payload) > MaxPayload {
		return // the caller's mistake, which the peer would refuse
	}
	if n.ours == nil {
		n.ours = make(map[uint8]Note)
	}
	n.last++
	n.ours[kind] = Note{kind, n.last, payload}
}

// next is the oldest note after those that a connection was told.
func (n *notes) next(told *uint64) (Note, bool) {
	if *told >= n.last {
		return Note{}, false
	}
	var first Note
	for _, o := range n.ours {
		if o.Version > *told && (first.Version == 0 || o.Version < first.Version) {
			first = o
		}
	}
	*told = first.Version
	return first, true
}

// isNew tells whether a note of the peer says something new, and remembers it.
func (n *notes) isNew(f Note) bool {
	if f.Version <= n.seen[f.Kind] {
		return false
	}
	if n.seen == nil {
		n.seen = make(map[uint8]uint64)
	}
	n.seen[f.Kind] = f.Version
	return true
}

// restart forgets what an earlier run of the peer has told.
func (n *notes) restart() { n.seen = nil }
