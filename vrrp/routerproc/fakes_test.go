package routerproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// story is what happened around a side under test, in order.
type story struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// told returns what happened since the last call, when everybody waits.
func (s *story) told() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines
	s.lines = nil
	return lines
}

// logger writes the log into the story.
func (s *story) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (s *story) Write(b []byte) (int, error) {
	s.tell("log %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// instance is a virtual router with advertisements every 100 ms.
func instance(name string) vrrp.Instance {
	return vrrp.Instance{
		Name: name, ID: vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: vrrp.VRID(name[0])},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 150, Preempt: true, AdvertInterval: 100 * time.Millisecond,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
		},
	}
}

func set(names ...string) map[string]vrrp.Instance {
	m := make(map[string]vrrp.Instance)
	for _, name := range names {
		m[name] = instance(name)
	}
	return m
}

// show is instances in short: "web 150, db 1 no preempt, dns 150 adopt".
func show(m map[string]vrrp.Instance) string {
	if m == nil {
		return "nothing"
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		text := fmt.Sprint(name, " ", m[name].Priority)
		if !m[name].Preempt {
			text += " no preempt"
		}
		if m[name].Adopt {
			text += " adopt"
		}
		list = append(list, text)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func report(name string, from, to vrrp.State, why vrrp.Reason) vrrp.Report {
	return vrrp.Report{Instance: name, At: time.Now(), Transition: vrrp.Transition{From: from, To: to, Reason: why}}
}

// fakeChild is a child whose side the test plays.
type fakeChild struct {
	*parentWorld
	pid   int
	ours  net.Conn // the parent's end
	pipe  *pipe[toChild, fromChild]
	exit  chan error
	hangs bool // it does not answer pings
	// halted delivers when a signal stops it.
	halted   chan struct{}
	stays    bool // it does not obey Stop
	immortal bool // it does not end when it is killed
}

func (c *fakeChild) Conn() io.ReadWriteCloser { return c.ours }
func (c *fakeChild) PID() int                 { return c.pid }
func (c *fakeChild) Wait() error              { return <-c.exit }
func (c *fakeChild) halt()                    { c.halted <- struct{}{} }
func (c *fakeChild) Stopped() <-chan struct{} { return c.halted }
func (c *fakeChild) Kill() {
	c.tell("%d killed", c.pid)
	if !c.immortal {
		c.end(errors.New("signal: killed"))
	}
}

// end ends the child, once.
func (c *fakeChild) end(err error) {
	select {
	case c.exit <- err:
		c.pipe.conn.Close()
	default:
	}
}

// live reads what the child is told until its connection closes.
func (c *fakeChild) live() {
	defer c.pipe.close()
	for m := range c.pipe.in {
		switch {
		case m.Start != nil:
			c.tell("%d start %s %v", c.pid, m.Start.LogFormat, m.Start.LogLevel)
		case m.Apply != nil:
			way := ""
			if m.Apply.GiveWay {
				way = " give way"
			}
			c.tell("%d apply %s%s", c.pid, show(m.Apply.Instances), way)
		case m.Order != nil:
			c.tell("%d %s %v", c.pid, m.Order.Do, m.Order.Names)
		case m.Ping != nil:
			c.pinged(*m.Ping)
		case m.Stop != nil:
			c.tell("%d stop", c.pid)
			if !c.stays {
				c.pipe.out <- fromChild{Event: &event{Report: report("web", vrrp.Master, vrrp.Initialize, vrrp.ReasonShutdown)}}
				c.pipe.flush(time.Second)
				c.end(nil)
			}
		}
	}
}

func (c *fakeChild) pinged(m ping) {
	c.mu.Lock()
	if c.pid == c.active {
		c.pings = append(c.pings, m)
	}
	hangs := c.hangs
	c.mu.Unlock()
	if !hangs {
		answer := &pong{}
		if m.Snapshots {
			answer.Snapshots = map[string]vrrp.Snapshot{"web": {State: vrrp.Master, Counters: vrrp.Counters{AdvertsSent: uint64(len(c.pings))}}}
		}
		c.pipe.out <- fromChild{Pong: answer}
	}
}

func (c *fakeChild) hang(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangs = yes
}

// says reports a transition, with a snapshot.
func (c *fakeChild) says(name string, from, to vrrp.State, why vrrp.Reason) {
	c.pipe.out <- fromChild{Event: &event{Report: report(name, from, to, why), Snapshot: &vrrp.Snapshot{State: to, Reason: why}}}
	synctest.Wait()
}

// parentWorld is everything around a Process.
type parentWorld struct {
	story
	t        *testing.T
	process  *Process
	reports  chan vrrp.Report
	pulse    chan struct{}
	level    *slog.LevelVar
	stall    time.Duration // of the Process, as soon as it looks at the level
	ends     story         // of children that nobody asked for
	children []*fakeChild
	active   int // process id of the one that runs the virtual routers
	spawnErr error
	pings    []ping // that it got
	stop     func() error
}

// newParent starts a Process in a bubble.
func newParent(t *testing.T) *parentWorld {
	w := &parentWorld{t: t, reports: make(chan vrrp.Report, 16), pulse: make(chan struct{}), level: new(slog.LevelVar)}
	w.process = New(Options{
		Spawn: w.spawn, LogFormat: "json", LogLevel: w, Reports: w.reports, Pulse: w.pulse,
		Release: func(keep map[string]vrrp.Instance) { w.tell("release all but %s", show(keep)) },
		Runs: func(pid int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.active = pid
		},
		Ended: func(e End) {
			way := ""
			if e.GivesWay {
				way = ", gives way"
			}
			w.ends.tell("%d: %s, pause %v%s", e.PID, e.Why, e.Pause, way)
		},
		Logger: w.logger(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.process.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	synctest.Wait()
	return w
}

// Level is the daemon's, which the Process asks for with each ping.
func (w *parentWorld) Level() slog.Level {
	w.mu.Lock()
	d := w.stall
	w.stall = 0
	w.mu.Unlock()
	time.Sleep(d)
	return w.level.Level()
}

func (w *parentWorld) spawn() (Child, error) {
	w.mu.Lock()
	err := w.spawnErr
	w.mu.Unlock()
	if err != nil {
		w.tell("not spawned")
		return nil, err
	}
	ours, theirs := net.Pipe()
	c := &fakeChild{parentWorld: w, pid: len(w.children) + 1, ours: ours, pipe: newPipe[toChild, fromChild](theirs), exit: make(chan error, 1), halted: make(chan struct{}, 1)}
	w.children = append(w.children, c)
	go c.live()
	return c, nil
}

// spawning makes starts fail with err.
func (w *parentWorld) spawning(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spawnErr = err
}

// child is the active child.
func (w *parentWorld) child() *fakeChild {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.children[w.active-1]
}

// reported returns what the director was told since the last call.
func (w *parentWorld) reported() []string {
	synctest.Wait()
	var list []string
	for len(w.reports) > 0 {
		r := <-w.reports
		list = append(list, fmt.Sprintf("%s %s to %s: %s", r.Instance, r.From, r.To, r.Reason))
		synctest.Wait()
	}
	return list
}
