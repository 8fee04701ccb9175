package routerproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// fakeSet is a Set that tells what it is asked for.
type fakeSet struct {
	*story
	reports chan vrrp.Report
	slow    time.Duration // how long it takes to stop

	mu     sync.Mutex // guards states
	states map[string]vrrp.State
}

func (s *fakeSet) Apply(in map[string]vrrp.Instance) { s.tell("apply %s", show(in)) }
func (s *fakeSet) HandOver(names ...string)          { s.tell("hand over %v", names) }
func (s *fakeSet) Announce(names ...string)          { s.tell("announce %v", names) }

func (s *fakeSet) Run(ctx context.Context) error {
	<-ctx.Done()
	time.Sleep(s.slow)
	for _, name := range slices.Sorted(maps.Keys(s.Snapshots())) {
		s.becomes(name, vrrp.Initialize, vrrp.ReasonShutdown)
	}
	s.tell("stopped")
	return nil
}

func (s *fakeSet) Snapshots() map[string]vrrp.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]vrrp.Snapshot)
	for name, state := range s.states {
		m[name] = vrrp.Snapshot{State: state}
	}
	return m
}

// becomes changes a virtual router's state and reports it.
func (s *fakeSet) becomes(name string, to vrrp.State, why vrrp.Reason) {
	s.mu.Lock()
	from := s.states[name]
	s.states[name] = to
	s.mu.Unlock()
	s.reports <- report(name, from, to, why)
}

// childWorld is everything around Serve.
type childWorld struct {
	*story
	heard     story // what the parent heard, but for answers to pings
	set       *fakeSet
	level     *slog.LevelVar
	terminate chan os.Signal
	parent    *pipe[fromChild, toChild] // which the test plays
	ended     chan error
}

// newChild starts Serve in a bubble. It has been told its start, and web and db, of which
// web is Master.
func newChild(t *testing.T) *childWorld {
	w := newSilentChild(t)
	w.parent.out <- toChild{Start: &Start{LogFormat: "text", LogLevel: slog.LevelInfo}}
	w.parent.out <- toChild{Apply: &apply{Instances: set("web", "db")}}
	synctest.Wait()
	w.set.becomes("db", vrrp.Backup, vrrp.ReasonStartup)
	w.set.becomes("web", vrrp.Master, vrrp.ReasonMasterDown)
	w.told()
	return w
}

// newSilentChild starts Serve in a bubble. It has not been told anything.
func newSilentChild(t *testing.T) *childWorld {
	w := &childWorld{story: &story{}, level: new(slog.LevelVar), terminate: make(chan os.Signal, 1), ended: make(chan error, 1)}
	w.set = &fakeSet{story: w.story, reports: make(chan vrrp.Report, 16), states: make(map[string]vrrp.State)}
	ours, theirs := net.Pipe()
	w.parent = newPipe[fromChild, toChild](ours)
	go w.listen()
	go func() {
		w.ended <- Serve(theirs, w.terminate, func(s Start) Service {
			w.tell("prepare %s %v", s.LogFormat, s.LogLevel)
			return Service{
				Facts: Facts{Realtime: true}, Logger: w.logger(), LogLevel: w.level,
				Open: func() (Set, <-chan vrrp.Report, error) {
					w.tell("open")
					if s.LogFormat == "broken" {
						return nil, nil, errors.New("no kernel")
					}
					return w.set, w.set.reports, nil
				},
				Release: func(in map[string]vrrp.Instance) { w.tell("release %s", show(in)) },
			}
		})
		w.tell("ended")
	}()
	synctest.Wait()
	return w
}

// listen tells what the child says.
func (w *childWorld) listen() {
	for m := range w.parent.in {
		switch {
		case m.Facts != nil:
			w.heard.tell("facts %+v", *m.Facts)
		case m.Event != nil:
			snap := "no snapshot"
			if m.Event.Snapshot != nil {
				snap = "now " + m.Event.Snapshot.State.String()
			}
			w.heard.tell("%s %s to %s, %s", m.Event.Report.Instance, m.Event.Report.From, m.Event.Report.To, snap)
		case m.Pong != nil && m.Pong.Snapshots != nil:
			w.heard.tell("%d snapshots", len(m.Pong.Snapshots))
		}
	}
}

// dies ends the parent.
func (w *childWorld) dies() { w.parent.close() }

// ping sends pings for a time, every half second.
func (w *childWorld) ping(d time.Duration, alive bool) {
	for ; d > 0; d -= pingInterval {
		w.parent.out <- toChild{Ping: &ping{Alive: alive}}
		time.Sleep(pingInterval)
	}
}

