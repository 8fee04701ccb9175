//go:build integration

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// dialects are the forms of VRRP that a director and keepalived have in common.
var dialects = []struct {
	name string
	keys string // of [vrrp.web], beside those of cluster.VRRP
	peer cluster.Keepalived
}{
	{"version 3", "", cluster.Keepalived{Interval: advertInterval}},
	{"version 2", "version = 2", cluster.Keepalived{Interval: time.Second, Version: 2}},
	{"version 2 with a password", "version = 2\npassword = \"secret12\"",
		cluster.Keepalived{Interval: time.Second, Version: 2, Password: "secret12"}},
}

// speaking is the lab's configuration in a dialect.
func speaking(keys string) string {
	return strings.Replace(cluster.VRRP, "[vrrp.web]\n", "[vrrp.web]\n"+keys+"\n", 1)
}

// keepalived with its default behaviour and the same interval, in the part of either side.
func TestKeepalivedBacksDownAndTakesOver(t *testing.T) {
	for _, tt := range dialects {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.configure(speaking(tt.keys))
			k := tt.peer
			k.Priority = 100
			peer := b.keepalived(cluster.LBB, k)
			peer.wait("Entering MASTER STATE")

			ours := b.director(cluster.LBA)
			ours.wait(changedState, "to=master", "reason=preempt")
			peer.wait("Entering BACKUP STATE")
			b.until("the virtual address is on lb-a alone", func() bool {
				return b.holds(cluster.LBA) && !b.holds(cluster.LBB)
			})
			r := b.status(cluster.LBA).VirtualRouters[0]
			if r.State != "master" || len(r.Counters.Discarded) != 0 {
				t.Errorf("status: state %q, discarded %v; want master and nothing discarded", r.State, r.Counters.Discarded)
			}

			ours.stop()
			peer.wait("Entering MASTER STATE")
			b.until("lb-b has the virtual address", func() bool { return b.holds(cluster.LBB) })
		})
	}
}

func TestWeBackDownToKeepalivedAndTakeOver(t *testing.T) {
	for _, tt := range dialects {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.configure(speaking(tt.keys))
			ours := b.director(cluster.LBA)
			ours.wait(changedState, "to=master")

			k := tt.peer
			k.Priority = 200
			peer := b.keepalived(cluster.LBB, k)
			peer.wait("Entering MASTER STATE")
			ours.wait(changedState, "from=master", "to=backup", "reason=higher-priority")
			b.until("the virtual address is on lb-b alone", func() bool {
				return b.holds(cluster.LBB) && !b.holds(cluster.LBA)
			})
			if r := b.status(cluster.LBA).VirtualRouters[0]; r.State != "backup" || r.MasterPriority != 200 {
				t.Errorf("status: state %q, the Master's priority %d; want backup and 200", r.State, r.MasterPriority)
			}

			peer.Kill()
			ours.wait(changedState, "to=master", "reason=master-down")
			b.until("lb-a has the virtual address", func() bool { return b.holds(cluster.LBA) })
		})
	}
}

// A Master of higher priority with another password is no Master to us, and the log tells
// neither password.
func TestAnotherPasswordIsDiscarded(t *testing.T) {
	b := newBed(t)
	b.configure(speaking("version = 2\npassword = \"secret12\""))
	peer := b.keepalived(cluster.LBB, cluster.Keepalived{Priority: 200, Interval: time.Second, Version: 2, Password: "secret13"})
	peer.wait("Entering MASTER STATE")
	ours := b.director(cluster.LBA)
	ours.wait(changedState, "to=master", "reason=master-down")
	r := b.status(cluster.LBA).VirtualRouters[0]
	if r.Counters.Discarded["auth"] == 0 || r.Counters.AdvertsReceived != 0 {
		t.Errorf("status: discarded %v, %d received; want auth alone", r.Counters.Discarded, r.Counters.AdvertsReceived)
	}
	ours.stop()
	if strings.Contains(ours.Output(), "secret") {
		t.Error("the log tells a password")
	}
}
