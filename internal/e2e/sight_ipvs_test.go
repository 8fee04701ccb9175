//go:build ipvs

package e2e

import (
	"fmt"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// A Master that reaches no real server, while the Backup does, is not Master for long, and
// is again when it reaches them.
func TestBlindMasterGivesWay(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(8000)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cluster.VRRP + fmt.Sprintf(`[sync]
key_file = %q
[virtual_server.greeting]
address  = "10.0.0.100:8000"
protocol = "tcp"
check    = "port"
real_server = { rs-1 = { address = "10.0.0.21:8000" }, rs-2 = { address = "10.0.0.22:8000" } }
[check.port]
type     = "tcp"
interval = "200ms"
timeout  = "1s"
fall     = 2
`, key))
	a, other := b.pair()
	b.hear(true)
	both := []string{"10.0.0.21", "10.0.0.22"}
	for _, rs := range both { // a switch that has lost the way
		b.run(cluster.LBA, "ip", "neigh", "replace", rs, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")
	}
	a.wait("sees no real server, and a peer does", "peer=lb-b")
	other.wait(changedState, "to=master")
	b.spread(2, "", "10.0.0.100:8000")
	for _, rs := range both {
		b.run(cluster.LBA, "ip", "neigh", "del", rs, "dev", "eth0")
	}
	a.wait("sees as much as its peers again")
	a.wait(changedState, "to=master")
}
