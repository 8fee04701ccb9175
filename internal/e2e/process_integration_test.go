//go:build integration

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
)

// The log lines about the virtual routers' process.
const (
	startedAgain  = "vrrp process ended, started again"
	handsOver     = "the daemon ended, handing mastership over"
	noLongerThere = "vrrp process of an earlier run killed"
	stays         = "addresses of an earlier run stay until another director is heard as master"
)

// vips are the virtual addresses of cluster.VRRP.
var vips = []netip.Addr{cluster.VIP}

// hears waits until a Backup has received more advertisements than before, which takes
// longer than its Master_Down_Interval.
func (b *bed) hears(machine string) {
	b.t.Helper()
	count := func() uint64 { return b.status(machine).VirtualRouters[0].Counters.AdvertsReceived }
	before := count()
	b.until(machine+" hears the Master", func() bool { return count() >= before+10 })
}

// The process is real-time where the test may make it so, which root may.
func TestVRRPProcessIsRealTime(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	b.director(cluster.LBA).wait(changedState, "to=master")
	s := b.vrrpProcess(cluster.LBA)
	if s.Scheduling != "rr" || !s.Locked || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
	proc := "/proc/" + strconv.Itoa(s.PID)
	threads, err := filepath.Glob(proc + "/task/*/stat")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		// The policy is the 41st field (proc(5)); the second, in brackets, may hold spaces.
		_, rest, _ := strings.Cut(string(stat), ") ")
		if policy := strings.Fields(rest)[38]; policy != "2" {
			t.Errorf("%s: scheduling policy %s, want 2, SCHED_RR", name, policy)
		}
	}
	if comm, _ := os.ReadFile(proc + "/comm"); string(comm) != "hadirector-vrrp\n" {
		t.Errorf("its name is %q", comm)
	}
}

// The process that runs VRRP is killed: the next one goes on where it was, and neither the
// peer nor a client notices.
func TestKilledVRRPProcessIsAdopted(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	child := b.vrrpProcess(cluster.LBA)
	monitor, err := b.Start(cluster.LBA, "monitor", "ip", "-o", "monitor", "address")
	if err != nil {
		t.Fatal(err)
	}
	b.signal(child.PID, syscall.SIGKILL)
	master.wait(startedAgain, "signal: killed")
	master.wait(changedState, "to=master", "reason=adopted")
	b.hears(cluster.LBB)

	if n := backup.count(changedState, "to=master"); n != 0 {
		t.Error("the peer became Master")
	}
	if text := monitor.Output(); strings.Contains(text, "Deleted") {
		t.Errorf("the virtual address was away:\n%s", text)
	}
	again := b.vrrpProcess(cluster.LBA)
	if again.PID != child.SparePID || again.Restarts != 1 {
		t.Errorf("status %+v after %+v", again, child)
	}
	if !b.alone(cluster.LBA, cluster.LBB, vips) {
		t.Error("the virtual address is not on lb-a alone")
	}
	master.stop()
	backup.wait(changedState, "to=master")
	if b.holds(cluster.LBA) {
		t.Error("the virtual address is still there after the stop")
	}
}

