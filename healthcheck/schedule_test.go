package healthcheck

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// everySecond is a check with whole numbers.
func everySecond() Spec {
	return Spec{Name: "c", Type: TCP, Interval: 10 * time.Second, Jitter: 10, Timeout: 2 * time.Second, Rise: 1, Fall: 1}
}

func numbered(i int) Target {
	addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	return Target{Addr: netip.AddrPortFrom(addr, 80), Check: "c"}
}

func numberedSet(n int, spec Spec) map[Target]check {
	set := make(map[Target]check, n)
	for i := range n {
		set[numbered(i)] = check{spec: spec}
	}
	return set
}

// takeAll takes until nobody is due or no place is free.
func (s *schedule) takeAll(now time.Time) []*entry {
	var es []*entry
	for e := s.take(now); e != nil; e = s.take(now) {
		e.cancel = func() {}
		es = append(es, e)
	}
	return es
}

func TestScheduleFirstProbesAreSpread(t *testing.T) {
	tests := []struct {
		name     string
		interval time.Duration
		within   time.Duration
	}{
		{"three seconds at most", time.Minute, 3 * time.Second},
		{"an interval at most", time.Second, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, out := newSchedule(1000, 1000), &outbox{}
			spec := everySecond()
			spec.Interval = tt.interval
			s.apply(epoch, numberedSet(500, spec), out)

			s.wake(epoch.Add(tt.within/2), out)
			if n := len(s.takeAll(epoch.Add(tt.within / 2))); n < 200 || n > 300 {
				t.Errorf("%d of 500 asked in the first half of %v, want about 250", n, tt.within)
			}
			s.wake(epoch.Add(tt.within), out)
			s.takeAll(epoch.Add(tt.within))
			if s.running != 500 {
				t.Errorf("%d of 500 asked within %v", s.running, tt.within)
			}
		})
	}
}

func TestScheduleNextProbe(t *testing.T) {
	tests := []struct {
		name      string
		took      time.Duration
		low, high time.Duration // of the next probe, after the start of this one
	}{
		{"an interval from start to start, give or take a tenth", 3 * time.Second, 9 * time.Second, 11 * time.Second},
		{"at once when the probe outlasted the interval", 15 * time.Second, 9 * time.Second, 11 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, out := newSchedule(1, 1000), &outbox{}
			spec := everySecond()
			spec.Timeout = 20 * time.Second
			s.apply(epoch, numberedSet(1, spec), out)
			start := epoch.Add(startSpread)
			s.wake(start, out)
			e := s.take(start)
			s.finish(start.Add(tt.took), verdict{entry: e, took: tt.took}, out)
			at, ok := s.deadline()
			if next := at.Sub(start); !ok || next < tt.low || next > tt.high {
				t.Errorf("next probe %v after this one, want %v to %v", next, tt.low, tt.high)
			}
			s.wake(start.Add(tt.high), out)
			if s.take(start.Add(tt.high)) != e {
				t.Errorf("not asked %v after the last start", tt.high)
			}
		})
	}
}

