//go:build ipvs && long

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// twoLinks gives the streams both networks.
var twoLinks = strings.NewReplacer(
	`address  = "10.0.0.11"`, "address = \"10.0.0.11\"\nsync_addresses = [\"10.1.0.11\", \"10.0.0.11\"]",
	`address  = "10.0.0.12"`, "address = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\", \"10.0.0.12\"]",
)

// impair loses a tenth of a director's packets of sync on every link, and has the others
// wait for 50 ms.
func (b *bed) impair(machine string) {
	b.t.Helper()
	for _, dev := range []string{"eth0", "eth1"} {
		var script strings.Builder
		fmt.Fprintf(&script, "tc qdisc add dev %s root handle 1: prio bands 4\n", dev)
		fmt.Fprintf(&script, "tc qdisc add dev %s parent 1:4 handle 40: netem loss 10%% delay 50ms\n", dev)
		for _, end := range []string{"sport", "dport"} {
			fmt.Fprintf(&script, "tc filter add dev %s parent 1: protocol ip u32 match ip protocol 6 0xff match ip %s 9652 0xffff flowid 1:4\n", dev, end)
		}
		b.run(machine, "sh", "-ec", script.String())
	}
}

// linksUp is how many links a director has to its peer.
func (b *bed) linksUp(machine string) (n int) {
	b.t.Helper()
	for _, l := range b.syncPeer(machine).Links {
		if l.Connected {
			n++
		}
	}
	return n
}

func (b *bed) waitLinks(n int) {
	b.t.Helper()
	b.until(fmt.Sprintf("%d links are up", n), func() bool { return b.linksUp(cluster.LBA) == n && b.linksUp(cluster.LBB) == n })
}

// On a network that loses and delays sync's packets, one of the two links is cut, which
// nobody notices, and then both, while clients go on. When they are back so is everything
// that was opened meanwhile, and the Master dies.
func TestSyncOverABadNetwork(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.run("switch", "modprobe", "-a", "sch_prio", "sch_netem", "cls_u32")
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.impair(machine)
	}
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	h, master, backup := b.hold(twoLinks, fmt.Sprintf("[sync]\nkey_file = %q\n", key))
	h.open(20)
	h.recovered("the start")
	b.waitLinks(2)

	if err := b.IP("switch", "link set lb-a-sync down"); err != nil {
		t.Fatal(err)
	}
	b.waitLinks(1)
	h.recovered("the cut of one link")
	for _, n := range []*node{master, backup} {
		if n.count("no longer in sync") > 0 {
			t.Errorf("the cut of one link has interrupted sync on %s", n.Machine)
		}
	}
	if err := b.IP("switch", "link set lb-a-sync up"); err != nil {
		t.Fatal(err)
	}
	b.waitLinks(2)

	b.run(cluster.LBA, "nft", "add table ip cut; add chain ip cut in { type filter hook input priority 0; }; "+
		"add rule ip cut in tcp dport 9652 drop; add rule ip cut in tcp sport 9652 drop")
	b.waitLinks(0)
	known := h.inKernel(cluster.LBB)
	h.open(10)
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		if p := b.syncPeer(machine); p.State != "connecting" || p.Why == "" {
			t.Errorf("%s, which is cut off, is %q: %q", machine, p.State, p.Why)
		}
	}
	if n := h.inKernel(cluster.LBB); n != known {
		t.Fatalf("lb-b has heard of %d connections over a link that is cut", n-known)
	}
	b.run(cluster.LBA, "nft", "delete table ip cut")
	h.recovered("the cut of all links")

	h.failOver(backup)
	h.failBack(master)
	h.recovered("the failback")
}