// The daemon is killed: its virtual routers' process hands over, and ends.
func TestKilledDaemonHandsOver(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	begin := time.Now()
	if err := master.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	took := backup.wait(changedState, "to=master", "reason=master-released")
	b.until("the virtual address is on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, vips) })
	if d := time.Since(begin); d > time.Second {
		t.Errorf("that took %v", d)
	}
	t.Logf("the peer was Master after %v", took.At.Sub(begin))
	master.gone()
	master.wait(handsOver)
	master.wait(changedState, "to=backup", "reason=switchover")

	// And back: the next start finds a clean machine.
	again := b.director(cluster.LBA)
	again.wait(changedState, "to=master")
	backup.wait(changedState, "to=backup")
	if again.count(noLongerThere) != 0 {
		t.Error("there was a process to end")
	}
}

// A Backup's daemon that is killed leaves nothing running.
func TestKilledBackupEnds(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	_, backup := b.pair()
	if err := backup.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	backup.gone()
}

// Without a peer the killed daemon's virtual routers go on, until the daemon is back.
func TestStartBesideAnOrphan(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	before := b.run(cluster.LBA, "ip", "-4", "-o", "addr")
	killed := b.director(cluster.LBA)
	killed.wait(changedState, "to=master")
	if err := killed.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed.wait(handsOver)
	if !b.holds(cluster.LBA) {
		t.Fatal("nobody has the virtual address")
	}
	again := b.director(cluster.LBA)
	again.wait(noLongerThere)
	killed.gone()
	again.wait(changedState, "to=master")

	// A second one is refused, and disturbs nobody.
	second := b.director(cluster.LBA)
	second.gone()
	if code := second.ExitCode(); code != 1 || second.count("another hadirector is running with") != 1 {
		t.Errorf("exit status %d:\n%s", code, second.Output())
	}
	if !b.holds(cluster.LBA) {
		t.Error("the virtual address is gone")
	}
	again.stop()
	if after := b.run(cluster.LBA, "ip", "-4", "-o", "addr"); after != before {
		t.Errorf("addresses of lb-a after the stop:\n%swant as before the start:\n%s", after, before)
	}
	if left, err := filepath.Glob(filepath.Join(b.MachineDir(cluster.LBA), "run", "*.json")); err != nil || len(left) > 1 {
		t.Errorf("left in the runtime directory: %v, %v", left, err)
	}
}

// Without a peer the killed daemon's virtual routers go on, until a director comes, also
// one that preempts nobody.
func TestOrphanGivesWayToWhoeverComes(t *testing.T) {
	t.Parallel() // it waits most of its time
	for name, config := range map[string]string{
		"preempt":    cluster.VRRP,
		"no preempt": strings.Replace(cluster.VRRP, "vrid ", "preempt = false\nvrid ", 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.configure(config)
			killed := b.director(cluster.LBA)
			killed.wait(changedState, "to=master")
			if err := killed.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed.wait(handsOver)
			b.director(cluster.LBB).wait(changedState, "to=master")
			killed.gone()
			if !b.alone(cluster.LBB, cluster.LBA, vips) {
				t.Error("the virtual address is not on lb-b alone")
			}
		})
	}
}

// Both processes are killed: the address stays, the peer takes over, and the next start
// mends it.
func TestBothProcessesKilled(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	master.Kill()
	backup.wait(changedState, "to=master", "reason=master-down")
	again := b.director(cluster.LBA)
	again.wait(stays)
	again.wait(changedState, "to=master", "reason=preempt")
	backup.wait(changedState, "to=backup")
	if !b.alone(cluster.LBA, cluster.LBB, vips) {
		t.Error("the virtual address is not on lb-a alone")
	}
}

// A daemon that finds what a killed one left, and is stopped before its virtual router has
// begun, leaves nothing either.
func TestStopRightAfterARestart(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	before := b.run(cluster.LBA, "ip", "-4", "-o", "addr")
	master := b.director(cluster.LBA)
	master.wait(changedState, "to=master")
	b.vrrpProcess(cluster.LBA)
	master.Kill()
	again := b.director(cluster.LBA)
	again.wait(stays)
	again.stop()
	again.gone()
	if after := b.run(cluster.LBA, "ip", "-4", "-o", "addr"); after != before {
		t.Errorf("addresses of lb-a after the stop:\n%swant as before the start:\n%s", after, before)
	}
}

// A daemon that cannot start does not touch what a killed one's VRRP process goes on with.
func TestOrphanOutlivesAStartThatFails(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master := b.director(cluster.LBA)
	master.wait(changedState, "to=master")
	if err := master.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	master.wait(handsOver)
	b.configure(strings.Replace(cluster.VRRP, cluster.Socket, "/proc/self/admin.sock", 1))
	again := b.director(cluster.LBA)
	again.gone()
	if again.ExitCode() != 1 || again.count(noLongerThere) != 0 {
		t.Errorf("exit status %d:\n%s", again.ExitCode(), again.Output())
	}
	b.configure(cluster.VRRP)
	b.director(cluster.LBB).wait(changedState, "to=master")
	master.gone()
	b.until("the virtual address is on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, vips) })
}

// With accept = false nobody gets an answer from a director itself, also not between its
// restart and its mastership.
func TestRefusedAddressOverARestart(t *testing.T) {
	for name, more := range map[string]string{"own link": "vmac = true\n", "interface": ""} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.configure(strings.Replace(cluster.VRRP, "vrid ", "accept = false\n"+more+"vrid ", 1))
			master := b.director(cluster.LBA)
			master.wait(changedState, "to=master")
			master.Kill()
			p := b.ping(cluster.VIP)
			b.until("the client asks", func() bool { sent, _ := p.Count(); return sent > 10 })
			b.director(cluster.LBA).wait(changedState, "to=master")
			if sent, answered := p.Count(); answered > 0 {
				t.Errorf("the director answered %d of %d requests", answered, sent)
			}
		})
	}
}