func (w *childWorld) end(t *testing.T) {
	t.Helper()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

func TestServeDoesWhatItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{LogFormat: "json", LogLevel: slog.LevelWarn}}
		w.parent.out <- toChild{Apply: &apply{Instances: set("web")}}
		w.parent.out <- toChild{Order: &order{handOver, []string{"web"}}}
		w.parent.out <- toChild{Order: &order{announce, []string{"web"}}}
		w.parent.out <- toChild{Ping: &ping{LogLevel: slog.LevelDebug}}
		expect(t, "told", []string{
			"prepare json WARN", "open", "apply [web 150]", "hand over [web]", "announce [web]",
		}, w.told())
		if w.level.Level() != slog.LevelDebug {
			t.Errorf("the log's level is %v", w.level.Level())
		}
		w.set.becomes("web", vrrp.Backup, vrrp.ReasonStartup)
		synctest.Wait()
		w.parent.out <- toChild{Ping: &ping{Snapshots: true}}
		synctest.Wait()
		w.parent.out <- toChild{Stop: &stop{}}
		w.end(t)
		expect(t, "the end", []string{"stopped", "ended"}, w.told())
		expect(t, "heard", []string{
			"facts {Realtime:true Locked:false}", "web stopped to backup, now backup", "1 snapshots",
			"web backup to stopped, now stopped",
		}, w.heard.told())
		w.dies()
	})
}

func TestServeBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.dies()
		w.end(t)
		expect(t, "without a parent", []string{"ended"}, w.told())
	})
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Ping: &ping{}}
		if err := <-w.ended; err == nil {
			t.Error("it took a ping for a start")
		}
		w.dies()
	})
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{LogFormat: "broken"}}
		w.parent.out <- toChild{Apply: &apply{Instances: set("web")}}
		if err := <-w.ended; err == nil {
			t.Error("it serves without a service")
		}
		w.dies()
	})
}

// TestSpareWaits: a child without instances touches nothing, answers, and goes with its
// parent.
func TestSpareWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{LogFormat: "text", LogLevel: slog.LevelInfo}}
		w.ping(time.Minute, false)
		w.parent.out <- toChild{Ping: &ping{LogLevel: slog.LevelDebug}}
		w.terminate <- syscall.SIGTERM
		expect(t, "told", []string{"prepare text INFO"}, w.told())
		if w.level.Level() != slog.LevelDebug {
			t.Errorf("the log's level is %v", w.level.Level())
		}
		w.dies()
		w.end(t)
		expect(t, "at the end", []string{"ended"}, w.told())
	})
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{}}
		w.terminate <- syscall.SIGTERM // forgotten, as it had no instances then
		w.ping(time.Second, true)
		w.parent.out <- toChild{Apply: &apply{Instances: set("web")}}
		synctest.Wait()
		w.set.becomes("web", vrrp.Master, vrrp.ReasonMasterDown)
		synctest.Wait()
		w.dies()
		w.told()
		w.set.becomes("web", vrrp.Backup, vrrp.ReasonSwitchover)
		w.end(t)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{}}
		w.parent.out <- toChild{Stop: &stop{}}
		w.end(t)
		w.dies()
	})
}

// TestOrphanHandsOverAndEnds: a Master whose parent is gone gives way to whoever is there.
func TestOrphanHandsOverAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.dies()
		expect(t, "at once", []string{
			`log level=ERROR msg="the daemon ended, handing mastership over" virtual_routers=[web]`,
			"hand over [web]", "apply [db 1 no preempt, web 1 no preempt]",
		}, w.told())
		w.set.becomes("web", vrrp.Backup, vrrp.ReasonSwitchover)
		w.end(t)
		expect(t, "when another director has taken over", []string{
			`log level=INFO msg="virtual router changed state" virtual_router=web from=master to=backup reason=switchover`,
			"stopped",
			`log level=INFO msg="virtual router changed state" virtual_router=db from=backup to=stopped reason=shutdown`,
			`log level=INFO msg="virtual router changed state" virtual_router=web from=backup to=stopped reason=shutdown`,
			"release nothing", "release [db 150, web 150]", "ended",
		}, w.told())
	})
}

func TestOrphanThatIsMasterOfNothingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.set.becomes("web", vrrp.Fault, vrrp.ReasonFailed)
		w.told()
		w.dies()
		w.end(t)
		for _, line := range w.told() {
			if line == "apply [db 1 no preempt, web 1 no preempt]" {
				t.Error("it went on")
			}
		}
	})
}

// TestOrphanAlone: as long as nobody takes over it goes on, and asks again.
func TestOrphanAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.dies()
		w.told()
		time.Sleep(askAgain*patrolInterval - time.Millisecond)
		expect(t, "before its time", nil, w.told())
		for range 100 {
			time.Sleep(askAgain * patrolInterval)
			expect(t, "again and again", []string{"hand over [web]"}, w.told())
		}
		// A new daemon asks it to end.
		w.terminate <- syscall.SIGTERM
		w.end(t)
		lines := w.told()
		expect(t, "asked to end", []string{`log level=INFO msg="asked to end, stopping"`, "stopped"}, lines[:2])
		expect(t, "at last", []string{"release nothing", "release [db 150, web 150]", "ended"}, lines[len(lines)-3:])
	})
}

// TestTerminate: while there is a parent it decides; but a stop of the whole service asks
// both, and the parent may be killed after that.
func TestTerminate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.terminate <- syscall.SIGTERM
		w.ping(5*time.Second, true)
		expect(t, "with a parent", nil, w.told())
		w.dies()
		w.end(t)
		expect(t, "soon after it", []string{"stopped"}, w.told()[1:2])
	})
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.terminate <- syscall.SIGTERM
		w.ping(2*time.Minute, true)
		w.told()
		w.dies()
		time.Sleep(time.Second)
		select {
		case <-w.ended:
			t.Error("it ended for what was asked long ago")
		default:
		}
		w.terminate <- syscall.SIGTERM
		w.end(t)
	})
}

