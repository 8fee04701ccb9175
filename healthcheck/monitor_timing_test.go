package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// A server dies 30 s after the start and returns 60 s later: when it is asked meanwhile, in
// seconds after its first probe. Every 10 s, every second on its way, every 20 s while down.
func TestMonitorFastAndDownInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first time.Time
		var asked []string
		m, _, _ := start(t, 0, make(chan healthcheck.Event, 10), func(context.Context, healthcheck.Target, int) error {
			if first.IsZero() {
				first = time.Now()
			}
			at := time.Since(first)
			asked = append(asked, fmt.Sprint(at.Seconds()))
			if at > 25*time.Second && at < 85*time.Second {
				return errRefused
			}
			return nil
		})
		sp := spec() // rise 2, fall 3
		sp.FastInterval, sp.DownInterval, sp.Jitter = time.Second, 20*time.Second, 0
		m.Apply(targets(1, sp))
		sleep(110 * time.Second)
		want := []string{"0", "10", "20", "30", "31", "32", "52", "72", "92", "93", "103"}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

// A host with 500 ports that are silent, and others that answer: at most 32 probes of the
// host run at once, all of its ports are asked in turn, and the others on time.
func TestMonitorPerHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crowded := netip.MustParseAddr("10.9.9.9")
		var mu sync.Mutex
		now, most := 0, 0
		m, s, _ := start(t, 0, make(chan healthcheck.Event, 1000), func(ctx context.Context, tg healthcheck.Target, _ int) error {
			if tg.Addr.Addr() != crowded {
				return nil
			}
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			now--
			mu.Unlock()
			return ctx.Err()
		})
		set := targets(100, spec())
		for port := range 500 {
			set[healthcheck.Target{Addr: netip.AddrPortFrom(crowded, uint16(1000+port)), Check: "c"}] = spec()
		}
		m.Apply(set)
		sleep(2 * time.Minute)
		if most != 32 {
			t.Errorf("%d probes of the host at once, want 32", most)
		}
		for tg := range set {
			// 500 probes of 2 s by 32 at once take 32 s a round.
			least := 3
			if tg.Addr.Addr() != crowded {
				least = 10
			}
			if n := s.count(tg); n < least {
				t.Fatalf("%v was asked %d times in two minutes, want %d at least", tg.Addr, n, least)
			}
		}
		l := m.Load()
		if l.Waiting == 0 || l.Late == 0 || l.MaxLate < 20*time.Second || l.MaxLate > 40*time.Second {
			t.Errorf("load = %+v, want some waiting and late, by 20s to 40s at most", l)
		}
	})
}

// Nobody has to wait: nothing is late.
func TestMonitorLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s, _ := start(t, 0, make(chan healthcheck.Event, 1000), func(context.Context, healthcheck.Target, int) error { return nil })
		m.Apply(targets(100, spec()))
		sleep(time.Minute)
		probes := uint64(0)
		for i := range 100 {
			probes += uint64(s.count(target(i)))
		}
		if diff := cmp.Diff(healthcheck.Load{Probes: probes}, m.Load()); diff != "" {
			t.Errorf("load (-want +got):\n%s", diff)
		}
	})
}

// frozen is a context that makes the Monitor's loop stand still for a while: the loop asks
// for the deadline whenever it starts a probe.
type frozen struct {
	context.Context
	from, until time.Time
}

func (f frozen) Deadline() (time.Time, bool) {
	if time.Now().After(f.from) {
		time.Sleep(time.Until(f.until))
	}
	return f.Context.Deadline()
}

