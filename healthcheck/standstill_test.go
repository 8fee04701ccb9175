package healthcheck

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Which failures count, "x", and which do not, "-", when the director stands still for so
// long during each probe. Timeout 2 s.
func TestExcuse(t *testing.T) {
	refused := errors.New("connect refused")
	tests := []struct {
		name  string
		stood []time.Duration // during each probe
		want  string
	}{
		{"it does not stand still", []time.Duration{0, 0}, "xx"},
		{"for a moment", []time.Duration{400 * time.Millisecond}, "x"},
		{"for a quarter of the timeout", []time.Duration{500 * time.Millisecond}, "-"},
		{"now and then", []time.Duration{time.Second, 0, time.Second, time.Second}, "-x--"},
		{"all the time", []time.Duration{time.Hour, time.Hour, time.Hour, time.Hour, time.Hour}, "---xx"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, out := newSchedule(1, 1), &outbox{}
			spec := everySecond()
			spec.Fall = 100
			s.apply(epoch, numberedSet(1, spec), out)
			now := epoch.Add(startSpread)
			var got strings.Builder
			for _, stood := range tt.stood {
				s.wake(now, out)
				e := s.take(now)
				if stood > 0 {
					now = now.Add(stood)
					s.stood(now, stood)
				}
				before := e.snapshot.Failed
				s.finish(now, verdict{entry: e, err: refused, took: stood}, out)
				if e.snapshot.Failed > before {
					got.WriteByte('x')
				} else {
					got.WriteByte('-')
				}
				if !errors.Is(e.snapshot.Err, refused) {
					t.Errorf("the cause %v does not wrap what came of the probe", e.snapshot.Err)
				}
				now = now.Add(11 * time.Second)
			}
			if got.String() != tt.want {
				t.Errorf("what counts is %s, want %s", got.String(), tt.want)
			}
		})
	}
}

// A director that is short of processor time stands still for most of it. It still asks, and
// finds that a silent server is dead: after those failures that do not count, each does.
func TestStandingStillMostOfTheTime(t *testing.T) {
	const works, stands = 100 * time.Millisecond, 900 * time.Millisecond
	s, out := newSchedule(1, 1), &outbox{}
	spec := everySecond()
	spec.Interval, spec.Jitter, spec.Fall = 5*time.Second, 0, 3
	s.apply(epoch, numberedSet(1, spec), out)
	e := s.entries[numbered(0)]
	e.tracker = NewTracker(Thresholds{Rise: 1, Fall: 3}, Up)
	probes, running := 0, false
	now := epoch
	for e.tracker.Status() != Down && now.Before(epoch.Add(time.Hour)) {
		if took := now.Sub(e.started); running && took >= spec.Timeout {
			s.finish(now, verdict{entry: e, err: errors.New("timeout"), took: took}, out)
			running = false
		}
		s.wake(now, out)
		if s.take(now) != nil {
			probes++
			running = true
		}
		now = now.Add(works + stands)
		s.stood(now, stands)
	}
	// Three within three seconds of each other, three an interval apart.
	if took := now.Sub(epoch); probes != maxExcused+spec.Fall || took > 40*time.Second {
		t.Errorf("it was down after %d probes and %v, want %d probes and 40s at most", probes, took, maxExcused+spec.Fall)
	}
}

// A failure that came at once counts, however long it took until anybody looked at it.
func TestFailureBeforeAStandstillCounts(t *testing.T) {
	s, out := newSchedule(1, 1), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	e := s.take(now)
	s.stood(now.Add(time.Hour), time.Hour)
	s.finish(now.Add(time.Hour), verdict{entry: e, err: errors.New("connect refused"), took: time.Millisecond}, out)
	if e.snapshot.Status != Down {
		t.Errorf("it is %v, want down", e.snapshot.Status)
	}
}

// A connect has a timeout of its own, which passes in a shorter standstill.
func TestExcuseOfAConnect(t *testing.T) {
	for connect, counts := range map[time.Duration]bool{0: true, 2 * time.Second: false, 10 * time.Second: true} {
		s, out := newSchedule(1, 1), &outbox{}
		spec := everySecond()
		spec.Timeout, spec.ConnectTimeout = 10*time.Second, connect
		s.apply(epoch, numberedSet(1, spec), out)
		now := epoch.Add(startSpread)
		s.wake(now, out)
		e := s.take(now)
		now = now.Add(2 * time.Second)
		s.stood(now, time.Second)
		s.finish(now, verdict{entry: e, err: errors.New("connect timeout"), took: 2 * time.Second}, out)
		if failed := e.snapshot.Failed > 0; failed != counts {
			t.Errorf("connect timeout %v: it counts: %t, want %t", connect, failed, counts)
		}
	}
}

// A success counts whatever happened meanwhile.
func TestSuccessNeedsNoExcuse(t *testing.T) {
	s, out := newSchedule(1, 1), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	e := s.take(now)
	s.stood(now.Add(time.Hour), time.Hour)
	s.finish(now.Add(time.Hour), verdict{entry: e}, out)
	if e.snapshot.Status != Up {
		t.Errorf("it is %v, want up", e.snapshot.Status)
	}
}