// TestHungDaemon: a director loop that says nothing for ten seconds loses mastership until
// it is back.
func TestHungDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.ping(time.Hour, true)
		w.told()
		w.ping(8*time.Second, false)
		expect(t, "before its time", nil, w.told())
		w.ping(2*time.Second, false)
		expect(t, "after them", []string{
			`log level=ERROR msg="the daemon does not answer, offering mastership to the other directors" duration=10s`,
			"hand over [web]", "apply [db 1 no preempt, web 1 no preempt]",
		}, w.told())
		w.ping(5*time.Second, false)
		expect(t, "as long as it lasts", []string{"hand over [web]"}, w.told())
		// Somebody still applies what is in force meanwhile.
		w.parent.out <- toChild{Apply: &apply{Instances: set("web")}}
		expect(t, "other instances", []string{"apply [web 1 no preempt]"}, w.told())
		w.ping(time.Second, true)
		expect(t, "afterwards", []string{
			`log level=INFO msg="the daemon answers again, priorities are as configured"`, "apply [web 150]",
		}, w.told())
		w.parent.out <- toChild{Stop: &stop{}}
		w.end(t)
		w.dies()
	})
}

// TestParentThatDoesNotRead: a stopped parent does not hold the virtual routers up, and
// gets every report when it goes on.
func TestParentThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &story{}
		fs := &fakeSet{story: st, reports: make(chan vrrp.Report, 16), states: make(map[string]vrrp.State)}
		ours, theirs := net.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- Serve(theirs, nil, func(Start) Service {
				return Service{
					Logger: slog.New(slog.DiscardHandler), LogLevel: new(slog.LevelVar),
					Open: func() (Set, <-chan vrrp.Report, error) { return fs, fs.reports, nil },
				}
			})
		}()
		for _, m := range []toChild{{Start: &Start{}}, {Apply: &apply{}}} {
			if err := writeFrame(ours, m); err != nil {
				t.Fatal(err)
			}
		}
		const n = maxQueue + 10 // which leaves some in the Set
		for i := range n {
			fs.becomes(fmt.Sprintf("%03d", i), vrrp.Backup, vrrp.ReasonStartup)
		}
		synctest.Wait()
		if len(fs.reports) == 0 {
			t.Error("it takes what it cannot pass on")
		}
		p := newPipe[fromChild, toChild](ours)
		if m := <-p.in; m.Facts == nil {
			t.Errorf("first came %+v", m)
		}
		for i := range n {
			m := <-p.in
			if m.Event == nil || m.Event.Report.Instance != fmt.Sprintf("%03d", i) {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
		p.out <- toChild{Stop: &stop{}}
		for i := range n {
			if m := <-p.in; m.Event == nil || m.Event.Report.To != vrrp.Initialize {
				t.Fatalf("message %d after the stop is %+v", i, m)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		p.close()
	})
}

// TestParentDiesWhileStopping: the stop goes on.
func TestParentDiesWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChild(t)
		w.set.slow = time.Second
		w.parent.out <- toChild{Stop: &stop{}}
		time.Sleep(time.Millisecond)
		w.dies()
		w.end(t)
		lines := w.told()
		expect(t, "at last", []string{"release nothing", "release [db 150, web 150]", "ended"}, lines[len(lines)-3:])
	})
}

// TestGivingWay: a child that follows others that ended offers what it has adopted at once,
// and again and again, and is as it is configured when its parent trusts it.
func TestGivingWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSilentChild(t)
		w.parent.out <- toChild{Start: &Start{LogFormat: "text"}}
		w.parent.out <- toChild{Apply: &apply{Instances: set("web"), GiveWay: true}}
		synctest.Wait()
		w.told()
		w.set.becomes("web", vrrp.Master, vrrp.ReasonAdopted)
		expect(t, "when it is Master", []string{"hand over [web]"}, w.told())
		w.parent.out <- toChild{Ping: &ping{Alive: true}}
		expect(t, "with a daemon that answers", nil, w.told())
		time.Sleep(askAgain * patrolInterval)
		expect(t, "as long as nobody takes over", []string{"hand over [web]"}, w.told())
		w.parent.out <- toChild{Apply: &apply{Instances: set("web", "db"), GiveWay: true}}
		expect(t, "a reload", []string{"apply [db 1 no preempt, web 1 no preempt]"}, w.told())
		w.parent.out <- toChild{Apply: &apply{Instances: set("web", "db")}}
		expect(t, "trusted", []string{"apply [db 150, web 150]"}, w.told())
		w.parent.out <- toChild{Ping: &ping{Alive: true}}
		time.Sleep(askAgain * patrolInterval)
		expect(t, "afterwards", nil, w.told())
		w.parent.out <- toChild{Stop: &stop{}}
		synctest.Wait()
		w.parent.close()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
	})
}
