//go:build integration || ipvs

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// patience bounds each test. It is not a measure of anything.
const patience = 3 * time.Minute

// advertInterval is the daemon's default. A Backup of priority 100 waits 361 ms with it.
const advertInterval = 100 * time.Millisecond

// gapBound bounds the client-visible gap when the Master falls silent.
const gapBound = 500 * time.Millisecond

// The log lines that tests wait for.
const (
	changedState = "virtual router changed state"
	removed      = "real server removed"
	added        = "real server added"
)

// binary is the daemon: what $HADIRECTOR names, else built here once.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("HADIRECTOR"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "hadirector-e2e-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "hadirector")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/hadirector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	return path, nil
})

var built string // the directory that binary made

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// bed is one test's cluster.
type bed struct {
	*cluster.Cluster
	t      *testing.T
	ctx    context.Context
	daemon cluster.Hadirector
	asked  sync.Map // machines whose status was asked for
}

// newBed builds the topology. When the test fails, it shows what all programs said, in the
// order of time.
func newBed(t *testing.T) *bed {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var said []cluster.Line
	begin := time.Now()
	c, err := cluster.New(cluster.Options{Log: func(l cluster.Line) {
		mu.Lock()
		said = append(said, l)
		mu.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	// What runs at the test's end, when its own context is done, may have to wait too.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(t.Context()), patience, fmt.Errorf("the test took longer than %v", patience))
	t.Cleanup(func() {
		cancel()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, l := range said {
				t.Logf("%7.3fs %s %s: %s", l.At.Sub(begin).Seconds(), l.Machine, l.Process, l.Text)
			}
		}
	})
	return &bed{Cluster: c, t: t, ctx: ctx, daemon: cluster.Hadirector{Binary: path}}
}

// configure writes the configuration of both directors.
func (b *bed) configure(text string) {
	b.t.Helper()
	var err error
	if b.daemon.Config, err = b.WriteConfig(text); err != nil {
		b.t.Fatal(err)
	}
}

// node is a director's daemon and how far its log has been read.
type node struct {
	*cluster.Process
	b    *bed
	mark int
}

// director starts the daemon on a machine.
func (b *bed) director(machine string) *node {
	b.t.Helper()
	p, err := b.StartHadirector(machine, b.daemon)
	if err != nil {
		b.t.Fatal(err)
	}
	return &node{Process: p, b: b}
}

// keepalived starts keepalived on a machine.
func (b *bed) keepalived(machine string, k cluster.Keepalived) *node {
	b.t.Helper()
	p, err := b.StartKeepalived(machine, k)
	if err != nil {
		b.t.Fatal(err)
	}
	return &node{Process: p, b: b}
}

// wait waits for the next log line that contains all of parts.
func (n *node) wait(parts ...string) cluster.Line {
	n.b.t.Helper()
	line, mark, err := n.Wait(n.b.ctx, n.mark, parts...)
	if err != nil {
		n.b.t.Fatal(err)
	}
	n.mark = mark
	return line
}

// now makes wait look at what is said from here on.
func (n *node) now() { n.mark = len(n.Lines()) }

// count counts the log lines so far that contain all of parts.
func (n *node) count(parts ...string) int {
	count := 0
	for _, l := range n.Lines() {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(l.Text, part)
		}
		if all {
			count++
		}
	}
	return count
}

// stop ends the daemon in order and checks its exit status.
func (n *node) stop() {
	n.b.t.Helper()
	if err := n.Stop(); err != nil {
		n.b.t.Fatal(err)
	}
	if code := n.ExitCode(); code != 0 {
		n.b.t.Fatalf("%s on %s: exit status %d after SIGTERM:\n%s", n.Name, n.Machine, code, n.Output())
	}
}

// pair starts both daemons, the one with the higher priority first, and returns when one
// is Master and the other Backup.
func (b *bed) pair() (master, backup *node) {
	b.t.Helper()
	master = b.director(cluster.LBA)
	master.wait(changedState, "to=master")
	backup = b.director(cluster.LBB)
	backup.wait(changedState, "to=backup")
	return master, backup
}

// status asks a machine's daemon, the first time as an operator would. It is asked over and
// over, and on an emulated machine a process for each time would be most of a test's work.
func (b *bed) status(machine string) director.Status {
	b.t.Helper()
	if _, again := b.asked.LoadOrStore(machine, true); again {
		s, err := admin.NewClient(b.SocketPath(machine)).Status(b.ctx)
		if err != nil {
			b.t.Fatalf("status of %s: %v", machine, err)
		}
		return s
	}
	out, err := b.Command(machine, b.daemon, "status", "--json")
	if err != nil {
		b.t.Fatal(err)
	}
	var s director.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		b.t.Fatalf("status --json of %s: %v\n%s", machine, err, out)
	}
	return s
}

