//go:build ipvs

package e2e

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// syncPeer is what a director says of its only peer.
func (b *bed) syncPeer(machine string) director.SyncPeerStatus {
	b.t.Helper()
	s := b.status(machine).Sync
	if s == nil || s.RelayStatus == nil || len(s.Peers) != 1 {
		return director.SyncPeerStatus{}
	}
	return s.Peers[0]
}

// inSync waits until both directors say that they have the same n connections, or more.
func (b *bed) inSync(n int) {
	b.t.Helper()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+" is in sync", func() bool {
			p := b.syncPeer(machine)
			return p.State == "in sync" && p.Here == p.There && p.Here >= n
		})
	}
}

// Connections that were opened before the standby was there go on when the Master dies, and
// when it comes back as after a reboot and takes over again.
func TestConnectionsOlderThanTheStandbySurvive(t *testing.T) {
	b := newBed(t)
	b.serve()
	b.configureServices("")
	master := b.director(cluster.LBA)
	master.wait("to=master")
	conns, err := load.Open(b.ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), openConns, time.Second,
		func() error { return b.Enter(cluster.Client) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conns.Close)
	backup := b.director(cluster.LBB)
	backup.wait("in sync with peer")
	b.inSync(openConns)
	if p := b.syncPeer(cluster.LBA); p.LastFullSync.IsZero() || p.FullSyncsSent == 0 {
		t.Errorf("no full sync: %+v", p)
	}

	allKept := func(what string) {
		t.Helper()
		if kept, lost := conns.Kept(b.ctx, time.Now()); kept != openConns {
			t.Fatalf("%s: kept %d of %d connections, lost %v", what, kept, openConns, lost)
		}
	}
	backup.now()
	if err := b.Cut(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master.Kill()
	backup.wait("to=master")
	allKept("after the failover")

	// The old Master comes back as after a reboot: its kernel knows nothing.
	b.run(cluster.LBA, "ipvsadm", "-C")
	b.run(cluster.LBA, "ipvsadm", "--stop-daemon", "master")
	b.run(cluster.LBA, "ipvsadm", "--stop-daemon", "backup")
	b.run(cluster.LBA, "ip", "link", "del", "hasync0")
	if err := b.Mend(cluster.LBA); err != nil {
		t.Fatal(err)
	}
	master = b.director(cluster.LBA)
	master.wait("to=master")
	allKept("after the failback")
	b.inSync(openConns)
}