func TestScheduleLimit(t *testing.T) {
	s, out := newSchedule(3, 1000), &outbox{}
	s.apply(epoch, numberedSet(10, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	asked := s.takeAll(now)
	if len(asked) != 3 {
		t.Fatalf("%d probes at once, want 3", len(asked))
	}
	seen := map[Target]bool{}
	for len(asked) > 0 {
		e := asked[0]
		if seen[e.target] {
			t.Fatalf("%v asked twice before all were asked once", e.target)
		}
		seen[e.target] = true
		s.finish(now, verdict{entry: e}, out)
		asked = append(asked[1:], s.takeAll(now)...)
	}
	if len(seen) != 10 {
		t.Errorf("%d targets asked, want 10", len(seen))
	}
}

// Eight targets time out at every probe, two answer at once, four places: the slow
// may have two of them, so the quick are asked the moment they are due.
func TestScheduleSlowTargetsLeaveRoom(t *testing.T) {
	s, out := newSchedule(4, 1000), &outbox{}
	s.apply(epoch, numberedSet(10, everySecond()), out)
	isSlow := func(e *entry) bool { return e.target.Addr.Addr().As4()[3] < 8 }

	// A first round, in which nobody knows who is slow.
	now := epoch.Add(startSpread)
	s.wake(now, out)
	for range 10 {
		for _, e := range s.takeAll(now) {
			took := time.Duration(0)
			if isSlow(e) {
				took = 2 * time.Second
			}
			s.finish(now, verdict{entry: e, took: took}, out)
		}
	}

	now = now.Add(11 * time.Second) // all are due
	s.wake(now, out)
	asked := s.takeAll(now)
	quick, slow := 0, 0
	for _, e := range asked {
		if isSlow(e) {
			slow++
		} else {
			quick++
		}
	}
	if quick != 2 || slow != 2 {
		t.Errorf("%d quick and %d slow targets asked, want 2 and 2", quick, slow)
	}
	// A quick one that ends makes no room for a third slow one.
	for _, e := range asked {
		if !isSlow(e) {
			s.finish(now, verdict{entry: e}, out)
		}
	}
	if more := s.takeAll(now); len(more) != 0 {
		t.Errorf("%d more slow targets asked, want 0", len(more))
	}
	// A slow one that ends does: the slow starve no more than the quick.
	for _, e := range asked {
		if isSlow(e) {
			s.finish(now, verdict{entry: e, took: 2 * time.Second}, out)
		}
	}
	if more := s.takeAll(now); len(more) != 2 || !isSlow(more[0]) {
		t.Errorf("%d slow targets asked after two had ended, want 2", len(more))
	}
}

// A slow target that was due before the quick ones is asked before them, however many
// they are.
func TestScheduleQuickTargetsDoNotStarveTheSlow(t *testing.T) {
	s, out := newSchedule(2, 1000), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	slow := s.take(now)
	s.finish(now, verdict{entry: slow, took: 2 * time.Second}, out)
	now = now.Add(11 * time.Second)
	s.wake(now, out) // the slow one is due
	s.apply(now, numberedSet(50, everySecond()), out)
	now = now.Add(startSpread)
	s.wake(now, out) // and the quick ones after it
	if e := s.take(now); e != slow {
		t.Errorf("asked %v first, want %v, which has waited longest", e.target, slow.target)
	}
}

// A probe that did not end at its timeout was slow, however it ends.
func TestScheduleStuckTargetsAreSlow(t *testing.T) {
	s, out := newSchedule(2, 1000), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	e := s.take(now)
	now = now.Add(3 * time.Second)
	s.wake(now, out)
	if e.stage != stuck || s.running != 0 {
		t.Fatalf("stage %d and %d places taken one second after the timeout, want stuck and none", e.stage, s.running)
	}
	s.finish(now, verdict{entry: e, took: 3 * time.Second}, out)
	now = now.Add(11 * time.Second)
	s.wake(now, out)
	if len(s.slow) != 1 {
		t.Errorf("%d targets in the line of the slow, want 1", len(s.slow))
	}
}

// One place, and everybody slow: half of one place is still one.
func TestScheduleOnePlace(t *testing.T) {
	s, out := newSchedule(1, 1000), &outbox{}
	s.apply(epoch, numberedSet(2, everySecond()), out)
	now := epoch
	asked := map[Target]int{}
	for range 10 {
		now = now.Add(11 * time.Second)
		s.wake(now, out)
		for e := s.take(now); e != nil; e = s.take(now) {
			asked[e.target]++
			s.finish(now, verdict{entry: e, took: 2 * time.Second}, out)
		}
	}
	if asked[numbered(0)] != 10 || asked[numbered(1)] != 10 {
		t.Errorf("asked %v times, want 10 each", asked)
	}
}

func TestScheduleUpdate(t *testing.T) {
	faster := func(sp *Spec) { sp.Interval = time.Second }
	slower := func(sp *Spec) { sp.Interval = time.Hour }
	otherPath := func(sp *Spec) { sp.HTTP.Path = "/other" }
	thresholds := func(sp *Spec) { sp.Rise, sp.Fall = 5, 6 }
	tests := []struct {
		name     string
		change   func(*Spec)
		running  bool // when the change comes
		canceled bool
		within   time.Duration // next probe after the change
	}{
		{"a shorter interval does not wait for the longer one", faster, false, false, time.Second},
		{"a longer interval keeps the plan", slower, false, false, 11 * time.Second},
		{"thresholds keep the plan", thresholds, false, false, 11 * time.Second},
		{"another question asks soon", otherPath, false, false, 3 * time.Second},
		{"another question cancels the probe that asks the old one", otherPath, true, true, 0},
		{"thresholds leave a running probe alone", thresholds, true, false, 11 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, out := newSchedule(1, 1000), &outbox{}
			spec := everySecond()
			s.apply(epoch, numberedSet(1, spec), out)
			now := epoch.Add(startSpread)
			s.wake(now, out)
			e := s.take(now)
			canceled := false
			e.cancel = func() { canceled = true }
			if !tt.running {
				s.finish(now, verdict{entry: e}, out)
			}
			tt.change(&spec)
			s.apply(now, numberedSet(1, spec), out)
			if canceled != tt.canceled {
				t.Errorf("probe canceled: %t, want %t", canceled, tt.canceled)
			}
			if tt.running {
				s.finish(now, verdict{entry: e, err: errors.New("of the old question")}, out)
				wantStatus := Down
				if tt.canceled {
					wantStatus = Unknown // its verdict does not count
				}
				if e.snapshot.Status != wantStatus {
					t.Errorf("status = %v, want %v", e.snapshot.Status, wantStatus)
				}
			}
			at, ok := s.deadline()
			if next := at.Sub(now); !ok || next > tt.within {
				t.Errorf("next probe %v after the change, want within %v", next, tt.within)
			} else if tt.within > 10*time.Second && next < 9*time.Second {
				t.Errorf("next probe %v after the change, want it where it was planned", next)
			}
		})
	}
}
