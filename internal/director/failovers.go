package director

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// failovers are the changes of virtual routers' states that directors tell each other, so
// that the journal of each has both sides of a failover. Only its own are told by a
// director, so nothing goes round.
type failovers struct {
	note   failoversNote // this director's
	number uint64        // of its newest
	heard  map[string]heardFailovers
	// entered is the number of the newest event in the journal, by director and run.
	entered map[string]map[uint64]uint64
	since   time.Time // see Journalled
}

// heardFailovers is a peer's newest note.
type heardFailovers struct {
	note []byte
	err  error
}

// Journalled is what the journal has of other directors' events when a director starts.
type Journalled struct {
	// Newest of each run are enough.
	Origins []Origin
	// Since is from when on it has everything; zero: from the beginning. What is older was
	// entered and is gone, or is of no use any more.
	Since time.Time
}

// maxRuns is how many runs of another director are remembered. It tells of the newest.
const maxRuns = 16

func newFailovers(now time.Time, j Journalled) failovers {
	f := failovers{
		note:  failoversNote{Run: uint64(now.UnixMicro())},
		heard: make(map[string]heardFailovers), entered: make(map[string]map[uint64]uint64), since: j.Since,
	}
	for _, o := range j.Origins {
		f.enter(o.Director, o.Run, o.Number)
	}
	return f
}

// enter remembers that an event is in the journal, and tells whether it is new there.
func (f *failovers) enter(director string, run, number uint64) bool {
	runs := f.entered[director]
	if runs == nil {
		runs = make(map[uint64]uint64)
		f.entered[director] = runs
	}
	if number <= runs[run] {
		return false
	}
	runs[run] = number
	for len(runs) > maxRuns {
		oldest := slices.Sorted(maps.Keys(runs))
		if oldest[0] == run { // its clock was set back
			oldest = oldest[1:]
		}
		delete(runs, oldest[0])
	}
	return true
}

// tellFailover tells the other directors of an event of this one.
func (d *Director) tellFailover(e Event) {
	f := &d.failovers
	f.number++
	if n := len(f.note.Events) - maxFailovers + 1; n > 0 {
		f.note.Events = slices.Clone(f.note.Events[n:])
	}
	f.note.Events = append(f.note.Events, failoverOf(f.number, e))
	if d.tellsNotes() {
		d.setNote(noteFailovers, f.note.encode())
	}
}

// hearFailovers enters what is new of a peer's note, nil: none, into the journal. The error is
// the note's for as long as it is the newest.
func (d *Director) hearFailovers(peer string, note []byte) error {
	heard, before := d.failovers.heard[peer]
	if before && bytes.Equal(heard.note, note) || note == nil {
		return heard.err
	}
	n, err := parseFailovers(note)
	d.failovers.heard[peer] = heardFailovers{note, err}
	for _, e := range n.Events {
		if !d.failovers.enter(peer, n.Run, e.Number) || e.At.Before(d.failovers.since) {
			continue
		}
		d.record(Event{
			Kind: EventTransition, Object: e.Object, From: e.From, To: e.To, Reason: e.Reason, Text: e.Text, Attrs: e.Attrs,
			Origin: Origin{Director: peer, At: e.At, Run: n.Run, Number: e.Number},
		})
	}
	return err
}
