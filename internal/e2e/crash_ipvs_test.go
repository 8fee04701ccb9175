//go:build ipvs

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// What happens to the Master, in this order.
const (
	killedVRRP   = "SIGKILL of the VRRP process"
	killedDaemon = "SIGKILL of the daemon"
	killedBoth   = "SIGKILL of both, and a restart"
	stalled      = "SIGSTOP of both for 5 s"
)

// stall is how long a machine stands still.
const stall = 5 * time.Second

// crasher is a program that is crashed on lb-a.
type crasher struct {
	b     *bed
	start func(machine string) *node
	child func() int // the id of its VRRP process on lb-a
	// baseline says that it is another's: what its clients lose is told, and no failure.
	baseline bool

	isMaster, isBackup []string // parts of the log lines of these states
	respawned          string   // and of a VRRP process that follows a killed one
}

func (b *bed) ours() crasher {
	b.configureServices("")
	return crasher{
		b: b, start: b.director, child: func() int { return b.vrrpProcess(cluster.LBA).PID },
		isMaster: []string{changedState, "to=master"}, isBackup: []string{changedState, "to=backup"},
		respawned: "vrrp process ended, started again",
	}
}

func (b *bed) theirs() crasher {
	return crasher{
		b: b, start: func(machine string) *node {
			priority := map[string]int{cluster.LBA: 150, cluster.LBB: 100}[machine]
			return b.keepalived(machine, cluster.Keepalived{Priority: priority, Interval: advertInterval, Services: true})
		},
		child: func() int {
			b.t.Helper()
			text, err := os.ReadFile(filepath.Join(b.MachineDir(cluster.LBA), "vrrp_pid"))
			if err != nil {
				b.t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				b.t.Fatal(err)
			}
			return pid
		},
		isMaster: []string{"Entering MASTER STATE"}, isBackup: []string{"Entering BACKUP STATE"},
		respawned: "Respawning", baseline: true,
	}
}

// A Master's processes are killed and stopped while clients use the services: what they see
// of it, and that their connections go on. keepalived goes through the same in the same
// minutes, because an emulated machine is slow for both.
func TestCrashesWithClients(t *testing.T) {
	var theirs, ours map[string]time.Duration
	t.Run("keepalived", func(t *testing.T) { theirs = newBed(t).theirs().crash() })
	t.Run("hadirector", func(t *testing.T) { ours = newBed(t).ours().crash() })
	if t.Failed() {
		return
	}
	for _, name := range []string{killedVRRP, killedDaemon, killedBoth, stalled} {
		t.Logf("%-30s client-visible gap: hadirector %v, keepalived %v, ratio %.2f",
			name, ours[name], theirs[name], float64(ours[name])/float64(theirs[name]))
		if ours[name] > max(gapBound, theirs[name]) {
			t.Errorf("%s: client-visible gap %v, want at most %v", name, ours[name], gapBound)
		}
	}
}

// crash runs the program on both directors, and lets everything happen to lb-a's. It returns
// the client-visible gaps.
func (c crasher) crash() map[string]time.Duration {
	b := c.b
	b.t.Helper()
	b.serve()
	master := c.start(cluster.LBA)
	master.wait(c.isMaster...)
	backup := c.start(cluster.LBB)
	backup.wait(c.isBackup...)
	tr := b.traffic()
	tr.baseline = c.baseline
	tr.open(cluster.LBB)
	gaps := make(map[string]time.Duration)
	one := func() bool { return b.holds(cluster.LBA) != b.holds(cluster.LBB) }
	back := func() { // lb-a is Master again, and clients are served
		b.t.Helper()
		b.until("lb-a alone has the address", func() bool { return b.holds(cluster.LBA) && !b.holds(cluster.LBB) })
		tr.over(time.Now())
		master.now()
		backup.now()
	}

	begin := time.Now()
	b.signal(c.child(), syscall.SIGKILL)
	master.wait(c.respawned)
	master.wait(c.isMaster...)
	gaps[killedVRRP] = tr.over(begin)
	back()

	begin = time.Now()
	if err := master.Signal(syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	backup.wait(c.isMaster...)
	gaps[killedDaemon] = tr.over(begin)
	master.gone()
	if b.holds(cluster.LBA) {
		b.t.Error("the killed daemon's address is still there when its VRRP process is gone")
	}
	master = c.start(cluster.LBA)
	master.wait(c.isMaster...)
	back()

	begin = time.Now()
	master.Kill()
	master = c.start(cluster.LBA) // as systemd would
	master.wait(c.isBackup...)
	b.until("one director has the address", one)
	gaps[killedBoth] = tr.over(begin)
	master.wait(c.isMaster...)
	back()

	begin = time.Now()
	child := c.child()
	// All at once, as when the machine stands still; keepalived's child has a group of its own.
	group := -master.PID()
	b.signal(group, syscall.SIGSTOP)
	b.signal(child, syscall.SIGSTOP)
	backup.wait(c.isMaster...)
	time.Sleep(time.Until(begin.Add(stall)))
	b.signal(group, syscall.SIGCONT)
	b.signal(child, syscall.SIGCONT)
	b.until("one director has the address", one)
	gaps[stalled] = tr.over(begin)
	back()
	return gaps
}
