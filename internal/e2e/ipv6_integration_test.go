//go:build integration

package e2e

import (
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// Two virtual routers of one VRID, one for each family, have nothing to do with each other
// and fail over together.
func TestBothFamiliesFailOver(t *testing.T) {
	b := newBed(t)
	b.settle()
	b.configure(cluster.VRRP + "[vrrp.six]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = " + ip6Key + "\n")
	both := append(ip4[:1:1], ip6...)
	master := b.director(cluster.LBA)
	master.wait(changedState, "virtual_router=web", "to=master")
	b.until("lb-a is Master of both", func() bool { return b.alone(cluster.LBA, cluster.LBB, both) })
	backup := b.director(cluster.LBB)
	b.answers(cluster.LBB)
	b.until("lb-b is Backup of both", func() bool {
		for _, r := range b.status(cluster.LBB).VirtualRouters {
			if r.State != "backup" || r.MasterPriority != 150 || r.Family == "ipv6" && !strings.HasPrefix(r.Master, "fe80::") {
				return false
			}
		}
		return true
	})

	master.stop()
	b.until("lb-b is Master of both", func() bool { return b.alone(cluster.LBB, cluster.LBA, both) })
	if n := backup.count(changedState, "to=master", "reason=master-released"); n != 2 {
		t.Errorf("%d virtual routers were handed over, want 2", n)
	}
}

// Unicast over IPv6 goes between the directors' addresses.
func TestUnicastOverIPv6(t *testing.T) {
	b := newBed(t)
	b.prepare("unicast = true", ip6)
	master, backup := b.pair()
	b.answers(cluster.LBB)
	b.until("lb-b knows the Master by its address", func() bool {
		return b.status(cluster.LBB).VirtualRouters[0].Master == cluster.LBA
	})
	b.until("lb-a has the virtual addresses alone", func() bool { return b.alone(cluster.LBA, cluster.LBB, ip6) })
	master.Kill()
	backup.wait(changedState, "to=master", "reason=master-down")
	b.until("lb-b has them", func() bool { return b.holdsAddr(cluster.LBB, cluster.VIP6) })
}