// The director stands still for five seconds. The timeouts of the probes that run pass before
// it can read an answer, and none of them counts: not one server goes down, and each is
// asked again soon. Those that were not asked just then keep their distances.
func TestMonitorStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		events := make(chan healthcheck.Event, 2*n)
		begin := time.Now()
		s := newServers(t, func(ctx context.Context, _ healthcheck.Target, _ int) error {
			if at := time.Since(begin); at > 1500*time.Millisecond && at < 2600*time.Millisecond {
				<-ctx.Done()
				time.Sleep(time.Until(begin.Add(7700 * time.Millisecond))) // it stands still too
				return ctx.Err()
			}
			return nil
		})
		m, err := healthcheck.NewMonitor(healthcheck.Options{NewChecker: s.newChecker, Events: events})
		if err != nil {
			t.Fatal(err)
		}
		still := begin.Add(2600 * time.Millisecond) // or with the next probe
		running, cancel := context.WithCancel(frozen{t.Context(), still, still.Add(5 * time.Second)})
		done := make(chan error, 1)
		sp := spec()
		sp.Fall = 1
		m.Apply(targets(n, sp))
		go func() { done <- m.Run(running) }()
		sleep(2600 * time.Millisecond)
		hang, _ := s.probes()
		sleep(5200 * time.Millisecond)
		if l := m.Load(); l.Standstills != 1 || l.Running > 5 {
			t.Errorf("load right after it = %+v, want one standstill and no crowd of probes", l)
		}
		notAsked := 0
		for _, snap := range m.Snapshots() {
			if snap.NotAsked > 0 {
				notAsked++
				if diff := cmp.Diff("not asked: this director stood still for 5s", fmt.Sprint(snap.Err)); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
			}
		}
		if hang < 10 || notAsked != hang+1 { // and the one that it began with
			t.Errorf("%d probes did not count, %d were running", notAsked, hang)
		}
		sleep(3 * time.Second)
		for tg, snap := range m.Snapshots() {
			if snap.Status != healthcheck.Up || snap.Failed > 0 {
				t.Errorf("%v is %v with %d failures (%v), want up with none", tg, snap.Status, snap.Failed, snap.Err)
			}
		}
		cancel()
		<-done
	})
}

// A check is renamed: what is known of its real server goes on under the new name, and so
// does its run of failures. The question is the same, so the first failure after the
// reload is the last that was missing, and not a first verdict.
func TestMonitorRenamedCheck(t *testing.T) {
	renamed := healthcheck.Target{Addr: target(0).Addr, Check: "other"}
	tests := []struct {
		name   string
		change func(*healthcheck.Spec)
		keep   bool // the old name is still there
		want   string
	}{
		{"the same question", func(*healthcheck.Spec) {}, false, "up, 2 failures; event up; other events none"},
		{"other times and thresholds", func(sp *healthcheck.Spec) {
			sp.Interval, sp.Timeout, sp.Fall, sp.Initial = time.Minute, time.Second, 5, healthcheck.InitialLast
		}, false, "up, 2 failures; event up; other events none"},
		{"split into two names", func(*healthcheck.Spec) {}, true, "up, 2 failures; event up; other events none"},
		{"another question", func(sp *healthcheck.Spec) { sp.HTTP.Path = "/other" }, false, "unknown, 0 failures; event none; other events none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan healthcheck.Event, 10)
				m, _, _ := start(t, 0, events, func(_ context.Context, _ healthcheck.Target, nth int) error {
					if nth == 1 {
						return nil
					}
					return errRefused
				})
				m.Apply(targets(1, spec()))
				for m.Snapshots()[target(0)].Failures < 2 {
					sleep(time.Second)
				}
				if diff := cmp.Diff("10.0.0.0 up\n", received(events)); diff != "" {
					t.Errorf("events before (-want +got):\n%s", diff)
				}
				set := map[healthcheck.Target]healthcheck.Spec{}
				if tt.keep {
					set = targets(1, spec())
				}
				sp := spec()
				sp.Name = "other"
				tt.change(&sp)
				set[renamed] = sp
				m.Apply(set)
				synctest.Wait()
				s := m.Snapshots()[renamed]
				event, others := "none", "none"
				for len(events) > 0 {
					if ev := <-events; ev.Target == renamed {
						event = fmt.Sprint(ev.Status)
						if ev.Err != nil {
							event += ": " + ev.Err.Error()
						}
					} else {
						others = fmt.Sprint(ev)
					}
				}
				got := fmt.Sprintf("%v, %d failures; event %s; other events %s", s.Status, s.Failures, event, others)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("after the reload (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Stopping the director ends its probes: that is no failure, whatever comes first.
func TestMonitorStopIsNoVerdict(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			events := make(chan healthcheck.Event, 100)
			m, _, stop := start(t, 0, events, func(ctx context.Context, _ healthcheck.Target, _ int) error {
				<-ctx.Done()
				return errors.New("canceled while connecting")
			})
			sp := spec()
			sp.Timeout = time.Minute
			m.Apply(targets(20, sp))
			sleep(3 * time.Second)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got := received(events); got != "" {
				t.Errorf("stopping counted: %s", got)
			}
		})
	}
}
