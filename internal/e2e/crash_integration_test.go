//go:build integration

package e2e

import (
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// A daemon that follows a killed one takes away what that one left, also an address that
// the file no longer names.
func TestStartAfterAKillWithAnotherAddress(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	before := b.run(cluster.LBA, "ip", "-4", "-o", "addr")
	killed := b.director(cluster.LBA)
	killed.wait(changedState, "to=master")
	killed.Kill()
	if !b.holds(cluster.LBA) {
		t.Fatal("the killed daemon left no address: there is nothing to test")
	}

	b.configure(strings.Replace(cluster.VRRP, "10.0.0.100/24", "10.0.0.107/24", 1))
	again := b.director(cluster.LBA)
	again.wait("addresses of an earlier run released", "10.0.0.100/24")
	again.wait(changedState, "to=master")
	if b.holds(cluster.LBA) {
		t.Error("the old virtual address is still there")
	}
	again.stop()
	if after := b.run(cluster.LBA, "ip", "-4", "-o", "addr"); after != before {
		t.Errorf("addresses of lb-a after the stop:\n%swant as before the start:\n%s", after, before)
	}
}

// The daemon outlives whoever reads its log: it must not leave its addresses behind only
// because a terminal was closed.
func TestLogReaderThatGoesAway(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	dir := b.MachineDir(cluster.LBA)
	p, err := b.Start(cluster.LBA, "shell", "sh", "-c", `{ "$@" 2>&1; echo "daemon ended with $?" >&2; } | head -n 1`,
		"sh", b.daemon.Binary, "run", "-c", b.daemon.Config, "--director", cluster.LBA, "--runtime-dir", dir+"/run", "--state-dir", dir+"/state")
	if err != nil {
		t.Fatal(err)
	}
	shell := &node{Process: p, b: b}
	shell.wait("msg=starting") // the one line that head reads
	b.until("lb-a is Master, and has logged it to nobody", func() bool { return b.holds(cluster.LBA) })
	if s := b.status(cluster.LBA).VirtualRouters[0]; s.State != "master" {
		t.Errorf("state %s, want master", s.State)
	}
	if n := shell.count("daemon ended"); n != 0 {
		t.Errorf("the daemon has ended:\n%s", shell.Output())
	}
}
