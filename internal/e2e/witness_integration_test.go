//go:build integration

package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/vrrp"
)

// members is the lab's configuration with a membership over the LAN and the answer to a
// split. It returns the key's file, which both directors read.
func (b *bed) members(onSplit string) (key string) {
	b.t.Helper()
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		b.t.Fatal(err)
	}
	b.configure(speaking(fmt.Sprintf("on_split = %q", onSplit), ip4) + fmt.Sprintf("\n[sync]\nkey_file = %q\n", key))
	return key
}

// peered starts both daemons and returns when each has found the other.
func (b *bed) peered() (master, backup *node) {
	b.t.Helper()
	master, backup = b.pair()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+" sees the other director", func() bool {
			s := b.status(machine)
			return len(s.Peers) == 1 && s.Peers[0].Alive && len(s.Peers[0].Roles) == 1
		})
	}
	b.until("lb-b knows who is Master", func() bool { return b.status(cluster.LBB).Peers[0].Roles["web"] == "master" })
	return master, backup
}

// router is a machine's only virtual router.
func (b *bed) router(machine string) director.RouterStatus {
	b.t.Helper()
	return b.status(machine).VirtualRouters[0]
}

// verdict waits until a machine says it of its first virtual address.
func (b *bed) verdict(machine string, want vrrp.Verdict) director.WitnessedStatus {
	b.t.Helper()
	var got director.WitnessedStatus
	var last director.RouterStatus
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s at last: %+v, its witness %+v", machine, last, last.Witness)
		}
	}()
	b.until(machine+" says "+string(want), func() bool {
		last = b.router(machine)
		w := last.Witness
		if w == nil {
			return false
		}
		got = w.Addresses[0]
		return got.Verdict == want
	})
	return got
}

