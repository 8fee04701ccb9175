package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func TestMonitorFirstVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		m, _, _ := start(t, 0, events, func(_ context.Context, tg healthcheck.Target, _ int) error {
			if tg == target(1) {
				return errRefused
			}
			return nil
		})
		m.Apply(targets(1, spec()))
		synctest.Wait()
		added := time.Now()
		want := map[healthcheck.Target]healthcheck.Snapshot{target(0): {Since: added}}
		if diff := cmp.Diff(want, m.Snapshots()); diff != "" {
			t.Errorf("before the first probe (-want +got):\n%s", diff)
		}

		sleep(3 * time.Second)
		if diff := cmp.Diff("10.0.0.0 up\n", received(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		m.Apply(targets(2, spec()))
		sleep(3 * time.Second)
		if diff := cmp.Diff("10.0.0.1 down: connect refused\n", received(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// The verdicts of one target, one a round: what the operator sees in events and in
// the snapshot. Between the events nothing is sent.
func TestMonitorRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const verdicts = ".xx.xxxx..." // spec: rise 2, fall 3
		events := make(chan healthcheck.Event, 20)
		m, _, _ := start(t, 0, events, func(_ context.Context, _ healthcheck.Target, nth int) error {
			time.Sleep(100 * time.Millisecond)
			if verdicts[nth-1] == 'x' {
				return errRefused
			}
			return nil
		})
		m.Apply(targets(1, spec()))

		var got []string
		for n := range len(verdicts) {
			for s := (healthcheck.Snapshot{}); s.OK+s.Failed <= uint64(n); s = m.Snapshots()[target(0)] {
				sleep(50 * time.Millisecond)
			}
			s := m.Snapshots()[target(0)]
			line := fmt.Sprintf("%v run %d/%d total %d/%d took %v err %v", s.Status, s.Successes, s.Failures, s.OK, s.Failed, s.Duration, s.Err)
			for ev := range strings.Lines(received(events)) {
				line += " | " + strings.TrimSpace(ev)
			}
			got = append(got, line)
		}
		want := []string{
			"up run 1/0 total 1/0 took 100ms err <nil> | 10.0.0.0 up",
			"up run 0/1 total 1/1 took 100ms err connect refused",
			"up run 0/2 total 1/2 took 100ms err connect refused",
			"up run 1/0 total 2/2 took 100ms err <nil>",
			"up run 0/1 total 2/3 took 100ms err connect refused",
			"up run 0/2 total 2/4 took 100ms err connect refused",
			"down run 0/3 total 2/5 took 100ms err connect refused | 10.0.0.0 down: connect refused",
			"down run 0/4 total 2/6 took 100ms err connect refused",
			"down run 1/0 total 3/6 took 100ms err <nil>",
			"up run 2/0 total 4/6 took 100ms err <nil> | 10.0.0.0 up",
			"up run 3/0 total 5/6 took 100ms err <nil>",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rounds (-want +got):\n%s", diff)
		}
	})
}

func TestMonitorSinceAndAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 20)
		m, _, _ := start(t, 0, events, func(context.Context, healthcheck.Target, int) error { return nil })
		m.Apply(targets(1, spec()))
		ev := <-events
		synctest.Wait()
		s := m.Snapshots()[target(0)]
		if !s.Since.Equal(ev.At) || !s.At.Equal(ev.At) {
			t.Errorf("since %v, last probe at %v, want both at the event's %v", s.Since, s.At, ev.At)
		}
		sleep(time.Minute)
		s = m.Snapshots()[target(0)]
		if !s.Since.Equal(ev.At) {
			t.Errorf("since moved from %v to %v without a change", ev.At, s.Since)
		}
		if age := time.Since(s.At); age > 11*time.Second {
			t.Errorf("the last probe ended %v ago, want 11s at most", age)
		}
	})
}

// A probe that takes longer than the interval delays the next one; servers fails
// the test if it did not.
func TestMonitorNeverAsksTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := start(t, 0, make(chan healthcheck.Event, 20), hang)
		sp := spec()
		sp.Interval, sp.Timeout = time.Second, 5*time.Second
		m.Apply(targets(3, sp))
		sleep(time.Minute)
		if n := s.count(target(0)); n < 11 || n > 12 {
			t.Errorf("asked %d times in a minute with probes of 5s, want 12 or one less", n)
		}
	})
}

