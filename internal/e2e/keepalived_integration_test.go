//go:build integration

package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// dialects are the forms of VRRP that a director and keepalived have in common.
var dialects = []struct {
	name string
	keys string // of [vrrp.web], beside its addresses and those of cluster.VRRP
	vips []netip.Addr
	peer cluster.Keepalived
}{
	{"version 3", "", ip4, cluster.Keepalived{Interval: advertInterval}},
	{"version 2", "version = 2", ip4, cluster.Keepalived{Interval: time.Second, Version: 2}},
	{"version 2 with a password", "version = 2\npassword = \"secret12\"", ip4,
		cluster.Keepalived{Interval: time.Second, Version: 2, Password: "secret12"}},
	{"IPv6", "", ip6, cluster.Keepalived{Interval: advertInterval, IPv6: true}},
	{"version 3, keepalived with the virtual MAC address", "", ip4, cluster.Keepalived{Interval: advertInterval, VMAC: true}},
	{"version 3, unicast", "unicast = true", ip4, cluster.Keepalived{Interval: advertInterval, Unicast: lbB4}},
	{"version 2, unicast", "unicast = true\nversion = 2", ip4, cluster.Keepalived{Interval: time.Second, Version: 2, Unicast: lbB4}},
	// keepalived leaves the hop limit of unicast over IPv6 to the kernel.
	{"IPv6, unicast", "unicast = true\nunicast_min_ttl = 64", ip6, cluster.Keepalived{Interval: advertInterval, IPv6: true, Unicast: lbB6}},
	{"version 3, both with the virtual MAC address", "vmac = true", ip4, cluster.Keepalived{Interval: advertInterval, VMAC: true}},
	{"IPv6, ours with the virtual MAC address", "vmac = true", ip6, cluster.Keepalived{Interval: advertInterval, IPv6: true}},
}

// The ends of unicast, as lb-b sees them.
var (
	lbB4 = [2]netip.Addr{cluster.Addr(cluster.LBB), cluster.Addr(cluster.LBA)}
	lbB6 = [2]netip.Addr{netip.MustParseAddr("2001:db8::12"), netip.MustParseAddr("2001:db8::11")}
)

// prepare writes the configuration of one row of dialects, and readies the machines for it.
func (b *bed) prepare(keys string, vips []netip.Addr) {
	b.t.Helper()
	text := speaking(keys, vips)
	if vips[0].Is6() {
		if strings.Contains(keys, "unicast = true") {
			text = b.addressDirectors(text)
		}
		b.settle()
	}
	b.configure(text)
}

// addressDirectors gives the directors IPv6 addresses, and names them in the configuration.
func (b *bed) addressDirectors(text string) string {
	b.t.Helper()
	for i, machine := range []string{cluster.LBB, cluster.LBA} {
		b.run(machine, "ip", "addr", "add", lbB6[i].String()+"/64", "dev", "eth0", "nodad")
		text = strings.Replace(text, `"`+cluster.Addr(machine).String()+`"`, `"`+lbB6[i].String()+`"`, 1)
	}
	return text
}

// The virtual addresses of either family.
var (
	ip4 = []netip.Addr{cluster.VIP}
	ip6 = []netip.Addr{cluster.VIP6Link, cluster.VIP6}
)

// ip6Key is ip6 in the configuration, and ip4Key is ip4 in cluster.VRRP.
const (
	ip4Key = `["10.0.0.100/24"]`
	ip6Key = `["fe80::100/64", "2001:db8::100/64"]`
)

// speaking is the lab's configuration with more keys of [vrrp.web], and other addresses.
func speaking(keys string, vips []netip.Addr) string {
	text := strings.Replace(cluster.VRRP, "[vrrp.web]\n", "[vrrp.web]\n"+keys+"\n", 1)
	if vips[0].Is6() {
		text = strings.Replace(text, ip4Key, ip6Key, 1)
	}
	return text
}

// keepalived with its default behaviour and the same interval, in the part of either side.
func TestKeepalivedBacksDownAndTakesOver(t *testing.T) {
	for _, tt := range dialects {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.prepare(tt.keys, tt.vips)
			b.record(tt.keys)
			k := tt.peer
			k.Priority = 100
			peer := b.keepalived(cluster.LBB, k)
			peer.wait("Entering MASTER STATE")

			ours := b.director(cluster.LBA)
			ours.wait(changedState, "to=master", "reason=preempt")
			peer.wait("Entering BACKUP STATE")
			b.until("the virtual addresses are on lb-a alone", func() bool { return b.alone(cluster.LBA, cluster.LBB, tt.vips) })
			r := b.status(cluster.LBA).VirtualRouters[0]
			if r.State != "master" || len(r.Counters.Discarded) != 0 {
				t.Errorf("status: state %q, discarded %v; want master and nothing discarded", r.State, r.Counters.Discarded)
			}

			ours.stop()
			peer.wait("Entering MASTER STATE")
			b.until("the virtual addresses are on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, tt.vips) })
		})
	}
}

func TestWeBackDownToKeepalivedAndTakeOver(t *testing.T) {
	for _, tt := range dialects {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.prepare(tt.keys, tt.vips)
			b.record(tt.keys)
			ours := b.director(cluster.LBA)
			ours.wait(changedState, "to=master")

			k := tt.peer
			k.Priority = 200
			peer := b.keepalived(cluster.LBB, k)
			peer.wait("Entering MASTER STATE")
			ours.wait(changedState, "from=master", "to=backup", "reason=higher-priority")
			b.until("the virtual addresses are on lb-b alone", func() bool { return b.alone(cluster.LBB, cluster.LBA, tt.vips) })
			if r := b.status(cluster.LBA).VirtualRouters[0]; r.State != "backup" || r.MasterPriority != 200 {
				t.Errorf("status: state %q, the Master's priority %d; want backup and 200", r.State, r.MasterPriority)
			}

			peer.Kill()
			ours.wait(changedState, "to=master", "reason=master-down")
			// keepalived, killed, has left its own behind.
			b.until("lb-a has the virtual addresses", func() bool { return b.holdsAddr(cluster.LBA, tt.vips[len(tt.vips)-1]) })
		})
	}
}

// A Master of higher priority with another password is no Master to us, and the log tells
// neither password.
func TestAnotherPasswordIsDiscarded(t *testing.T) {
	b := newBed(t)
	b.configure(speaking("version = 2\npassword = \"secret12\"", ip4))
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
