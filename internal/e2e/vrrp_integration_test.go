//go:build integration

package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/lab/cluster"
)

func TestBackupTakesOverFromAMasterThatIsKilled(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	if !b.holds(cluster.LBA) || b.holds(cluster.LBB) {
		t.Fatal("the virtual address is not on the Master alone")
	}

	master.Kill()
	backup.wait(changedState, "to=master", "reason=master-down")
	b.until("lb-b has the virtual address", func() bool { return b.holds(cluster.LBB) })

	// What was killed left the address behind; its next start puts that right, whoever is
	// Master then.
	again := b.director(cluster.LBA)
	again.wait(changedState, "to=backup")
	again.wait(changedState, "to=master")
	backup.wait(changedState, "to=backup")
	b.until("the virtual address is on lb-a alone", func() bool {
		return b.holds(cluster.LBA) && !b.holds(cluster.LBB)
	})
}

func TestStopHandsOverAndLeavesNoAddress(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	before := b.run(cluster.LBA, "ip", "-4", "-o", "addr")
	master, backup := b.pair()
	backup.now()
	master.stop()
	backup.wait(changedState, "to=master", "reason=master-released")
	if after := b.run(cluster.LBA, "ip", "-4", "-o", "addr"); after != before {
		t.Errorf("addresses of lb-a after the stop:\n%swant as before the start:\n%s", after, before)
	}
	if _, err := os.Stat(b.SocketPath(cluster.LBA)); !os.IsNotExist(err) {
		t.Errorf("the admin socket is still there: %v", err)
	}
}

func TestLinkCutIsAFaultWithItsReason(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	master.now()
	backup.now()
	if err := b.Cut(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master.wait(changedState, "from=master", "to=fault", "no carrier")
	backup.wait(changedState, "to=master", "reason=master-down")
	b.until("lb-a gave the virtual address up", func() bool { return !b.holds(cluster.LBA) })
	r := b.status(cluster.LBA).VirtualRouters[0]
	if r.State != "fault" || !strings.Contains(r.Detail, "eth0") {
		t.Errorf("status: state %q, detail %q; want fault because of eth0", r.State, r.Detail)
	}

	if err := b.Mend(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master.wait(changedState, "from=fault", "to=backup")
	master.wait(changedState, "to=master")
	backup.wait(changedState, "to=backup")
}

func TestReloadChangesAndRefuses(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	hash := b.status(cluster.LBA).Config.Hash

	b.configure(strings.Replace(cluster.VRRP, `["10.0.0.100/24"]`, `["10.0.0.100/24", "10.0.0.101/24"]`, 1))
	out, err := b.Command(cluster.LBA, b.daemon, "plan")
	want := "# a reload of " + b.daemon.Config + " would do this:\n# changed vrrp.web.virtual_addresses\nip addr add 10.0.0.101/24 dev eth0  # vrrp web\n"
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || out != want {
		t.Errorf("hadirector plan: %v\n%swant\n%s", err, out, want)
	}
	if err := n.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.until("the new virtual address is there", func() bool {
		return strings.Contains(b.run(cluster.LBA, "ip", "-4", "-o", "addr"), " 10.0.0.101/24")
	})
	applied := b.status(cluster.LBA)
	if applied.Config.Hash == hash || !applied.Config.LastReload.OK {
		t.Errorf("status after the reload: %+v, want another hash than %s, and ok", applied.Config, hash)
	}
	if n.count(changedState, "from=master") != 0 {
		t.Error("the reload gave mastership away")
	}

	b.configure(strings.Replace(cluster.VRRP, "vrid", "vird", 1))
	if err := n.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.wait(`unknown key \"vird\"`)
	b.until("status names the failed reload", func() bool { return !b.status(cluster.LBA).Config.LastReload.OK })
	refused := b.status(cluster.LBA)
	if refused.Config.Hash != applied.Config.Hash {
		t.Errorf("hash %s after a failed reload, want %s", refused.Config.Hash, applied.Config.Hash)
	}
	if _, err := b.Command(cluster.LBA, b.daemon, "reload"); err == nil || !strings.Contains(err.Error(), "vird") {
		t.Errorf("hadirector reload = %v, want the mistake", err)
	}
	before := b.operate("events")
	mistakes, err := b.Run(cluster.LBA, b.daemon.Binary, "check", "-c", b.daemon.Config)
	if err == nil || !strings.Contains(mistakes, "vird") {
		t.Fatalf("hadirector check: %v: %s", err, mistakes)
	}
	if out, err := b.Command(cluster.LBA, b.daemon, "plan"); out != "" || err == nil || !strings.HasSuffix(err.Error(), "exit status 1: "+mistakes) {
		t.Errorf("hadirector plan = %v, want %s%s", err, mistakes, out)
	}
	b.configure(strings.Replace(cluster.VRRP, "[admin]", "[log]\nformat = \"json\"\n[admin]", 1))
	if out, err := b.Command(cluster.LBA, b.daemon, "plan"); out != "" || err == nil || !strings.Contains(err.Error(), "exit status 1: hadirector: [log] format changed in "+b.daemon.Config) {
		t.Errorf("hadirector plan = %v, want what a reload refuses\n%s", err, out)
	}
	if diff := cmp.Diff(before, b.operate("events")); diff != "" {
		t.Errorf("plans are in the journal:\n%s", diff)
	}
	if r := refused.VirtualRouters[0]; r.State != "master" || len(r.VirtualAddresses) != 2 {
		t.Errorf("status after a failed reload: %+v, want the Master of two addresses still", r)
	}
}
