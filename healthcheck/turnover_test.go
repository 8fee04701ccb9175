package healthcheck

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A Monitor may see only the second of two reloads, and a target was away between them.
// Whoever reads the events has forgotten it, and is told.
func TestAwayBetweenTwoReloads(t *testing.T) {
	m, err := NewMonitor(Options{NewChecker: func(Spec, Target) (Checker, error) { return nil, nil }, Events: make(chan Event)})
	if err != nil {
		t.Fatal(err)
	}
	both := map[Target]Spec{numbered(0): everySecond(), numbered(1): everySecond()}
	m.Apply(both)
	first := <-m.sets
	m.Apply(map[Target]Spec{numbered(0): everySecond()})
	m.Apply(both)
	second := <-m.sets

	s, out := newSchedule(10, 10), &outbox{}
	s.apply(epoch, first, out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	for _, e := range s.takeAll(now) {
		s.finish(now, verdict{entry: e, err: errors.New("connect refused")}, out)
	}
	for ev, ok := out.head(); ok; ev, ok = out.head() {
		out.drop(ev.Target)
	}
	s.apply(now, second, out)
	var got []Target
	for ev, ok := out.head(); ok; ev, ok = out.head() {
		got = append(got, ev.Target)
		if ev.Status != Down || ev.Err == nil {
			t.Errorf("told %v, %v, want down with its cause", ev.Status, ev.Err)
		}
		out.drop(ev.Target)
	}
	if diff := cmp.Diff([]string{numbered(1).Addr.String()}, texts(got)); diff != "" {
		t.Errorf("told about (-want +got):\n%s", diff)
	}
}

func texts(list []Target) []string {
	var all []string
	for _, t := range list {
		all = append(all, t.Addr.String())
	}
	return all
}