// events are a machine's journal, a line of JSON for each.
func (b *bed) events(machine string) string {
	b.t.Helper()
	out, err := b.Command(machine, b.daemon, "events", "--json")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// mac is the Ethernet address of a machine's LAN side.
func (b *bed) mac(machine string) string {
	b.t.Helper()
	_, rest, _ := strings.Cut(b.run(machine, "ip", "link", "show", "eth0"), "link/ether ")
	return strings.Fields(rest)[0]
}

// block drops the VRRP packets that come to a machine.
func (b *bed) block(machine string) {
	b.t.Helper()
	b.run(machine, "nft", "add table inet test; add chain inet test in { type filter hook input priority 0; }; add rule inet test in meta l4proto 112 drop")
}

func (b *bed) unblock(machine string) {
	b.t.Helper()
	b.run(machine, "nft", "delete table inet test")
}

// A real server that has the address on lo and does not keep from answering ARP for it is
// the classic mistake of direct routing.
func TestWitnessNamesARealServerThatAnswers(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(cluster.VRRP)
	b.run(cluster.RS1, "ip", "addr", "add", "10.0.0.100/32", "dev", "lo")
	master, backup := b.pair()
	began := time.Now()
	for _, n := range []*node{backup, master} {
		n.wait("a stranger answers for a virtual address", "macs="+b.mac(cluster.RS1))
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("named after %v, want at most 3s after the directors took part", took)
	}
	if got, want := b.verdict(cluster.LBB, vrrp.VerdictStranger).Text, b.mac(cluster.RS1)+" answers for it beside lb-a, and is no director"; got != want {
		t.Errorf("lb-b says %q, want %q", got, want)
	}
	out, err := b.Command(cluster.LBB, b.daemon, "status")
	if err != nil || !strings.Contains(out, "witness: 10.0.0.100 stranger") {
		t.Errorf("status of lb-b (%v):\n%s", err, out)
	}
	if out := b.events(cluster.LBB); !strings.Contains(out, "witness-stranger") {
		t.Errorf("events of lb-b:\n%s", out)
	}

	b.run(cluster.RS1, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
	backup.wait("virtual address has its owner, and nobody else")
	master.wait("virtual address has its owner, and nobody else")
}

func TestWitnessFindsTwoOwnersAndTheMasterAnnouncesAgain(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	b.verdict(cluster.LBA, vrrp.VerdictOwnerOK)
	b.verdict(cluster.LBB, vrrp.VerdictOwnerOK)
	announced := b.router(cluster.LBA).Counters.Announcements

	b.run(cluster.LBB, "ip", "addr", "add", "10.0.0.100/32", "dev", "eth0")
	// The Backup has what only the Master should have, and both find out.
	master.wait("virtual address has two owners", `owners="lb-a lb-b"`)
	backup.wait("virtual address has two owners", `owners="lb-a lb-b"`)
	b.until("lb-a announces again", func() bool { return b.router(cluster.LBA).Counters.Announcements > announced })

	b.run(cluster.LBB, "ip", "addr", "del", "10.0.0.100/32", "dev", "eth0")
	master.wait("virtual address has its owner, and nobody else")
	backup.wait("virtual address has its owner, and nobody else")
	if out := b.events(cluster.LBA); strings.Count(out, "witness-two-owners") != 1 || strings.Count(out, "witness-owner-ok") != 1 {
		t.Errorf("events of lb-a:\n%s", out)
	}
}

// Over IPv6, and with a link of the virtual router's own, the answers look different.
func TestWitnessKnowsTheOwner(t *testing.T) {
	t.Parallel() // it waits most of its time
	for _, tt := range []struct {
		name, keys string
		vips       []netip.Addr
		link       string
	}{
		{"IPv6", "", ip6, "eth0"},
		{"a virtual MAC address", "vmac = true", ip4, "vrrp.51"},
		{"IPv6 with a virtual MAC address", "vmac = true", ip6, "vrrp6.51"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.configure(speaking(tt.keys, tt.vips))
			if tt.vips[0].Is6() {
				b.settle()
			}
			master, backup := b.pair()
			for _, machine := range []string{cluster.LBA, cluster.LBB} {
				if got := b.verdict(machine, vrrp.VerdictOwnerOK).Text; got != "lb-a has it" {
					t.Errorf("%s says %q", machine, got)
				}
			}
			bits := "/32"
			if tt.vips[0].Is6() {
				bits = "/128"
			}
			b.run(cluster.LBB, "ip", "addr", "add", tt.vips[0].String()+bits, "dev", tt.link, "nodad")
			master.wait("virtual address has two owners", `owners="lb-a lb-b"`)
			backup.wait("virtual address has two owners", `owners="lb-a lb-b"`)
		})
	}
}

// The director that has lost the address sees that the other one has it.
func TestLoserConfirmsTheTakeover(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.configure(cluster.VRRP)
	_, backup := b.pair()
	if _, err := b.Command(cluster.LBA, b.daemon, "switchover"); err != nil {
		t.Fatal(err)
	}
	backup.wait(changedState, "to=master")
	b.until("lb-a confirms", func() bool { return strings.Contains(b.events(cluster.LBA), "takeover-confirmed") })
	if got := b.verdict(cluster.LBA, vrrp.VerdictOwnerOK).Text; got != "lb-b has it" {
		t.Errorf("lb-a says %q", got)
	}
}

const blocked = "adverts of lb-a do not arrive although it is alive: a firewall, IGMP snooping or a VLAN blocks protocol 112"

// With on_split = "take" the Backup takes over from a Master that it cannot hear, and says
// why that was wrong.
func TestBlockedAdvertsAreNamedAfterTakingOver(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.members("take")
	_, backup := b.peered()
	b.block(cluster.LBB)
	backup.wait(changedState, "to=master", "reason=master-down")
	backup.wait("advertisements are blocked", blocked)
	backup.wait("two directors are master", "lb-b and lb-a are Master at the same time: its adverts do not arrive here")
	b.until("both say that the address is on both", func() bool {
		return b.verdict(cluster.LBA, vrrp.VerdictTwoOwners).Text == "lb-a and lb-b have it" && b.verdict(cluster.LBB, vrrp.VerdictTwoOwners).Text == "lb-a and lb-b have it"
	})
	if r := b.router(cluster.LBA); r.AdvertsBlocked || !r.SplitBrain || r.State != "master" {
		t.Errorf("lb-a, which hears lb-b: %s, blocked %v, split %v %q", r.State, r.AdvertsBlocked, r.SplitBrain, r.Problems)
	}

	b.unblock(cluster.LBB)
	backup.wait(changedState, "to=backup", "reason=higher-priority")
	backup.wait("advertisements are no longer blocked")
	b.until("all is well", func() bool { return len(b.router(cluster.LBA).Problems)+len(b.router(cluster.LBB).Problems) == 0 })
	b.verdict(cluster.LBA, vrrp.VerdictOwnerOK)
	b.verdict(cluster.LBB, vrrp.VerdictOwnerOK)
}

// With on_split = "hold" it does not, as long as the Master is alive.
func TestBlockedAdvertsAreNamedWhileHolding(t *testing.T) {
	t.Parallel() // it waits most of its time
	b := newBed(t)
	b.members("hold")
	master, backup := b.peered()
	b.block(cluster.LBB)
	backup.wait("advertisements are blocked", blocked)
	if r := b.router(cluster.LBB); r.State != "backup" || !r.Held || !r.AdvertsBlocked || b.holds(cluster.LBB) {
		t.Errorf("lb-b: state %s, held %v, blocked %v", r.State, r.Held, r.AdvertsBlocked)
	}
	if got := b.verdict(cluster.LBB, vrrp.VerdictOwnerOK).Text; got != "lb-a has it" {
		t.Errorf("lb-b says %q", got)
	}
	b.unblock(cluster.LBB)
	backup.wait("advertisements are no longer blocked", "arrive again")
	if got := backup.count(changedState, "to=master"); got != 0 {
		t.Errorf("lb-b became Master %d times", got)
	}

	// And when it is dead after all, it is replaced.
	b.block(cluster.LBB)
	backup.wait("advertisements are blocked")
	master.Kill()
	backup.wait(changedState, "to=master", "reason=master-down")
}
