package routerproc

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

// childVariable makes this test binary a child.
const childVariable = "ROUTERPROC_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(beChild())
	}
	goleak.VerifyTestMain(m)
}

// beChild is a child whose virtual routers are all Master.
func beChild() int {
	conn, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = Serve(conn, nil, func(Start) Service {
		return Service{
			Facts: Facts{Locked: true}, Logger: slog.New(slog.DiscardHandler), LogLevel: new(slog.LevelVar),
			Open: func() (Set, <-chan vrrp.Report, error) {
				s := &masters{reports: make(chan vrrp.Report, 16), states: make(map[string]vrrp.State)}
				return s, s.reports, nil
			},
			Release: func(map[string]vrrp.Instance) {},
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// masters is a Set of virtual routers that are Master as soon as they are there.
type masters struct {
	reports chan vrrp.Report
	mu      sync.Mutex // guards states
	states  map[string]vrrp.State
}

func (s *masters) Apply(in map[string]vrrp.Instance) {
	for name, i := range in {
		s.mu.Lock()
		from := s.states[name]
		s.states[name] = vrrp.Master
		s.mu.Unlock()
		why := vrrp.ReasonMasterDown
		if i.Adopt {
			why = vrrp.ReasonAdopted
		}
		if from != vrrp.Master {
			s.reports <- report(name, from, vrrp.Master, why)
		}
	}
}

func (s *masters) HandOver(...string) {}
func (s *masters) Announce(...string) {}

func (s *masters) Run(ctx context.Context) error {
	<-ctx.Done()
	for name := range s.Snapshots() {
		s.reports <- report(name, vrrp.Master, vrrp.Initialize, vrrp.ReasonShutdown)
	}
	return nil
}

func (s *masters) Snapshots() map[string]vrrp.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]vrrp.Snapshot)
	for name, state := range s.states {
		m[name] = vrrp.Snapshot{State: state}
	}
	return m
}

// TestRealProcesses runs both sides as they are, and kills children.
func TestRealProcesses(t *testing.T) {
	t.Setenv(childVariable, "yes")
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	reports, ends := make(chan vrrp.Report), make(chan End, 16)
	p := New(Options{
		Spawn: Command(os.Args[0], os.Args[:1], os.Stderr, lock), LogFormat: "text", LogLevel: new(slog.LevelVar),
		Reports: reports, Pulse: make(chan struct{}), Logger: slog.New(slog.DiscardHandler),
		Release: func(map[string]vrrp.Instance) {}, Runs: func(int) {}, Ended: func(e End) { ends <- e },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	in := instance("web")
	in.AdvertInterval = 10 * time.Second // however slow this machine is
	p.Apply(map[string]vrrp.Instance{"web": in})

	next := func(want string) {
		t.Helper()
		r := <-reports
		if got := fmt.Sprintf("%s %s to %s: %s", r.Instance, r.From, r.To, r.Reason); got != want {
			t.Fatalf("reported %q, want %q", got, want)
		}
	}
	// spare waits until there is a spare child.
	spare := func() Status {
		for {
			if s := p.Status(); s.Spare != 0 {
				return s
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	next("web stopped to master: master-down")
	before := files(t)
	for _, tt := range []struct {
		signal syscall.Signal
		why    string
		wait   bool // for the spare child: the second one is found without
	}{
		{syscall.SIGSTOP, "stopped by a signal, killed", true},
		{syscall.SIGKILL, "signal: killed", false},
	} {
		s, wait := p.Status(), tt.wait
		if wait {
			s = spare()
		}
		if err := syscall.Kill(s.PID, tt.signal); err != nil {
			t.Fatal(err)
		}
		if e := <-ends; e.PID != s.PID || e.Why != tt.why || e.Pause != 0 {
			t.Errorf("end %+v of %d", e, s.PID)
		}
		next("web stopped to master: adopted")
		if again := p.Status(); wait && again.PID != s.Spare || again.PID == s.PID {
			t.Errorf("%+v after %+v", again, s)
		}
	}
	last := spare()
	if n := files(t); n > before+2 { // the spare child's connection and its pidfd
		t.Errorf("%d open files, %d before", n, before)
	}

	cancel()
	next("web master to stopped: shutdown")
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, pid := range []int{last.PID, last.Spare} {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	// The lock was theirs too, and is free when the last of them is gone.
	lock.Close()
	again, err := os.OpenFile(lock.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := unix.Flock(int(again.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the lock is still held: %v", err)
	}
}

// files counts this process's open files.
func files(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestChildThatIsNoProgram(t *testing.T) {
	before := files(t)
	if _, err := Command("/nonexistent", []string{"x"}, os.Stderr)(); err == nil {
		t.Error("it was started")
	}
	if n := files(t); n != before {
		t.Errorf("%d open files, %d before", n, before)
	}
}

// TestParentThatIsGoneAtOnce: the child ends in order, having done nothing.
func TestParentThatIsGoneAtOnce(t *testing.T) {
	cmd := Command(os.Args[0], os.Args[:1], os.Stderr)
	t.Setenv(childVariable, "yes")
	c, err := cmd()
	if err != nil {
		t.Fatal(err)
	}
	c.Conn().Close()
	if err := c.Wait(); err != nil {
		t.Errorf("a child whose parent is gone at once: %v", err)
	}
}
