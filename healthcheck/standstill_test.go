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
		{"all the time", []time.Duration{time.Hour, time.Hour, time.Hour, time.Hour, time.Hour}, "---x-"},
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
					s.stood(stood)
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

// A failure that came at once counts, however long it took until anybody looked at it.
func TestFailureBeforeAStandstillCounts(t *testing.T) {
	s, out := newSchedule(1, 1), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	e := s.take(now)
	s.stood(time.Hour)
	s.finish(now.Add(time.Hour), verdict{entry: e, err: errors.New("connect refused"), took: time.Millisecond}, out)
	if e.snapshot.Status != Down {
		t.Errorf("it is %v, want down", e.snapshot.Status)
	}
}

// A success counts whatever happened meanwhile.
func TestSuccessNeedsNoExcuse(t *testing.T) {
	s, out := newSchedule(1, 1), &outbox{}
	s.apply(epoch, numberedSet(1, everySecond()), out)
	now := epoch.Add(startSpread)
	s.wake(now, out)
	e := s.take(now)
	s.stood(time.Hour)
	s.finish(now.Add(time.Hour), verdict{entry: e}, out)
	if e.snapshot.Status != Up {
		t.Errorf("it is %v, want up", e.snapshot.Status)
	}
}
