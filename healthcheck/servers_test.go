package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
		Interval: 10 * time.Second, Jitter: 10, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
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

func newServers(t *testing.T, answer func(ctx context.Context, t healthcheck.Target, nth int) error) *servers {
	return &servers{t: t, answer: answer, asked: map[healthcheck.Target]int{}, now: map[healthcheck.Target]bool{}}
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
	s = newServers(t, answer)
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
