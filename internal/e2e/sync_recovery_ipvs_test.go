//go:build ipvs && long

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
)

// mastersStandstill is how long the Master's daemon stands still: longer than its peer waits
// for it, and less than its virtual routers do. These would be handed over, to a director
// that was not told of what clients opened meanwhile.
const mastersStandstill = 6 * time.Second

// Whatever happens to a daemon or to what it needs of its kernel, on either side: the pair
// comes back to "in sync" by itself, with what was opened meanwhile, and no connection is lost.
func TestSyncRecovers(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	h, master, backup := b.hold(strings.NewReplacer(), fmt.Sprintf("[sync]\nkey_file = %q\n", key))
	h.open(20)
	h.recovered("the start")

	both := []string{cluster.LBA, cluster.LBB}
	for _, machine := range both {
		b.run(machine, "ipvsadm", "--stop-daemon", "master")
		b.run(machine, "ipvsadm", "--stop-daemon", "backup")
	}
	h.recovered("the stop of the kernel's daemons")
	for _, machine := range both {
		b.run(machine, "ip", "link", "del", "hasync0")
	}
	h.recovered("the loss of the private interface")

	b.standstills(h, master, backup)

	backup.Kill()
	b.fillState(cluster.LBB)
	backup = b.director(cluster.LBB)
	backup.wait("in sync with peer")
	h.recovered("SIGKILL of the Backup, whose disk is full")

	backup.now()
	master.Kill()
	h.master = cluster.LBB
	backup.wait(changedState, "to=master")
	h.kept("after SIGKILL of the Master")
	b.fillState(cluster.LBA)
	master = b.director(cluster.LBA)
	master.wait(changedState, "to=master")
	h.master = cluster.LBA
	h.recovered("SIGKILL of the Master, whose disk is full")

	h.failOver(backup)
}

// standstills has the daemons stand still, one after the other.
func (b *bed) standstills(h *held, master, backup *node) {
	b.t.Helper()
	backup.standStill(10*time.Second, func() { h.open(5) })
	h.recovered("a standstill of the Backup")
	master.standStill(mastersStandstill, func() { h.open(5) })
	h.recovered("a standstill of the Master")
	if !b.holds(cluster.LBA) || b.holds(cluster.LBB) {
		b.t.Error("a daemon that stood still has lost its addresses")
	}
	// One that does not come back has its virtual routers handed over.
	master.now()
	backup.now()
	b.signal(master.PID(), syscall.SIGSTOP)
	backup.wait(changedState, "to=master")
	b.signal(master.PID(), syscall.SIGCONT)
	master.wait(changedState, "to=master")
	h.recovered("a long standstill of the Master")
}

// standStill has a daemon stand still for so long, in which something happens.
func (n *node) standStill(d time.Duration, happens func()) {
	n.b.t.Helper()
	n.b.signal(n.PID(), syscall.SIGSTOP)
	end := time.Now().Add(d)
	happens()
	time.Sleep(time.Until(end))
	n.b.signal(n.PID(), syscall.SIGCONT)
}

// fillState gives a machine's daemon a state directory without room for a byte.
func (b *bed) fillState(machine string) {
	b.t.Helper()
	dir := filepath.Join(b.MachineDir(machine), "state")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		b.t.Fatalf("mount a small file system on %s: %v", dir, err)
	}
	b.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // what is left of it goes with the machine
	err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 1<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		b.t.Fatalf("a file of 1 MB on a file system of 16 KB: %v, want %v", err, syscall.ENOSPC)
	}
}
