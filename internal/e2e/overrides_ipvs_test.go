//go:build ipvs

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// operateOn runs one of the operator's commands on a director.
func (b *bed) operateOn(machine string, args ...string) string {
	b.t.Helper()
	out, err := b.Command(machine, b.daemon, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// override is what a director says of the live change of the echo service's second real
// server.
func (b *bed) override(machine string) *director.OverrideStatus {
	b.t.Helper()
	for _, v := range b.status(machine).VirtualServers {
		for _, r := range v.RealServers {
			if v.Name == "echo" && r.Name == "rs-2" {
				return r.Override
			}
		}
	}
	b.t.Fatalf("%s has no echo/rs-2", machine)
	return nil
}

// hear waits until both directors hear each other on the membership, or neither does.
func (b *bed) hear(each bool) {
	b.t.Helper()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until("the membership of "+machine, func() bool {
			s := b.status(machine)
			return len(s.Peers) == 1 && s.Peers[0].Alive == each
		})
	}
}

// A drain is the whole cluster's: it holds on the new Master, over the crash of the
// director where it was made, and ends wherever it is ended, also by a director that did
// not hear of it.
func TestDrainOfTheWholeCluster(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("")
	// Who is Master is to change when the test says so, on a slow machine too.
	b.configure(strings.Replace(b.configuration(), "[vrrp.web]\n", "[vrrp.web]\nadvert_interval = \"1s\"\n", 1))
	a, other := b.pair()
	b.hear(true)
	both := func(table []string) {
		t.Helper()
		b.waitTable(cluster.LBA, table)
		b.waitTable(cluster.LBB, table)
	}
	both(labTable)

	out := b.operateOn(cluster.LBA, "drain", "echo/rs-2", "--for", "1h", "--reason", "kernel update")
	// How many it names depends on who hears whom at that moment, on a machine that is slow.
	if !strings.Contains(out, "echo/rs-2: drain by root on lb-a ") || !strings.Contains(out, "\napplied on lb-a") {
		t.Errorf("drain says %q", out)
	}
	both(weighed("0"))
	if o := b.override(cluster.LBB); o == nil || o.By != "root" || o.Director != "lb-a" || o.Reason != "kernel update" {
		t.Errorf("lb-b says %+v", o)
	}
	b.until("the Backup names the Master, and calls nothing safe to stop", func() bool {
		o := b.override(cluster.LBB)
		return o != nil && !o.SafeToStop && slices.Equal(o.CountedOn, []string{cluster.LBA})
	})

	b.operateOn(cluster.LBA, "switchover")
	other.wait(changedState, "to=master")
	b.allGoOn(b.openConnections(4), map[string]int{cluster.RS1: 4})
	both(weighed("0"))
	b.until("the new Master calls it safe to stop", func() bool {
		o := b.override(cluster.LBB)
		return o != nil && o.SafeToStop && slices.Equal(o.CountedOn, []string{cluster.LBB})
	})

	a.Kill()
	a = b.director(cluster.LBA)
	a.wait("override goes on", "real_server=rs-2", "director=lb-a")
	b.hear(true)
	both(weighed("0"))
	if out := b.operateOn(cluster.LBB, "enable", "echo/rs-2"); !strings.Contains(out, "\napplied on lb-b") {
		t.Errorf("enable says %q", out)
	}
	both(labTable)
	a.wait("override ended", "enabled by root on lb-b")

	b.run(cluster.LBA, "nft", "add table inet test; add chain inet test in { type filter hook input priority 0; }; "+
		"add rule inet test in ip saddr 10.0.0.12 meta l4proto { tcp, udp } drop")
	b.hear(false)
	if out := b.operateOn(cluster.LBA, "drain", "echo/rs-2"); !strings.HasSuffix(out, "\napplied on lb-a\n") {
		t.Errorf("drain of a director that is alone says %q", out)
	}
	b.operateOn(cluster.LBB, "enable", "echo/rs-2")
	b.waitTable(cluster.LBA, weighed("0"))
	b.waitTable(cluster.LBB, labTable)
	b.run(cluster.LBA, "nft", "delete table inet test")
	a.wait("override ended", "enabled by root on lb-b")
	both(labTable)
	b.hear(true)
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+" knows that both have the same", func() bool { return b.status(machine).Peers[0].LiveChanges == director.LiveChangesSame })
	}
}
