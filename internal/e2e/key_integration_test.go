//go:build integration

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// The cluster's key is exchanged while both directors run, one reload after the other.
// At no step does one lose sight of the other.
func TestKeyIsExchangedWithoutAGap(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	key := b.members("hold")
	b.peered()
	for _, step := range []string{"--rotate", "--retire"} {
		b.run(cluster.LBA, b.daemon.Binary, "keygen", step, key)
		for _, machine := range []string{cluster.LBA, cluster.LBB} {
			if _, err := b.Command(machine, b.daemon, "reload"); err != nil {
				t.Fatal(err)
			}
			// A director that is not heard is given up within a second.
			time.Sleep(1200 * time.Millisecond)
		}
	}
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		events := b.events(machine)
		if lost, joined := strings.Count(events, "peer-lost")+strings.Count(events, "peer-left"), strings.Count(events, "peer-joined"); lost != 0 || joined != 1 {
			t.Errorf("%s has lost sight of its peer %d times and found it %d times:\n%s", machine, lost, joined, events)
		}
		if p := b.status(machine).Peers[0]; !p.Alive {
			t.Errorf("%s: %+v", machine, p)
		}
	}
	if s := b.status(cluster.LBA).Sync; s.PeersError != "" {
		t.Error(s.PeersError)
	}
}