// operate runs one of the operator's commands on the first director.
func (b *bed) operate(args ...string) string {
	b.t.Helper()
	out, err := b.Command(cluster.LBA, b.daemon, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// vrrpProcess waits until a machine's virtual routers' process answers, and the next is
// ready, and returns it.
func (b *bed) vrrpProcess(machine string) director.ProcessStatus {
	b.t.Helper()
	var s *director.ProcessStatus
	b.until("the vrrp process of "+machine+" answers", func() bool {
		s = b.status(machine).VRRPProcess
		return s != nil && s.Up && !s.Answered.IsZero() && s.SparePID != 0
	})
	return *s
}

// signal sends a signal to one process.
func (b *bed) signal(pid int, s syscall.Signal) {
	b.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		b.t.Fatalf("signal process %d: %v", pid, err)
	}
}

// gone waits until a daemon and all that it started has ended.
func (n *node) gone() {
	n.b.t.Helper()
	select {
	case <-n.Done():
	case <-n.b.ctx.Done():
		n.b.t.Fatalf("a process of %s is still there:\n%s", n.Machine, n.Output())
	}
}

// answers waits until a machine's daemon can be asked, which is soon after it has started.
func (b *bed) answers(machine string) {
	b.t.Helper()
	b.until(machine+" answers", func() bool {
		_, err := b.Command(machine, b.daemon, "status")
		return err == nil
	})
}

// until waits until ok, which asks the kernel or a daemon, is true. For what no log line
// tells.
func (b *bed) until(what string, ok func() bool) {
	b.t.Helper()
	for ticker := time.Tick(50 * time.Millisecond); !ok(); {
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("%s: %v", what, context.Cause(b.ctx))
		case <-ticker:
		}
	}
}

// holds reports whether a machine has the virtual address.
func (b *bed) holds(machine string) bool {
	b.t.Helper()
	return b.holdsAddr(machine, cluster.VIP)
}

// alone reports whether a machine has all of the addresses and another none of them.
func (b *bed) alone(on, off string, addresses []netip.Addr) bool {
	b.t.Helper()
	for _, a := range addresses {
		if !b.holdsAddr(on, a) || b.holdsAddr(off, a) {
			return false
		}
	}
	return true
}

func (b *bed) holdsAddr(machine string, a netip.Addr) bool {
	b.t.Helper()
	holds, err := b.HoldsAddr(machine, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return holds
}

// settle waits until the kernel has made sure that nobody else has the directors' own IPv6
// addresses. keepalived sends nothing before it and does not take it for a fault.
func (b *bed) settle() {
	b.t.Helper()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until("the IPv6 addresses of "+machine+" are settled", func() bool {
			out := b.run(machine, "ip", "-6", "-o", "addr", "show", "dev", "eth0")
			return strings.Contains(out, "fe80::") && !strings.Contains(out, "tentative")
		})
	}
}

// run runs a command on a machine.
func (b *bed) run(machine, name string, args ...string) string {
	b.t.Helper()
	out, err := b.Run(machine, name, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}