// Three probes of 1.5 s and one place: the last waits 3 s, and has its 2 s anyway.
func TestMonitorWaitingIsNotTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := start(t, 1, make(chan healthcheck.Event, 20), func(ctx context.Context, _ healthcheck.Target, _ int) error {
			select {
			case <-time.After(1500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		sp := spec()
		sp.Interval = time.Second
		m.Apply(targets(3, sp))
		sleep(2 * time.Second)
		if l := m.Load(); l.Running != 1 || l.Waiting != 2 {
			t.Errorf("load = %+v, want 1 running and 2 waiting", l)
		}
		sleep(5 * time.Second)
		for tg, snap := range m.Snapshots() {
			if snap.Status != healthcheck.Up || snap.Failed > 0 {
				t.Errorf("%v is %v with %d failures (%v), want up", tg, snap.Status, snap.Failed, snap.Err)
			}
		}
		if _, most := s.probes(); most != 1 {
			t.Errorf("%d probes at once, want 1", most)
		}
	})
}

// A thousand dead targets ask for 200 places and there are ten. A live one that dies
// is still noticed within Fall intervals, and the dead are all asked in turn.
func TestMonitorDeadRackDoesNotStarveOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const live = 1000
		dies := time.Now().Add(10 * time.Minute)
		events := make(chan healthcheck.Event, 2000)
		m, s, _ := start(t, 10, events, func(ctx context.Context, tg healthcheck.Target, _ int) error {
			if tg != target(live) {
				<-ctx.Done()
				return ctx.Err()
			}
			if time.Now().After(dies) {
				return errRefused
			}
			return nil
		})
		m.Apply(targets(live+1, spec()))
		sleep(10 * time.Minute)
		received(events)
		if _, most := s.probes(); most != 10 {
			t.Errorf("%d probes at once, want 10", most)
		}
		for i := range live {
			if s.count(target(i)) == 0 {
				t.Fatalf("%v was never asked", target(i))
			}
		}
		ev := <-events
		if ev.Target != target(live) || ev.Status != healthcheck.Down {
			t.Fatalf("event %+v, want that of the live target going down", ev)
		}
		// Three failures: the first up to an interval after its death, then two more
		// intervals, each give or take a tenth.
		if took := ev.At.Sub(dies); took > 33*time.Second {
			t.Errorf("noticed after %v, want 33s at most", took)
		}
	})
}

// A reader that sleeps while a target flaps gets one event, the newest.
func TestMonitorSlowReaderGetsTheNewestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event)
		up := false
		var mu sync.Mutex
		m, _, _ := start(t, 0, events, func(context.Context, healthcheck.Target, int) error {
			mu.Lock()
			defer mu.Unlock()
			if up {
				return nil
			}
			return errRefused
		})
		sp := spec()
		sp.Rise, sp.Fall = 1, 1
		m.Apply(targets(3, sp))
		sleep(12 * time.Second) // all down, nobody has read
		mu.Lock()
		up = true
		mu.Unlock()
		sleep(12 * time.Second)

		last := map[healthcheck.Target]healthcheck.Status{}
		n := 0
		for range 3 {
			ev := <-events
			last[ev.Target] = ev.Status
			n++
		}
		if got := received(events); got != "" {
			t.Errorf("more events than targets: %s", got)
		}
		for i := range 3 {
			if last[target(i)] != healthcheck.Up {
				t.Errorf("the reader's last word on %v is %v, want up", target(i), last[target(i)])
			}
		}
	})
}

func TestMonitorNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		m, _, _ := start(t, 0, events, func(_ context.Context, _ healthcheck.Target, nth int) error {
			switch {
			case nth == 2:
				return nil
			case nth < 8:
				return fmt.Errorf("too many open files on this director: %w", healthcheck.ErrNotAsked)
			}
			return errRefused
		})
		m.Apply(targets(1, spec()))
		sleep(3 * time.Second) // and before the first verdict it is not a whole interval until the next
		if s := m.Snapshots()[target(0)]; s.Status != healthcheck.Unknown || s.NotAsked != 1 || s.Err == nil {
			t.Errorf("after a probe that could not be made: %+v, want unknown, counted, with its cause", s)
		}
		sleep(57 * time.Second)
		if s := m.Snapshots()[target(0)]; s.Status != healthcheck.Up || s.Failed != 0 || s.NotAsked < 4 {
			t.Errorf("after a success and probes that could not be made: %+v, want up", s)
		}
		sleep(time.Minute)
		want := "10.0.0.0 up\n10.0.0.0 down: connect refused\n"
		if diff := cmp.Diff(want, received(events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestMonitorCheckerCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		m, err := healthcheck.NewMonitor(healthcheck.Options{
			Events: events,
			NewChecker: func(healthcheck.Spec, healthcheck.Target) (healthcheck.Checker, error) {
				return nil, errors.New(`type "icmp" is not known`)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = m.Run(ctx) }()
		m.Apply(targets(1, spec()))
		sleep(5 * time.Second)
		s := m.Snapshots()[target(0)]
		if diff := cmp.Diff(`target not asked: check c: type "icmp" is not known`, fmt.Sprint(s.Err)); diff != "" {
			t.Errorf("cause (-want +got):\n%s", diff)
		}
		if s.Status != healthcheck.Unknown {
			t.Errorf("status = %v, want unknown", s.Status)
		}
		cancel()
		synctest.Wait()
	})
}

func TestNewMonitorErrors(t *testing.T) {
	events := make(chan healthcheck.Event)
	newChecker := func(healthcheck.Spec, healthcheck.Target) (healthcheck.Checker, error) { return nil, nil }
	tests := []struct {
		name string
		o    healthcheck.Options
		want string
	}{
		{"no events", healthcheck.Options{NewChecker: newChecker}, "health monitor: NewChecker and Events are required"},
		{"no checkers", healthcheck.Options{Events: events}, "health monitor: NewChecker and Events are required"},
		{"negative concurrency per host", healthcheck.Options{NewChecker: newChecker, Events: events, PerHost: -1}, "health monitor: -1 probes at once for a host are negative"},
		{"negative concurrency", healthcheck.Options{NewChecker: newChecker, Events: events, Concurrency: -1}, "health monitor: concurrency -1 is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := healthcheck.NewMonitor(tt.o)
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// gauge is a Measurer that answers with what is written down for it: a number, or "x"
// for a failure.
type gauge struct {
	answers []string
	next    int
}

func (g *gauge) Check(context.Context) error { panic("a Measurer is not checked") }

func (g *gauge) Measure(context.Context) (healthcheck.Value, error) {
	answer := g.answers[min(g.next, len(g.answers)-1)]
	g.next++
	if answer == "x" {
		return healthcheck.Value{N: 99}, errRefused // does not count
	}
	n, err := strconv.Atoi(answer)
	return healthcheck.Value{Unit: healthcheck.Number, N: n}, err
}

// A number is known as long as the target is up, and every other number is an event.
func TestMonitorValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{answers: strings.Fields("5 5 7 x 7 x -2 x x x 0 0 4")} // spec: rise 2, fall 3
		events := make(chan healthcheck.Event, 20)
		m, err := healthcheck.NewMonitor(healthcheck.Options{
			Events:     events,
			NewChecker: func(healthcheck.Spec, healthcheck.Target) (healthcheck.Checker, error) { return g, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		m.Apply(targets(1, spec()))
		var got, held []string
		for n := range g.answers {
			for s := (healthcheck.Snapshot{}); s.OK+s.Failed <= uint64(n); s = m.Snapshots()[target(0)] {
				sleep(100 * time.Millisecond)
			}
			for len(events) > 0 {
				ev := <-events
				got = append(got, fmt.Sprintf("%d: %v %d %v", n+1, ev.Status, ev.Value.N, ev.Err))
			}
			held = append(held, strconv.Itoa(m.Snapshots()[target(0)].Value.N))
		}
		cancel()
		<-done
		want := []string{
			"1: up 5 <nil>",
			"3: up 7 <nil>",
			"7: up -2 <nil>",
			"10: down 0 connect refused",
			"12: up 0 <nil>",
			"13: up 4 <nil>",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(strings.Fields("5 5 7 7 7 7 -2 -2 -2 0 0 0 4"), held); diff != "" {
			t.Errorf("values (-want +got):\n%s", diff)
		}
	})
}
