package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

var errRefused = errors.New("connect refused")

func target(i int) healthcheck.Target {
	addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	return healthcheck.Target{Addr: netip.AddrPortFrom(addr, 80), Check: "c"}
}

// spec is a check with whole numbers: every 10 s, 2 s timeout, rise 2, fall 3.
func spec() healthcheck.Spec {
	return healthcheck.Spec{
		Name: "c", Type: healthcheck.TCP,
		Interval: 10 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
	}
}

func targets(n int, s healthcheck.Spec) map[healthcheck.Target]healthcheck.Spec {
	m := make(map[healthcheck.Target]healthcheck.Spec, n)
	for i := range n {
		m[target(i)] = s
	}
	return m
}

// servers answers the probes of a test. It fails the test when a target is asked
// twice at once, and counts.
type servers struct {
	t      *testing.T
	answer func(ctx context.Context, t healthcheck.Target, nth int) error

	mu            sync.Mutex
	made          []string // address and path of each Checker
	asked         map[healthcheck.Target]int
	now           map[healthcheck.Target]bool // being asked
	running, most int
}

func (s *servers) newChecker(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = append(s.made, fmt.Sprintf("%v%s", t.Addr.Addr(), sp.HTTP.Path))
	return healthcheck.CheckerFunc(func(ctx context.Context) error {
		s.mu.Lock()
		if s.now[t] {
			s.t.Errorf("%v is asked twice at once", t)
		}
		s.now[t] = true
		s.asked[t]++
		nth := s.asked[t]
		s.running++
		s.most = max(s.most, s.running)
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			s.now[t] = false
			s.running--
			s.mu.Unlock()
		}()
		return s.answer(ctx, t, nth)
	}), nil
}

// count is how often a target was asked.
func (s *servers) count(t healthcheck.Target) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[t]
}

// probes are how many probes run, and how many did at most.
func (s *servers) probes() (running, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running, s.most
}

// checkersMade are those since the last call.
func (s *servers) checkersMade() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := s.made
	s.made = nil
	slices.Sort(made)
	return made
}

// start runs a Monitor until the test ends or stop is called, which returns what Run
// returned. Call it in a synctest bubble.
func start(t *testing.T, concurrency int, events chan healthcheck.Event,
	answer func(ctx context.Context, t healthcheck.Target, nth int) error,
) (m *healthcheck.Monitor, s *servers, stop func() error) {
	t.Helper()
	s = &servers{t: t, answer: answer, asked: map[healthcheck.Target]int{}, now: map[healthcheck.Target]bool{}}
	m, err := healthcheck.NewMonitor(healthcheck.Options{NewChecker: s.newChecker, Events: events, Concurrency: concurrency})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	return m, s, stop
}

// received drains events and writes them down, one line each.
func received(events chan healthcheck.Event) string {
	var b strings.Builder
	for {
		synctest.Wait() // the Monitor may have to come round for the next one
		select {
		case ev := <-events:
			fmt.Fprintf(&b, "%v %v", ev.Target.Addr.Addr(), ev.Status)
			if ev.Err != nil {
				fmt.Fprintf(&b, ": %v", ev.Err)
			}
			b.WriteByte('\n')
		default:
			return b.String()
		}
	}
}

// sleep lets virtual time pass.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// hang answers when the context ends, as a probe of a silent server does.
func hang(ctx context.Context, _ healthcheck.Target, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

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
		if running, waiting := m.Load(); running != 1 || waiting != 2 {
			t.Errorf("load = %d running, %d waiting, want 1 and 2", running, waiting)
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
		if running, waiting := m.Load(); running != 0 || waiting != 0 {
			t.Errorf("load = %d running, %d waiting, want 0 and 0", running, waiting)
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
		sleep(5 * time.Second)
		if s := m.Snapshots()[target(0)]; s.Status != healthcheck.Unknown || s.NotAsked != 1 || s.Err == nil {
			t.Errorf("after a probe that could not be made: %+v, want unknown, counted, with its cause", s)
		}
		sleep(55 * time.Second)
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
