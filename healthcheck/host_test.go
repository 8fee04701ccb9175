package healthcheck

import (
	"net/netip"
	"testing"
	"time"
)

// Three ports of a host that one probe may ask at a time. The second is removed when its
// turn has just come: the third gets it.
func TestHostPassesOverWhatIsGone(t *testing.T) {
	s, out := newSchedule(10, 1), &outbox{}
	set := make(map[Target]check)
	for port := range uint16(3) {
		set[Target{Addr: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), 80+port), Check: "c"}] = check{spec: everySecond()}
	}
	s.apply(epoch, set, out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	first := s.takeAll(now)
	if len(first) != 1 || s.load.Waiting != 2 {
		t.Fatalf("%d probes and %d waiting, want 1 and 2", len(first), s.load.Waiting)
	}
	s.finish(now, verdict{entry: first[0]}, out)
	second := s.quick[0]
	delete(set, second.target)
	s.apply(now, set, out)
	third := s.takeAll(now)
	if len(third) != 1 || third[0] == second || third[0] == first[0] {
		t.Fatalf("asked %d targets then, want the third alone", len(third))
	}
	s.finish(now, verdict{entry: third[0]}, out)
	if len(s.hosts) != 0 {
		t.Errorf("%d hosts are kept with nothing to do", len(s.hosts))
	}
}

// Targets are removed while they wait for their host: a slow one that has returned to its
// line, where no place is free, and a quick one whose turn comes with that. Neither is asked.
func TestNobodyAsksWhoWasRemovedWhileHeld(t *testing.T) {
	s, out := newSchedule(3, 1), &outbox{} // one place for the slow
	port := func(p uint16) Target {
		return Target{Addr: netip.AddrPortFrom(numbered(1).Addr.Addr(), p), Check: "c"}
	}
	first, slow, quick, elsewhere := port(1), port(2), port(3), numbered(0)
	set := map[Target]check{}
	for i, target := range []Target{first, slow, quick, elsewhere} {
		set[target] = check{spec: everySecond()}
		s.apply(epoch, set, out)
		e := s.entries[target]
		e.at, e.slow = epoch.Add(time.Duration(i)), target == slow || target == elsewhere
		s.agenda.settle(e.place)
		s.wake(e.at, out)
		s.takeAll(e.at)
	}
	if s.running != 2 || s.load.Waiting != 2 {
		t.Fatalf("%d probes and %d waiting, want 2 of either", s.running, s.load.Waiting)
	}
	now := epoch.Add(time.Second)
	s.finish(now, verdict{entry: s.entries[first]}, out)
	if len(s.slow) != 1 {
		t.Fatalf("%d slow ones in line, want one", len(s.slow))
	}
	delete(set, slow)
	delete(set, quick)
	s.apply(now, set, out)
	for _, e := range s.takeAll(now) {
		t.Errorf("%v is asked, which was removed: %t", e.target, e.gone)
	}
	if s.load.Waiting != 0 || len(s.hosts) != 1 {
		t.Errorf("%d wait and %d hosts are kept, want none and the one elsewhere", s.load.Waiting, len(s.hosts))
	}
}
