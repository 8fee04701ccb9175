//go:build integration

package e2e

import (
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// The Backup of lower priority takes over on request and keeps it, until it is asked in
// its turn. At no time is the address on nobody.
func TestSwitchover(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()

	out, err := b.Command(cluster.LBB, b.daemon, "switchover")
	if err == nil || !strings.Contains(err.Error(), "director lb-b is Master of nothing") {
		t.Errorf("asked on the Backup: %v, %q", err, out)
	}
	out, err = b.Command(cluster.LBA, b.daemon, "switchover", "mail")
	if err == nil || !strings.Contains(err.Error(), "there is no [vrrp.mail]") {
		t.Errorf("asked for an unknown instance: %v, %q", err, out)
	}

	out, err = b.Command(cluster.LBA, b.daemon, "switchover")
	if err != nil || !strings.HasPrefix(out, "web: lb-b is Master, after ") {
		t.Fatalf("asked on the Master: %v, %q", err, out)
	}
	backup.wait(changedState, "to=master", "reason=master-released")
	master.wait(changedState, "to=backup", "reason=switchover")
	b.until("lb-b alone has the address", func() bool { return !b.holds(cluster.LBA) && b.holds(cluster.LBB) })
	if r := b.status(cluster.LBA).VirtualRouters[0]; r.Preempt || r.SwitchedOver.IsZero() || r.Master != "lb-b" {
		t.Errorf("status of lb-a: preempt %v, switched over %v, Master %q", r.Preempt, r.SwitchedOver, r.Master)
	}

	master.now()
	if out, err = b.Command(cluster.LBB, b.daemon, "switchover", "web"); err != nil {
		t.Fatalf("back again: %v, %q", err, out)
	}
	master.wait(changedState, "to=master", "reason=master-released")
	b.until("lb-a alone has the address", func() bool { return b.holds(cluster.LBA) && !b.holds(cluster.LBB) })
	if n := master.count(changedState, "to=master"); n != 2 {
		t.Errorf("lb-a became Master %d times, want twice", n)
	}

	// With nobody to take over, it stays.
	backup.stop()
	out, err = b.Command(cluster.LBA, b.daemon, "switchover")
	if err == nil || !strings.Contains(err.Error(), "web: nobody took over, this director is master") {
		t.Errorf("asked alone: %v, %q", err, out)
	}
	if !b.holds(cluster.LBA) {
		t.Error("lb-a has lost the address")
	}
	master.stop()
}
