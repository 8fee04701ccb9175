//go:build integration

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// frrDialects are the forms of VRRP that a director and FRR's vrrpd have in common.
var frrDialects = []struct {
	name string
	keys string // as in dialects
	vips []netip.Addr
	peer cluster.FRR
}{
	{"IPv4", "", ip4, cluster.FRR{Interval: advertInterval}},
	{"IPv4, ours with the virtual MAC address", "vmac = true", ip4, cluster.FRR{Interval: advertInterval}},
	{"IPv6", "", ip6, cluster.FRR{Interval: advertInterval, IPv6: true}},
}

// The ways in which a Master can go.
var ends = []struct {
	name   string
	end    func(*node)
	reason string
}{
	{"stop", (*node).stop, "reason=master-released"},
	{"kill", func(n *node) { n.Kill() }, "reason=master-down"},
}

// frr starts FRR's vrrpd on lb-b.
func (b *bed) frr(f cluster.FRR) *node {
	b.t.Helper()
	p, err := b.StartFRR(b.ctx, cluster.LBB, f)
	if err != nil {
		b.t.Fatal(err)
	}
	return &node{Process: p, b: b}
}

// frrServes reports whether FRR's link with the virtual addresses is in use. FRR switches it
// off while it is Backup.
func (b *bed) frrServes() bool {
	b.t.Helper()
	return !strings.Contains(b.run(cluster.LBB, "ip", "-o", "link", "show", "dev", cluster.FRRDevice), "protodown on")
}

func TestFRRBacksDownAndTakesOver(t *testing.T) {
	for _, tt := range frrDialects {
		for _, end := range ends {
			t.Run(tt.name+" "+end.name, func(t *testing.T) {
				t.Parallel()
				b := newBed(t)
				b.prepare(tt.keys, tt.vips)
				b.record(tt.keys)
				f := tt.peer
				f.Priority = 100
				peer := b.frr(f)
				peer.wait("Backup -> Master")

				ours := b.director(cluster.LBA)
				ours.wait(changedState, "to=master", "reason=preempt")
				peer.wait("Master -> Backup")
				b.until("lb-b gave up, lb-a has the addresses", func() bool {
					return !b.frrServes() && b.holdsAddr(cluster.LBA, tt.vips[0])
				})
				r := b.status(cluster.LBA).VirtualRouters[0]
				if r.State != "master" || len(r.Counters.Discarded) != 0 {
					t.Errorf("status: state %q, discarded %v; want master and nothing discarded", r.State, r.Counters.Discarded)
				}

				end.end(ours)
				peer.wait("Backup -> Master")
				b.until("lb-b serves", b.frrServes)
			})
		}
	}
}

func TestWeBackDownToFRRAndTakeOver(t *testing.T) {
	for _, tt := range frrDialects {
		for _, end := range ends {
			t.Run(tt.name+" "+end.name, func(t *testing.T) {
				t.Parallel()
				b := newBed(t)
				b.prepare(tt.keys, tt.vips)
				b.record(tt.keys)
				ours := b.director(cluster.LBA)
				ours.wait(changedState, "to=master")

				f := tt.peer
				f.Priority = 200
				peer := b.frr(f)
				peer.wait("Backup -> Master")
				ours.wait(changedState, "from=master", "to=backup", "reason=higher-priority")
				b.until("lb-a gave the addresses up, lb-b serves", func() bool {
					return !b.holdsAddr(cluster.LBA, tt.vips[0]) && b.frrServes()
				})
				if r := b.status(cluster.LBA).VirtualRouters[0]; r.State != "backup" || r.MasterPriority != 200 {
					t.Errorf("status: state %q, the Master's priority %d; want backup and 200", r.State, r.MasterPriority)
				}

				end.end(peer)
				ours.wait(changedState, "to=master", end.reason)
				b.until("lb-a has the addresses", func() bool { return b.holdsAddr(cluster.LBA, tt.vips[len(tt.vips)-1]) })
			})
		}
	}
}
