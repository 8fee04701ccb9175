package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	failoversVersion = 1
	// maxFailovers is of how many events a director tells, the newest.
	maxFailovers = 32
	// maxFailoverText is the length of each of their texts, in bytes.
	maxFailoverText = 500
)

// failoversNote are a director's newest changes of its virtual routers' states, the
// oldest first, as it tells them to the others.
type failoversNote struct {
	Run    uint64     `json:"run"`
	Events []failover `json:"events"`
}

// failover is one of them.
type failover struct {
	Number uint64            `json:"number"`
	At     time.Time         `json:"at"`
	Object string            `json:"object"`
	From   string            `json:"from"`
	To     string            `json:"to"`
	Reason string            `json:"reason"`
	Text   string            `json:"text"`
	Attrs  map[string]string `json:"attrs,omitempty"`
}

// failoverOf is an event of this director as it is told.
func failoverOf(number uint64, e Event) failover {
	clip := func(s string) string { return told(s, maxFailoverText) }
	f := failover{
		Number: number, At: e.At.Round(0).UTC(), Object: clip(e.Object), From: clip(e.From), To: clip(e.To),
		Reason: clip(e.Reason), Text: clip(e.Text), Attrs: make(map[string]string, len(e.Attrs)),
	}
	if !tellable(f.At) || f.At.Unix() < 0 {
		f.At = time.Unix(0, 0).UTC()
	}
	for k, v := range e.Attrs {
		f.Attrs[clip(k)] = clip(v)
	}
	return f
}

// encode returns the note: its version and an object of JSON, with the newest events for
// which there is room.
func (n failoversNote) encode() []byte {
	for {
		b, err := json.Marshal(n)
		if err != nil {
			panic("encode failovers: " + err.Error()) // strings, numbers and tellable times
		}
		if len(b) < maxNote {
			return append([]byte{failoversVersion}, b...)
		}
		n.Events = n.Events[1:]
	}
}

// parseFailovers reads what another director has told, all of it or nothing. Fields that
// it does not know are ignored: they come from a later version of the program.
func parseFailovers(b []byte) (failoversNote, error) {
	r := noteReader{rest: b}
	if len(b) > maxNote {
		r.fail("%d bytes, want at most %d", len(b), maxNote)
	}
	r.version(failoversVersion)
	if r.err != nil {
		return failoversNote{}, r.err
	}
	var n failoversNote
	if err := json.Unmarshal(r.rest, &n); err != nil {
		return failoversNote{}, err
	}
	if len(n.Events) > maxFailovers {
		return failoversNote{}, fmt.Errorf("%d events, want at most %d", len(n.Events), maxFailovers)
	}
	before := uint64(0)
	for _, f := range n.Events {
		if err := f.check(before); err != nil {
			return failoversNote{}, fmt.Errorf("event %d: %w", f.Number, err)
		}
		before = f.Number
	}
	return n, nil
}

// check refuses what no director would tell after the event with the number before.
func (f failover) check(before uint64) error {
	if f.Number <= before {
		return fmt.Errorf("comes after number %d", before)
	}
	if !tellable(f.At) || f.At.Unix() < 0 {
		return errors.New("a time that is in no calendar")
	}
	texts := []string{f.Object, f.From, f.To, f.Reason, f.Text}
	for k, v := range f.Attrs {
		texts = append(texts, k, v)
	}
	for _, s := range texts {
		if len(s) > maxFailoverText || !printable(s) {
			return errors.New("a text that is too long or cannot be printed")
		}
	}
	if f.Object == "" || f.To == "" || len(f.Attrs) > 16 {
		return errors.New("without a virtual router or a state, or with too many attributes")
	}
	return nil
}
