package peers

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain is a jitter of nothing.
func plain(d time.Duration) time.Duration { return d }

func at(seconds float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func newTestBook() *book {
	return newBook(at(0), map[string]netip.Addr{"b": netip.MustParseAddr("192.0.2.2"), "c": netip.MustParseAddr("192.0.2.3")}, plain)
}

func kinds(events []Event) []EventKind {
	var ks []EventKind
	for _, e := range events {
		ks = append(ks, e.Kind)
	}
	return ks
}

func checkKinds(t *testing.T, what string, events []Event, want ...EventKind) {
	t.Helper()
	if diff := cmp.Diff(want, kinds(events)); diff != "" {
		t.Errorf("%s: events -want +got\n%s", what, diff)
	}
}

func checkDue(t *testing.T, b *book, now time.Time, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.due(now)); diff != "" {
		t.Errorf("due at %v: -want +got\n%s", now.Sub(at(0)), diff)
	}
}

func checkDeadline(t *testing.T, b *book, want float64) {
	t.Helper()
	got, armed := b.deadline()
	if !armed || !got.Equal(at(want)) {
		t.Errorf("deadline %v (armed %t), want %vs", got.Sub(at(0)), armed, want)
	}
}

func TestBookLife(t *testing.T) {
	b := newTestBook()
	meta := Meta{Version: "1", Config: FingerprintOf("text")}

	checkKinds(t, "first sight", b.heard(at(1), "b", meta, true), Joined)
	checkKinds(t, "new metadata", b.heard(at(2), "b", Meta{Version: "2", Config: FingerprintOf("text")}, true), Changed)
	b.answered(at(3), "b", 2*time.Millisecond)
	checkKinds(t, "the same with a probe", b.refreshed(at(3), "b", Meta{Version: "2", Config: FingerprintOf("text")}))
	events := b.gone(at(4), "b")
	checkKinds(t, "death", events, Lost)
	want := Member{
		Name: "b", Addr: netip.MustParseAddr("192.0.2.2"), Since: at(4),
		LastSeen: at(3), RTT: 2 * time.Millisecond, Meta: Meta{Version: "2", Config: FingerprintOf("text")},
	}
	if diff := cmp.Diff(want, events[0].Member, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the event's member -want +got\n%s", diff)
	}
	checkKinds(t, "death again", b.gone(at(5), "b"))
	checkKinds(t, "the answer to a probe of somebody dead", b.refreshed(at(5), "b", meta))

	checkKinds(t, "return", b.heard(at(6), "b", meta, true), Joined)
	checkKinds(t, "what gossip has lost", b.refreshed(at(6), "b", Meta{Version: "3"}), Changed)
	checkKinds(t, "a stranger answers a probe", b.refreshed(at(6), "x", meta))
	meta.Leaving = true
	checkKinds(t, "announces to leave", b.heard(at(7), "b", meta, true), Changed)
	checkKinds(t, "leaves", b.gone(at(8), "b"), Left)

	checkKinds(t, "a stranger speaks", b.heard(at(9), "x", meta, true))
	checkKinds(t, "a stranger dies", b.gone(at(9), "x"))
	checkKinds(t, "a stranger's state", b.exchanged(at(9), exchange{Name: "x"}))
	b.answered(at(9), "x", 0)
	if b.called(at(9), "x", "why") {
		t.Error("a call to a stranger is news")
	}
}

