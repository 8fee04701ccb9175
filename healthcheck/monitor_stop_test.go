package healthcheck_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// Checkers that break the contract.
func TestMonitorBadCheckers(t *testing.T) {
	release := make(chan struct{})
	tests := []struct {
		name   string
		answer func(context.Context) error
		want   string // cause of the first failure
	}{
		{"panics", func(context.Context) error { panic("nil map") }, "check panicked: nil map"},
		{"ends its goroutine", func(context.Context) error { runtime.Goexit(); return nil }, "check ended without a verdict"},
		{"says success after the timeout", func(ctx context.Context) error { <-ctx.Done(); return nil }, "timeout after 2s"},
		{"returns the bare context error", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "timeout after 2s"},
		{"ignores its context", func(context.Context) error { <-release; return nil }, "timeout, and the check does not stop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release = make(chan struct{}) // of this bubble
				events := make(chan healthcheck.Event, 10)
				m, _, _ := start(t, 0, events, func(ctx context.Context, tg healthcheck.Target, nth int) error {
					if tg == target(0) && nth == 1 {
						return tt.answer(ctx)
					}
					return nil
				})
				m.Apply(targets(2, spec()))
				sleep(6 * time.Second)
				if diff := cmp.Diff(tt.want, fmt.Sprint(m.Snapshots()[target(0)].Err)); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
				if got := m.Snapshots()[target(1)].Status; got != healthcheck.Up {
					t.Errorf("its neighbour is %v, want up", got)
				}
				close(release)
				sleep(time.Minute)
				if got := m.Snapshots()[target(0)].Status; got != healthcheck.Up {
					t.Errorf("after good answers it is %v, want up", got)
				}
			})
		})
	}
}

// Targets that never give their place back would fill all places for ever.
func TestMonitorStuckCheckersGiveTheirPlacesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		events := make(chan healthcheck.Event, 10)
		m, s, _ := start(t, 2, events, func(_ context.Context, tg healthcheck.Target, _ int) error {
			if tg != target(5) {
				<-release
			}
			return nil
		})
		m.Apply(targets(6, spec()))
		sleep(time.Minute)
		if n := s.count(target(5)); n < 4 {
			t.Errorf("the good target was asked %d times in a minute, want 4 at least", n)
		}
		if l := m.Load(); l.Running != 0 || l.Waiting != 0 {
			t.Errorf("load = %+v, want none running or waiting", l)
		}
		stuck := m.Snapshots()[target(0)]
		if s.count(target(0)) != 1 || stuck.Failed < 4 {
			t.Errorf("a stuck target was asked %d times and failed %d times, want once, and a failure for each interval",
				s.count(target(0)), stuck.Failed)
		}
		close(release)
	})
}

func TestMonitorStop(t *testing.T) {
	t.Run("probes end with the context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			events := make(chan healthcheck.Event, 10)
			m, s, stop := start(t, 0, events, hang)
			sp := spec()
			sp.Interval, sp.Timeout = time.Second, time.Minute
			m.Apply(targets(5, sp))
			sleep(time.Second)
			if n, _ := s.probes(); n != 5 {
				t.Fatalf("%d probes run, want 5", n)
			}
			before := time.Now()
			if err := stop(); err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
			if took := time.Since(before); took != 0 {
				t.Errorf("stopping took %v, want no time", took)
			}
			if n, _ := s.probes(); n != 0 {
				t.Errorf("%d probes run after Run has returned", n)
			}
			if got := received(events); got != "" {
				t.Errorf("stopping counted as a failure: %s", got)
			}
		})
	})
	t.Run("a checker that ignores its context costs one second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			m, _, stop := start(t, 0, make(chan healthcheck.Event), func(context.Context, healthcheck.Target, int) error {
				<-release
				return nil
			})
			m.Apply(targets(1, spec()))
			sleep(3 * time.Second)
			before := time.Now()
			if err := stop(); err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
			if took := time.Since(before); took != time.Second {
				t.Errorf("stopping took %v, want 1s", took)
			}
			close(release) // the bubble fails the test if the goroutine does not end now
		})
	})
	t.Run("nobody reads the events", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m, _, stop := start(t, 0, make(chan healthcheck.Event), func(context.Context, healthcheck.Target, int) error { return nil })
			m.Apply(targets(5, spec()))
			sleep(time.Minute)
			if err := stop(); err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
		})
	})
}