// While there is a daemon, the process ignores the signals that stop one.
func TestVRRPProcessLeavesSignalsToTheDaemon(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	child := b.vrrpProcess(cluster.LBA)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		b.signal(child.PID, s)
	}
	b.hears(cluster.LBB)
	if again := b.vrrpProcess(cluster.LBA); again.PID != child.PID {
		t.Errorf("process %d is now %d:\n%s", child.PID, again.PID, master.Output())
	}
	if backup.count(changedState, "to=master") != 0 {
		t.Error("the peer became Master")
	}
}

// A process that hangs is killed. Its mastership is not resumed, because the peer has it.
func TestHungVRRPProcessIsReplaced(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(strings.Replace(cluster.VRRP, "vrid ", "preempt = false\nvrid ", 1))
	master, backup := b.pair()
	b.hang(b.vrrpProcess(cluster.LBA).PID)
	backup.wait(changedState, "to=master", "reason=master-down")
	master.wait(startedAgain, "no answer")
	master.wait(changedState, "to=stopped")
	master.wait(changedState, "to=backup")
	b.until("the virtual address is on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, vips) })
}

// hang keeps all threads of a process from running, as a debugger does: no signal tells its
// parent.
func (b *bed) hang(pid int) {
	b.t.Helper()
	attached, let := make(chan error), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the tracer is this thread, and ends with it
		attached <- traceAll(pid)
		<-let
	}()
	b.t.Cleanup(func() { close(let); <-ended })
	if err := <-attached; err != nil {
		b.t.Fatal(err)
	}
}

// traceAll attaches the calling thread to every thread of a process, and interrupts it.
func traceAll(pid int) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = unix.PtraceSeize(tid)
		}
		if err == nil {
			err = unix.PtraceInterrupt(tid)
		}
		if err != nil {
			return fmt.Errorf("stop thread %s of process %d: %w", thread.Name(), pid, err)
		}
	}
	return nil
}

// A machine that stands still for longer than the peer waits: one Master at the end, and
// nobody is killed for it.
func TestStalledMachine(t *testing.T) {
	b := newBed(t)
	b.configure(strings.Replace(cluster.VRRP, "vrid ", "preempt = false\nvrid ", 1))
	master, backup := b.pair()
	child := b.vrrpProcess(cluster.LBA)
	group := -master.PID()
	stopped := time.Now()
	b.signal(group, syscall.SIGSTOP)
	backup.wait(changedState, "to=master", "reason=master-down")
	b.until("five seconds have passed", func() bool { return time.Since(stopped) > 5*time.Second })
	b.signal(group, syscall.SIGCONT)
	begin := time.Now()
	master.wait(changedState, "to=backup")
	b.until("the virtual address is on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, vips) })
	t.Logf("alone %v after the return", time.Since(begin))
	b.hears(cluster.LBA)
	if again := b.vrrpProcess(cluster.LBA); again.PID != child.PID {
		t.Errorf("process %d is now %d:\n%s", child.PID, again.PID, master.Output())
	}
	if backup.count(changedState, "to=backup", "from=master") != 0 {
		t.Error("the peer did not stay Master")
	}
}

// A daemon that hangs gives mastership away, and takes it back when it goes on.
func TestHungDaemonHandsOver(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	child := b.vrrpProcess(cluster.LBA)
	if err := master.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	backup.wait(changedState, "to=master", "reason=master-released")
	b.until("the virtual address is on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, vips) })
	if err := master.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	master.wait("the daemon answers again")
	backup.wait(changedState, "to=backup", "reason=higher-priority")
	if again := b.vrrpProcess(cluster.LBA); again.PID != child.PID {
		t.Errorf("process %d is now %d:\n%s", child.PID, again.PID, master.Output())
	}
}

// A process that ends again and again hands over, and is trusted again after a while.
func TestVRRPProcessThatKeepsCrashing(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	for range 2 {
		b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGKILL)
		master.wait(startedAgain)
		master.wait(changedState, "to=master", "reason=adopted")
	}
	b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGKILL)
	master.wait("vrrp process ended again, started again and giving way to other directors", "duration=1s")
	// The peer may hear the priority that gives way before the release, and take over for that.
	backup.wait(changedState, "to=master")
	master.wait(changedState, "to=backup")
	master.wait(changedState, "to=master", "reason=preempt")
	b.until("the virtual address is on lb-a alone", func() bool { return b.alone(cluster.LBA, cluster.LBB, vips) })
}