func TestBookCallsWhoIsNotThere(t *testing.T) {
	b := newTestBook()
	checkDeadline(t, b, 0)
	checkDue(t, b, at(0), "b", "c")
	checkDue(t, b, at(60)) // calls are under way
	if _, armed := b.deadline(); armed {
		t.Error("a deadline while every peer is being called")
	}

	if b.called(at(3), "b", "no answer") {
		t.Error("the first failure is news already")
	}
	checkDeadline(t, b, 5) // 2 s after the end of the call
	checkDue(t, b, at(4.9))
	checkDue(t, b, at(5), "b")
	for i, tt := range []struct {
		why  string
		news bool
	}{
		{"no answer", true}, {"no answer", false}, {"no answer", false},
		{"connection refused", false}, {"connection refused", true}, {"connection refused", false},
	} {
		if b.called(at(6), "b", tt.why) != tt.news {
			t.Errorf("call %d, %s: news %t, want %t", i, tt.why, !tt.news, tt.news)
		}
	}
	checkDeadline(t, b, 8)
	checkDue(t, b, at(8), "b")
	b.called(at(9), "b", "connection refused")
	if why := b.view().members["b"].Why; why != "connection refused" {
		t.Errorf("why %q", why)
	}
	// For ever, and never more seldom.
	now := 11.0
	for range 1000 {
		checkDue(t, b, at(now-0.1))
		checkDue(t, b, at(now), "b")
		b.called(at(now), "b", "no answer")
		now += 2
	}

	b.heard(at(now), "b", Meta{}, false)
	if why := b.view().members["b"].Why; why != "" {
		t.Errorf("a peer that is there has the reason %q", why)
	}
	checkDue(t, b, at(now+100)) // nothing to ask: its metadata is not understood
	b.gone(at(now+100), "b")
	checkDue(t, b, at(now+101.9))
	checkDue(t, b, at(now+102), "b")
	if b.called(at(now+103), "b", "connection refused") || !b.called(at(now+105), "b", "connection refused") {
		t.Error("what was told before the peer was there is not told again, once it has come twice")
	}
}

func TestBookFetchesTheConfiguration(t *testing.T) {
	b := newTestBook()
	b.due(at(0))
	b.heard(at(1), "b", Meta{Config: FingerprintOf("one")}, true)
	b.called(at(1), "b", "")
	if _, ok := b.view().configs["b"]; ok {
		t.Error("a configuration before it came")
	}
	checkKinds(t, "the text comes", b.exchanged(at(1.1), exchange{"b", "one"}), Changed)
	checkKinds(t, "and again", b.exchanged(at(1.2), exchange{"b", "one"}))
	if got := b.view().configs["b"]; got != "one" {
		t.Errorf("configuration %q, want one", got)
	}
	checkDue(t, b, at(100))

	// It reloads: the text that is known is no longer its text.
	b.heard(at(100), "b", Meta{Config: FingerprintOf("two")}, true)
	if _, ok := b.view().configs["b"]; ok {
		t.Error("the old configuration is still shown")
	}
	checkDeadline(t, b, 100.2)
	checkDue(t, b, at(100.2), "b")
	b.called(at(100.3), "b", "")
	// It does not come: asked again after 2, 4, 8, … 60 s.
	now := 100.3
	for _, wait := range []float64{2, 4, 8, 16, 32, 60, 60} {
		checkDue(t, b, at(now+wait-0.1))
		now += wait
		checkDue(t, b, at(now), "b")
		b.called(at(now), "b", "")
	}
	checkKinds(t, "the text comes late", b.exchanged(at(now), exchange{"b", "two"}), Changed)
	checkDue(t, b, at(now+1000))

	for name, meta := range map[string]Meta{
		"too long": {Config: FingerprintOf("three"), ConfigTooLong: true},
		"leaving":  {Config: FingerprintOf("three"), Leaving: true},
	} {
		b.heard(at(now), "b", meta, true)
		checkDue(t, b, at(now+1000))
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestBookEmptyConfiguration(t *testing.T) {
	b := newTestBook()
	b.due(at(0))
	b.heard(at(1), "b", Meta{Config: FingerprintOf("")}, true)
	b.called(at(1), "b", "")
	checkKinds(t, "the empty text comes", b.exchanged(at(1), exchange{"b", ""}), Changed)
	if text, ok := b.view().configs["b"]; text != "" || !ok {
		t.Errorf("configuration %q, %t; want the empty one", text, ok)
	}
	checkDue(t, b, at(100))
}

func TestSpread(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		d := spread(time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 750*time.Millisecond || low > 760*time.Millisecond || high > 1250*time.Millisecond || high < 1240*time.Millisecond {
		t.Errorf("one second was spread to %v … %v, want 750 ms … 1250 ms", low, high)
	}
}
