//go:build integration

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// The daemon is stopped for five seconds in the midst of checks that take most of their
// timeout: that all of them have run out says nothing about what they ask.
func TestAStoppedDaemonTakesNothingForDead(t *testing.T) {
	t.Parallel() // it waits most of its time
	const checks = 6
	b := newBed(t)
	var text, names strings.Builder
	for i := range checks {
		fmt.Fprintf(&text, "\n[track.slow-%d]\ntype = \"script\"\ncommand = [\"/bin/sleep\", \"0.7\"]\ninterval = \"800ms\"\ntimeout = \"2s\"\n", i)
		fmt.Fprintf(&names, "slow-%d = -1, ", i)
	}
	b.configure(strings.Replace(cluster.VRRP, "vrid ", "track = { "+strings.TrimSuffix(names.String(), ", ")+" }\nvrid ", 1) + text.String())
	n := b.director(cluster.LBA)
	b.answers(cluster.LBA)
	b.until("every check has a verdict", func() bool { return b.status(cluster.LBA).Ready })
	n.now()
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // nothing tells when it has stood still for long enough
	if err := n.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// Whatever it has taken for dead, it says at once. Then every check has been made again.
	time.Sleep(2 * time.Second)
	for _, track := range b.status(cluster.LBA).Tracks {
		if track.Status != "up" {
			t.Errorf("%s is %s: %s", track.Name, track.Status, track.Cause)
		}
	}
	if n := n.count(trackChanged, "to=down"); n != 0 {
		t.Errorf("%d checks were taken for dead", n)
	}
}
