//go:build ipvs

package e2e

import (
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
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
