package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func TestMonitorApply(t *testing.T) {
	// Every target is up after the first round; then the reload comes.
	tests := []struct {
		name   string
		change func(map[healthcheck.Target]healthcheck.Spec)
		want   string   // snapshots right after the reload, without a further probe
		made   []string // Checkers made by the reload
	}{
		{"nothing changes", func(map[healthcheck.Target]healthcheck.Spec) {}, "10.0.0.0 up ok 1, 10.0.0.1 up ok 1", nil},
		{"one goes", func(m map[healthcheck.Target]healthcheck.Spec) { delete(m, target(0)) }, "10.0.0.1 up ok 1", nil},
		{"one comes", func(m map[healthcheck.Target]healthcheck.Spec) { m[target(2)] = spec() }, "10.0.0.0 up ok 1, 10.0.0.1 up ok 1, 10.0.0.2 unknown ok 0", []string{"10.0.0.2"}},
		{"one is changed", func(m map[healthcheck.Target]healthcheck.Spec) {
			s := m[target(0)]
			s.HTTP.Path, s.Rise = "/other", 9
			m[target(0)] = s
		}, "10.0.0.0 up ok 1, 10.0.0.1 up ok 1", []string{"10.0.0.0/other"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan healthcheck.Event, 10)
				m, s, _ := start(t, 0, events, func(context.Context, healthcheck.Target, int) error { return nil })
				m.Apply(targets(2, spec()))
				sleep(3 * time.Second)
				received(events)
				s.checkersMade()

				set := targets(2, spec())
				tt.change(set)
				m.Apply(set)
				synctest.Wait()
				var got []string
				for i, snaps := 0, m.Snapshots(); i < 3; i++ {
					if s, ok := snaps[target(i)]; ok {
						got = append(got, fmt.Sprintf("%v %v ok %d", target(i).Addr.Addr(), s.Status, s.OK))
					}
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
					t.Errorf("after the reload (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.made, s.checkersMade()); diff != "" {
					t.Errorf("checkers made (-want +got):\n%s", diff)
				}
				if got := received(events); got != "" {
					t.Errorf("the reload itself sent %s", got)
				}
				sleep(15 * time.Second)
				if got, want := len(m.Snapshots()), len(set); got != want {
					t.Errorf("%d targets a while later, want %d", got, want)
				}
			})
		})
	}
}

// A target that is up has failed once; a reload says that two failures are enough.
func TestMonitorApplyThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		m, _, _ := start(t, 0, events, func(_ context.Context, _ healthcheck.Target, nth int) error {
			if nth == 1 {
				return nil
			}
			return errRefused
		})
		sp := spec()
		sp.Fall = 100
		m.Apply(targets(1, sp))
		for m.Snapshots()[target(0)].Failures == 0 {
			sleep(time.Second)
		}
		sp.Fall = 2
		m.Apply(targets(1, sp))
		sleep(time.Second)
		if diff := cmp.Diff("10.0.0.0 up\n", received(events)); diff != "" {
			t.Errorf("events until after the reload (-want +got):\n%s", diff)
		}
		sleep(11 * time.Second)
		if diff := cmp.Diff("10.0.0.0 down: connect refused\n", received(events)); diff != "" {
			t.Errorf("events after the next probe (-want +got):\n%s", diff)
		}
	})
}

// The set that Apply gets stays the caller's.
func TestMonitorApplyCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := start(t, 0, make(chan healthcheck.Event, 10), func(context.Context, healthcheck.Target, int) error { return nil })
		set := targets(1, spec())
		m.Apply(set)
		clear(set)
		sleep(3 * time.Second)
		if s.count(target(0)) == 0 {
			t.Error("the target was not asked")
		}
	})
}

// Two Applies before Run looks: the second is what counts.
func TestMonitorApplyNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := start(t, 0, make(chan healthcheck.Event, 10), func(context.Context, healthcheck.Target, int) error { return nil })
		m.Apply(targets(5, spec()))
		m.Apply(targets(2, spec()))
		sleep(3 * time.Second)
		if s.count(target(0)) == 0 || s.count(target(2)) != 0 || len(m.Snapshots()) != 2 {
			t.Errorf("asked the first target %d times, the third %d times, %d in the snapshots, want the first two targets only",
				s.count(target(0)), s.count(target(2)), len(m.Snapshots()))
		}
	})
}

// A target is taken away while it is asked, and comes back while its probe takes a
// second to stop: it starts anew, and not before that probe has ended.
func TestMonitorRemoveAndAddAgainWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		m, s, _ := start(t, 0, events, func(ctx context.Context, _ healthcheck.Target, nth int) error {
			if nth == 1 {
				<-ctx.Done()
				time.Sleep(time.Second)
				return errors.New("of the one that was removed")
			}
			return nil
		})
		sp := spec()
		sp.Interval, sp.Timeout = time.Second, time.Hour
		m.Apply(targets(1, sp))
		sleep(time.Second)
		m.Apply(nil)
		synctest.Wait()
		if n := len(m.Snapshots()); n != 0 {
			t.Errorf("%d snapshots after the removal, want 0", n)
		}
		m.Apply(targets(1, sp))
		sleep(900 * time.Millisecond)
		if s.count(target(0)) != 1 {
			t.Errorf("asked %d times before the first probe has ended, want once", s.count(target(0)))
		}
		sleep(100 * time.Millisecond)
		if diff := cmp.Diff("10.0.0.0 up\n", received(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// An event that waits for its reader goes with its target.
func TestMonitorRemovedTargetSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event)
		m, _, _ := start(t, 0, events, func(context.Context, healthcheck.Target, int) error { return errRefused })
		m.Apply(targets(2, spec()))
		sleep(3 * time.Second)
		set := targets(2, spec())
		delete(set, target(0))
		m.Apply(set)
		if diff := cmp.Diff("10.0.0.1 down: connect refused\n", received(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
