package director

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/syncd"
)

// stream is what two directors tell each other notes over.
type stream struct {
	mu   sync.Mutex // guards everything below
	ends map[string]*streamEnd
	cut  bool
}

// streamEnd is one director's, the Relay of a director that has no connections.
type streamEnd struct {
	stream  *stream
	changed chan<- struct{}  // nil: it does not run
	notes   map[uint8][]byte // told
	sets    map[uint8]int    // how often
}

func (s *stream) join(name string) *streamEnd {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[name] = &streamEnd{stream: s, notes: make(map[uint8][]byte), sets: make(map[uint8]int)}
	return s.ends[name]
}

// set changes something and wakes the directors.
func (s *stream) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	for _, e := range s.ends {
		select {
		case e.changed <- struct{}{}:
		default:
		}
	}
}

// link cuts the stream, or lets it be again.
func (s *stream) link(up bool) {
	s.set(func() { s.cut = !up })
	synctest.Wait()
}

// setsOf is how often a director has told something of a kind.
func (s *stream) setsOf(name string, kind uint8) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[name].sets[kind]
}

// make is a RelayFactory.
func (e *streamEnd) make(_ *conf.Config, _ string, changed chan<- struct{}) (Relay, error) {
	e.stream.mu.Lock()
	defer e.stream.mu.Unlock()
	e.changed = changed
	return e, nil
}

func (e *streamEnd) SetNote(kind uint8, payload []byte) {
	e.stream.set(func() { e.notes[kind] = payload; e.sets[kind]++ })
}

func (e *streamEnd) Notes() map[string]map[uint8][]byte {
	e.stream.mu.Lock()
	defer e.stream.mu.Unlock()
	peers := make(map[string]map[uint8][]byte)
	for name, o := range e.stream.ends {
		if o != e && !e.stream.cut {
			peers[name] = maps.Clone(o.notes)
		}
	}
	return peers
}

func (*streamEnd) Apply(RelayOrders)         {}
func (*streamEnd) Complete() map[string]bool { return map[string]bool{"lb-a": true, "lb-b": true} }
func (*streamEnd) Status() syncd.RelayStatus { return syncd.RelayStatus{} }
func (*streamEnd) Rekey(*conf.Config) error  { return nil }

func (*streamEnd) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// duo is two directors with a stream between them, and without a membership.
type duo struct {
	*stream
	t    *testing.T
	a, b *member
}

func newDuo(t *testing.T, toml string) *duo {
	t.Helper()
	d := &duo{stream: &stream{ends: make(map[string]*streamEnd)}, t: t}
	d.a, d.b = d.member("lb-a", toml), d.member("lb-b", toml)
	return d
}

func (d *duo) member(name, toml string) *member {
	d.t.Helper()
	w := newWorld(d.t)
	w.newRelay = d.join(name).make
	m := &member{world: w, name: name}
	m.start(toml)
	return m
}

func (d *duo) end() {
	for _, m := range []*member{d.a, d.b} {
		if err := m.stop(); err != nil {
			d.t.Error(err)
		}
	}
}

// restart stops a director and starts it with what its journal knows.
func (d *duo) restart(m *member, toml string, known Journalled) {
	d.t.Helper()
	if err := m.stop(); err != nil {
		d.t.Error(err)
	}
	time.Sleep(time.Second)
	m.newRelay, m.journalled = d.join(m.name).make, known
	m.start(toml)
}

// What cannot be read is refused, once for each cause, and nothing else happens.
func TestNotesThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t, relayTOML)
		defer d.end()
		d.set(func() {
			d.ends["lb-z"] = &streamEnd{stream: d.stream, notes: map[uint8][]byte{noteViews: {7}, noteFailovers: {7}, 99: {7}}}
		})
		synctest.Wait()
		d.set(func() { delete(d.ends, "lb-z") })
		for _, tell := range []struct {
			kind uint8
			note string
		}{
			{noteViews, "\x07"}, {noteViews, "\x07\x07"}, {noteFailovers, "\x01{"}, {noteViews, "\x01"}, {99, "\x01"},
		} {
			d.ends["lb-b"].SetNote(tell.kind, []byte(tell.note))
			synctest.Wait()
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="note of a peer refused" peer=lb-b note=verdicts err="version 7, want 1"`,
			`level=WARN msg="note of a peer refused" peer=lb-b note=records err="unexpected end of JSON input"`,
			`level=WARN msg="note of a peer refused" peer=lb-b note=verdicts err="digest: 16 bytes are missing"`,
		}, d.a.logged("note of a peer refused")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
	})
}
