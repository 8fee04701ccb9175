package healthcheck

import (
	"net/netip"
	"testing"
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
