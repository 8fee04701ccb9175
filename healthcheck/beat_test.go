package healthcheck

import (
	"testing"
	"time"
)

// Targets are asked together where that makes little difference to any of them.
func TestProbesBeginOnABeat(t *testing.T) {
	s := newSchedule(DefaultConcurrency, DefaultPerHost)
	s.begun = epoch.Add(1234567 * time.Nanosecond)
	for _, test := range []struct{ interval, at, want time.Duration }{
		{5 * time.Second, 0, 0},
		{5 * time.Second, 1019 * time.Millisecond, 1000 * time.Millisecond},
		{5 * time.Second, 1020 * time.Millisecond, 1020 * time.Millisecond},
		{time.Second, 1039 * time.Millisecond, 1020 * time.Millisecond},
		{500 * time.Millisecond, 1039 * time.Millisecond, 1020 * time.Millisecond},
		// A twenty-fifth of the interval and no more.
		{499 * time.Millisecond, 1039 * time.Millisecond, 1030 * time.Millisecond},
		{100 * time.Millisecond, 1011 * time.Millisecond, 1010 * time.Millisecond},
		{100 * time.Millisecond, 1012900 * time.Microsecond, 1012500 * time.Microsecond},
		{time.Nanosecond, 1010900 * time.Microsecond, 1010900 * time.Microsecond},
	} {
		if got := s.onBeat(s.begun.Add(test.at), test.interval).Sub(s.begun); got != test.want {
			t.Errorf("every %v, %v became %v, want %v", test.interval, test.at, got, test.want)
		}
	}
}

// A director that is always a little late asks no less often for it.
func TestLateProbesKeepTheInterval(t *testing.T) {
	s, out := newSchedule(1, 1), outbox{}
	target := Target{Check: "a"}
	now := epoch
	s.apply(now, map[Target]check{target: {spec: Spec{Name: "a", Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 1}}}, &out)
	first, _ := s.deadline()
	for n := range 100 {
		at, _ := s.deadline()
		if want := first.Add(time.Duration(n) * time.Second); !at.Equal(want) {
			t.Fatalf("probe %d is due %v after the first, want %v", n, at.Sub(first), want.Sub(first))
		}
		now = at.Add(7 * time.Millisecond)
		s.wake(now, &out)
		e := s.take(now)
		s.finish(now.Add(time.Millisecond), verdict{entry: e}, &out)
	}
}
