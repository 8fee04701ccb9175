//go:build integration

package e2e

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
)

// What others put on the wire is counted by its reason and changes nothing.
func TestGarbageIsCountedByReason(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")

	// Each is spoiled in one place. As it is, it takes mastership: from 10.0.0.12, priority
	// 200, every second, 10.0.0.100, with the checksum over the pseudo-header too.
	const valid = "3133c801006411680a000064"
	packets := []struct {
		reason string
		ttl    int
		bytes  string
	}{
		{"ttl", 254, valid},
		{"short", 255, "3133c8"},
		{"version", 255, "4133c801006411730a000064"},
		{"checksum", 255, "3133c80100640bad0a000064"},
	}
	want := make(map[string]uint64)
	for _, p := range packets {
		b.sendVRRP(cluster.LBB, p.ttl, p.bytes)
		want[p.reason]++
	}
	var got map[string]uint64
	b.until("all packets are counted", func() bool {
		got = b.status(cluster.LBA).VirtualRouters[0].Counters.Discarded
		var sum uint64
		for _, n := range got {
			sum += n
		}
		return sum >= uint64(len(packets))
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("discarded (-want +got):\n%s", diff)
	}
	if s := b.status(cluster.LBA).VirtualRouters[0]; s.State != "master" || n.count(changedState, "from=master") != 0 {
		t.Errorf("state %q after garbage, want master all the time", s.State)
	}
	b.sendVRRP(cluster.LBB, 255, valid)
	n.wait(changedState, "from=master", "to=backup", "reason=higher-priority", "priority=200")
}

// A flawless advertisement of higher priority changes nothing if it comes from a host that
// is no director.
func TestAttackerChangesNothing(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	// From 10.0.0.1; else as in TestGarbageIsCountedByReason, where a director's takes
	// mastership.
	const attack, times = "3133c801006411730a000064", 20
	for range times {
		b.sendVRRP(cluster.Client, 255, attack)
	}
	for _, n := range []*node{master, backup} {
		var got map[string]uint64
		b.until("all packets are counted by "+n.Machine, func() bool {
			got = b.status(n.Machine).VirtualRouters[0].Counters.Discarded
			return got["peer"] >= times
		})
		if diff := cmp.Diff(map[string]uint64{"peer": times}, got); diff != "" {
			t.Errorf("discarded by %s (-want +got):\n%s", n.Machine, diff)
		}
		if lines := n.count("datagram discarded"); lines != 1 || n.count("datagram discarded", "reason=peer", "10.0.0.1") != 1 {
			t.Errorf("%s has logged %d lines about them, want one that names the sender:\n%s", n.Machine, lines, n.Output())
		}
	}
	if master.count(changedState, "from=master") != 0 || backup.count(changedState, "to=master") != 0 || !b.holds(cluster.LBA) || b.holds(cluster.LBB) {
		t.Error("mastership has moved")
	}
	if r := b.status(cluster.LBB).VirtualRouters[0]; r.MasterPriority != 150 {
		t.Errorf("lb-b holds priority %d for the Master's, want 150", r.MasterPriority)
	}
}

// sendVRRP sends a packet from a machine.
func (b *bed) sendVRRP(machine string, ttl int, bytes string) {
	b.t.Helper()
	data, err := hex.DecodeString(bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Do(machine, func() error { return sendVRRP(ttl, data) }); err != nil {
		b.t.Fatal(err)
	}
}

// sendVRRP sends one IP packet of protocol 112 to the VRRP group.
func sendVRRP(ttl int, data []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 112)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	mreq := unix.IPMreqn{Ifindex: int32(eth0.Index)}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &mreq); err != nil {
		return os.NewSyscallError("IP_MULTICAST_IF", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, ttl); err != nil {
		return os.NewSyscallError("IP_MULTICAST_TTL", err)
	}
	return os.NewSyscallError("sendto", unix.Sendto(fd, data, 0, &unix.SockaddrInet4{Addr: [4]byte{224, 0, 0, 18}}))
}

// tshark reads our advertisements as what they are.
func TestTsharkReadsOurAdverts(t *testing.T) {
	b := newBed(t)
	b.configure(cluster.VRRP)
	fields := []string{"ip.src", "ip.dst", "ip.ttl", "vrrp.version", "vrrp.type", "vrrp.virt_rtr_id", "vrrp.prio",
		"vrrp.addr_count", "vrrp.short_adver_int", "vrrp.ip_addr", "vrrp.checksum.status", "_ws.malformed", "_ws.expert.message"}
	args := []string{"tshark", "-l", "-i", "eth0", "-c", "5", "-f", "ip proto 112",
		"-o", "vrrp.v3_checksum_as_in_v2:FALSE", "-T", "fields", "-E", "separator=/s"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	reader, err := b.Start(cluster.LBB, "tshark", args...)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := reader.Wait(b.ctx, 0, "Capturing on"); err != nil {
		t.Fatal(err)
	}
	b.director(cluster.LBA).wait(changedState, "to=master")
	<-reader.Done()
	if code := reader.ExitCode(); code != 0 {
		t.Fatalf("tshark ended with status %d:\n%s", code, reader.Output())
	}
	// Checksum status 1 is good; after it there is neither a malformed mark nor advice.
	want := fmt.Sprintf("10.0.0.11 224.0.0.18 255 3 1 51 150 1 %d 10.0.0.100 1", advertInterval/(10*time.Millisecond))
	adverts := 0
	for _, l := range reader.Lines() {
		if strings.HasPrefix(l.Text, "10.0.0.11 ") {
			adverts++
			if got := strings.TrimSpace(l.Text); got != want {
				t.Errorf("tshark read %q, want %q", got, want)
			}
		}
	}
	if adverts != 5 {
		t.Errorf("tshark read %d adverts, want 5:\n%s", adverts, reader.Output())
	}
}
