package director

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Notes are small states that directors tell each other over the streams between them. Of
// each kind there is one from each director, the newest.

// maxNote is the length of the longest note, in bytes.
const maxNote = 60 << 10

// The kinds of notes.
const (
	noteViews     uint8 = 1 + iota // verdicts on real servers, [views]
	noteFailovers                  // changes of virtual routers' states, [failovers]
)

// tellsNotes tells whether there is a stream to other directors.
func (d *Director) tellsNotes() bool { return d.relay.make != nil && relays(d.force.cfg) }

// setNote gives the other directors a note.
func (d *Director) setNote(kind uint8, payload []byte) {
	notes := maps.Clone(d.relaying.notes) // the relay's has the old one
	if notes == nil {
		notes = make(map[uint8][]byte)
	}
	notes[kind] = payload
	d.relaying.notes = notes
	d.updateRelay()
}

// notesNews takes in what the other directors have told.
func (d *Director) notesNews() {
	if !d.tellsNotes() {
		return
	}
	var given map[string]map[uint8][]byte
	if relay := d.relay.relay(); relay != nil {
		given = relay.Notes()
	}
	for _, peer := range slices.Sorted(maps.Keys(given)) {
		if _, known := d.force.cfg.Director(peer); !known || peer == d.o.Self {
			continue
		}
		d.noteErr(peer, "verdicts", d.hearViews(peer, given[peer][noteViews]))
		d.noteErr(peer, "records", d.hearFailovers(peer, given[peer][noteFailovers]))
	}
	maps.DeleteFunc(d.views.peers, func(peer string, _ heardViews) bool { return given[peer] == nil })
	d.compareViews(time.Now())
}

// noteErr says once why a note of a peer is refused.
func (d *Director) noteErr(peer, what string, err error) {
	key, why := peer+" "+what, errText(err)
	if why == d.said.notes[key] {
		return
	}
	if d.said.notes[key] = why; why != "" {
		d.o.Logger.Warn("note of a peer refused", "peer", peer, "note", what, "err", why)
	}
}

// noteReader reads the parts of a note. After the first error there is nothing left.
type noteReader struct {
	rest []byte
	err  error
}

func (r *noteReader) fail(format string, args ...any) {
	if r.err == nil {
		r.rest, r.err = nil, fmt.Errorf(format, args...)
	}
}

// bytes reads n bytes, which are the note's.
func (r *noteReader) bytes(n int, what string) []byte {
	if n > len(r.rest) {
		r.fail("%s: %d bytes are missing", what, n-len(r.rest))
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// uint reads a number that is at most highest.
func (r *noteReader) uint(highest uint64, what string) uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.rest)
	switch {
	case size <= 0:
		r.fail("%s: no number", what)
		return 0
	case n > highest:
		r.fail("%s: %d, want at most %d", what, n, highest)
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// version reads the first byte.
func (r *noteReader) version(known byte) {
	if b := r.bytes(1, "version"); b != nil && b[0] != known {
		r.fail("version %d, want %d", b[0], known)
	}
}

// end returns the first error. There must be nothing left.
func (r *noteReader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("goes on after its end")
	}
	return r.err
}
