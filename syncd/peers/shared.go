package peers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// What the directors share is one text that each has in a version of its own. Everybody
// tells the fingerprint of its own all the time, in the metadata, and sends the text to
// a peer that has another one, over TCP. What a peer makes of it becomes its own, and that
// ends when all have the same. So a change goes its way at once, and one that is lost, or
// was made while two directors did not hear each other, goes again.

// MaxShared is the longest text, in bytes, that directors share. memberlist takes 20 MiB.
const MaxShared = 8 << 20

// sharedVersion is the first byte of a message with what a director shares. Programs that
// know nothing of it take no messages.
const sharedVersion = 1

// shared is what a director sends.
type shared struct {
	Name string // the sender
	Text string
}

// appendTo appends the encoded form: version, the name with a length byte, and the text up
// to the end.
func (s shared) appendTo(b []byte) []byte {
	b = append(b, sharedVersion, byte(len(s.Name)))
	b = append(b, s.Name...)
	return append(b, s.Text...)
}

// parseShared decodes what appendTo wrote.
func parseShared(b []byte) (shared, error) {
	if len(b) == 0 {
		return shared{}, errors.New("message is empty")
	}
	if b[0] != sharedVersion {
		return shared{}, fmt.Errorf("message version %d, want %d", b[0], sharedVersion)
	}
	r := reader{b: b[1:]}
	name := r.text()
	if r.short {
		return shared{}, errors.New("message ends too early")
	}
	if len(r.b) > MaxShared {
		return shared{}, fmt.Errorf("message of %d bytes, want at most %d", len(r.b), MaxShared)
	}
	return shared{Name: name, Text: string(r.b)}, nil
}

// sending is how far a peer has been sent what we share.
type sending struct {
	under   bool        // one is under way
	last    Fingerprint // what was sent last
	next    time.Time   // earliest next time for the same
	held    time.Time   // not before: the peer has news, which may be on its way here
	backoff time.Duration
}

// changed takes in that a peer tells another fingerprint of what is shared than before.
func (e *entry) changed(now time.Time, delay time.Duration) { e.sending.held = now.Add(delay) }

// shares takes in what a peer sent.
func (b *book) shares(now time.Time, s shared) []Event {
	e := b.peers[s.Name]
	if e == nil {
		return nil
	}
	e.LastSeen = now
	if e.shared == s.Text {
		return nil
	}
	e.shared = s.Text
	return []Event{{Changed, now, e.Member}}
}

// sent takes in that sending to a peer has ended, well or not: what its metadata says
// tells whether it arrived.
func (b *book) sent(now time.Time, name string) {
	if e := b.peers[name]; e != nil {
		s := &e.sending
		s.under = false
		s.backoff = min(max(2*s.backoff, rejoinInterval), fetchMax)
		s.next = now.Add(b.jitter(s.backoff))
	}
}

// toSend tells whether a peer shares what we do in another version, and from when on it
// is sent ours: what it has not been sent yet, at once, unless the peer has news itself.
func (b *book) toSend(e *entry) (at time.Time, wanted bool) {
	theirs := e.Meta.Shared
	if !e.Alive || !e.hasMeta || e.Meta.Leaving || e.sending.under || theirs == (Fingerprint{}) || b.ours == (Fingerprint{}) || theirs == b.ours {
		return time.Time{}, false
	}
	at = e.sending.held
	if e.sending.last == b.ours && e.sending.next.After(at) {
		at = e.sending.next
	}
	return at, true
}

// dueToSend returns the peers to send ours to now, and counts it as under way.
func (b *book) dueToSend(now time.Time) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(b.peers)) {
		e := b.peers[name]
		at, wanted := b.toSend(e)
		if !wanted || at.After(now) {
			continue
		}
		if e.sending.last != b.ours {
			e.sending.backoff = 0
		}
		e.sending.under, e.sending.last = true, b.ours
		names = append(names, name)
	}
	return names
}

// sendDeadline is when dueToSend has something to say next.
func (b *book) sendDeadline() (t time.Time, armed bool) {
	for _, e := range b.peers {
		if at, wanted := b.toSend(e); wanted && (!armed || at.Before(t)) {
			t, armed = at, true
		}
	}
	return t, armed
}
