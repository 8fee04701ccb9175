//go:build integration

package netif

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
)

// segment is this machine, two directors and a real server on a switch.
type segment struct {
	self, a, b, rs *netnstest.NS
}

func newSegment(t *testing.T) segment {
	t.Helper()
	sw := netnstest.NewSwitch(t)
	s := segment{netnstest.Self(), netnstest.New(t, "a"), netnstest.New(t, "b"), netnstest.New(t, "rs")}
	for _, ns := range []*netnstest.NS{s.self, s.a, s.b, s.rs} {
		ns.Sysctl(t, "net/ipv6/conf/default/dad_transmits", "0") // link-local addresses at once
	}
	t.Cleanup(func() { s.self.Sysctl(t, "net/ipv6/conf/default/dad_transmits", "1") })
	sw.Connect(t, s.self, "eth0", "10.0.0.9/24")
	sw.Connect(t, s.a, "eth0", "10.0.0.11/24")
	sw.Connect(t, s.b, "eth0", "10.0.0.12/24")
	sw.Connect(t, s.rs, "eth0", "10.0.0.21/24")
	for _, ns := range []*netnstest.NS{s.self, s.a, s.b, s.rs} {
		awaitLinkLocal(t, ns)
	}
	return s
}

// awaitLinkLocal waits until an interface's own IPv6 address may be used.
func awaitLinkLocal(t *testing.T, ns *netnstest.NS) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out := ns.IP(t, "-6 -o addr show dev eth0 scope link")
		if f := strings.Fields(out); len(f) > 3 && !strings.Contains(out, "tentative") {
			addr, _, _ := strings.Cut(f[3], "/")
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: no link-local address:\n%s", ns, out)
		}
	}
}

// give gives an interface an address. One of IPv6 is asked for at the multicast group of its
// last 24 bits (RFC 4291 section 2.7.1), which the kernel joins in its own time.
func give(t *testing.T, ns *netnstest.NS, addr, dev string) {
	t.Helper()
	ns.IP(t, "addr add "+addr+" dev "+dev+" nodad")
	a := netip.MustParsePrefix(addr).Addr()
	if a.Is4() {
		return
	}
	last := a.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: last[13], 14: last[14], 15: last[15]}).String()
	for deadline := time.Now().Add(patience); ; {
		out := ns.IP(t, "-6 maddr show dev "+dev)
		if slices.Contains(strings.Fields(out), group) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s is not in the group %s:\n%s", ns, dev, group, out)
		}
	}
}

// ask probes for the virtual addresses on eth0.
func ask(t *testing.T, virtual, own []string, links ...string) vrrp.Answers {
	t.Helper()
	got, err := Prober{}.Probe(t.Context(), vrrp.Inquiry{Interface: "eth0", Links: links, Virtual: parsed(virtual), Own: parsed(own)})
	must(t, err)
	for _, list := range got.By {
		slices.SortFunc(list, func(a, b vrrp.Answer) int { return slices.Compare(a.MAC[:], b.MAC[:]) })
	}
	return got
}

func parsed(list []string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}

// answered says that the machines have answered once each.
func answered(t *testing.T, by ...*netnstest.NS) []vrrp.Answer {
	t.Helper()
	var list []vrrp.Answer
	for _, ns := range by {
		b, err := hex.DecodeString(strings.ReplaceAll(linkAddr(t, ns), ":", ""))
		must(t, err)
		list = append(list, vrrp.Answer{MAC: vrrp.MAC(b), Times: 1})
	}
	slices.SortFunc(list, func(a, b vrrp.Answer) int { return slices.Compare(a.MAC[:], b.MAC[:]) })
	return list
}

func TestProbeFindsWhoAnswers(t *testing.T) {
	for _, vip := range []string{"10.0.0.100", "2001:db8::100", "fe80::100"} {
		t.Run(vip, func(t *testing.T) {
			s := newSegment(t)
			bits, addr := "24", netip.MustParseAddr(vip)
			if addr.Is6() {
				bits = "64"
			}
			check := func(what string, want vrrp.Answers) {
				t.Helper()
				if want.By == nil {
					want.By = map[netip.Addr][]vrrp.Answer{}
				}
				got := ask(t, []string{vip}, nil)
				if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s: -want +got:\n%s", what, diff)
				}
			}
			by := func(ns ...*netnstest.NS) vrrp.Answers {
				return vrrp.Answers{By: map[netip.Addr][]vrrp.Answer{addr: answered(t, ns...)}}
			}
			check("no owner", vrrp.Answers{})
			give(t, s.a, vip+"/"+bits, "eth0")
			check("one owner", by(s.a))
			give(t, s.b, vip+"/"+bits, "eth0")
			check("two owners", by(s.a, s.b))
			s.b.IP(t, "addr del "+vip+"/"+bits+" dev eth0")
			s.rs.IP(t, "addr add "+vip+"/"+map[bool]string{true: "32", false: "128"}[addr.Is4()]+" dev lo nodad")
			if addr.Is4() {
				check("a real server that answers", by(s.a, s.rs))
				s.rs.Sysctl(t, "net/ipv4/conf/all/arp_ignore", "1")
				check("a real server that is silent", by(s.a))
			} else {
				// Nobody answers for an address of another interface over IPv6.
				check("a real server with the address on its loopback interface", by(s.a))
			}
			s.self.IP(t, "addr add "+vip+"/"+bits+" dev eth0 nodad")
			want := by(s.a)
			want.Held = []netip.Addr{addr}
			check("this machine has it, too", want)
			// Nothing of this is left in a table of the others.
			if out := s.a.IP(t, "neigh show"); strings.Contains(out, "10.0.0.9 ") && addr.Is4() {
				t.Errorf("the probes left an entry behind:\n%s", out)
			}
		})
	}
}

// This machine's own answers to others pass by, and so do its announcements: neither is
// an answer.
func TestProbeHearsNotItself(t *testing.T) {
	for _, vip := range prefixes("10.0.0.100/24", "2001:db8::100/64") {
		t.Run(vip.Addr().String(), func(t *testing.T) { hearsNotItself(t, vip) })
	}
}

func hearsNotItself(t *testing.T, vip netip.Prefix) {
	s := newSegment(t)
	s.self.IP(t, "addr add "+vip.String()+" dev eth0 nodad")
	var ifi *net.Interface
	var other *packet.Conn
	var err error
	s.rs.Do(func() {
		if ifi, err = net.InterfaceByName("eth0"); err == nil {
			other, err = packet.Listen(ifi, packet.Raw, etherTypeARP, nil)
		}
	})
	must(t, err)
	asks, err := question(ifi.HardwareAddr, vip.Addr(), netip.Addr{})
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { // another witness, and our own announcements, all the time
		n := NewAnnouncer()
		defer n.Close()
		for {
			err := errors.Join(write(other, asks, time.Now().Add(time.Second)), n.Announce("eth0", []netip.Prefix{vip}))
			select {
			case <-stop:
				stopped <- errors.Join(err, other.Close())
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	got := ask(t, []string{vip.Addr().String()}, nil)
	close(stop)
	must(t, <-stopped)
	if len(got.By) > 0 || !slices.Equal(got.Held, []netip.Addr{vip.Addr()}) {
		t.Errorf("%+v, want that this machine holds it and no answer", got)
	}
}

// A director's own addresses are asked for from an address.
func TestProbeAsksForOwnAddresses(t *testing.T) {
	s := newSegment(t)
	a6 := awaitLinkLocal(t, s.a)
	got := ask(t, nil, []string{"10.0.0.11", "10.0.0.12", a6, "192.0.2.1", "10.0.0.9"})
	want := map[netip.Addr][]vrrp.Answer{
		netip.MustParseAddr("10.0.0.11"): answered(t, s.a),
		netip.MustParseAddr("10.0.0.12"): answered(t, s.b),
		netip.MustParseAddr(a6):          answered(t, s.a),
	}
	if diff := cmp.Diff(want, got.By, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Without an address of its own to ask from, the machine asks as if it were making sure
// of the virtual one.
func TestProbeAsksFromNowhere(t *testing.T) {
	s := newSegment(t)
	give(t, s.a, "2001:db8::100/64", "eth0")
	give(t, s.b, "2001:db8::100/64", "eth0")
	s.self.IP(t, "-6 addr flush dev eth0")
	got := ask(t, []string{"2001:db8::100"}, []string{"2001:db8::12"})
	want := map[netip.Addr][]vrrp.Answer{netip.MustParseAddr("2001:db8::100"): answered(t, s.a, s.b)}
	if diff := cmp.Diff(want, got.By, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An address that its owner is just making sure of must not be called in use: RFC 4862
// section 5.4.3 takes a solicitation from :: for a conflict.
func TestAskingForAnOwnAddressIsNoConflict(t *testing.T) {
	s := newSegment(t)
	s.a.Sysctl(t, "net/ipv6/conf/eth0/dad_transmits", "3")
	s.a.IP(t, "addr add fe80::aa/64 dev eth0")
	ask(t, nil, []string{"fe80::aa"})
	ask(t, nil, []string{"fe80::aa"})
	if out := s.a.IP(t, "-6 addr show dev eth0"); strings.Contains(out, "dadfailed") {
		t.Errorf("the question took the address away:\n%s", out)
	}
}

// The link with the virtual MAC address is there on a Backup, too, and takes frames that
// come from the same address on another machine for its own.
func TestProbeSeesVirtualLinks(t *testing.T) {
	for _, tt := range []struct {
		vip    netip.Prefix
		mac    string
		family vrrp.Family
	}{
		{netip.MustParsePrefix("10.0.0.100/32"), "00:00:5e:00:01:33", vrrp.IPv4},
		{netip.MustParsePrefix("2001:db8::100/128"), "00:00:5e:00:02:33", vrrp.IPv6},
	} {
		t.Run(fmt.Sprint(tt.family), func(t *testing.T) { seesVirtualLinks(t, tt.vip, tt.mac, vrrp.VirtualMAC(tt.family, 51)) })
	}
}

func seesVirtualLinks(t *testing.T, vip netip.Prefix, mac string, virtual vrrp.MAC) {
	s := newSegment(t)
	for _, ns := range []*netnstest.NS{s.a, s.b, s.self} {
		ns.IP(t, "link add vrrp.51 link eth0 address "+mac+" type macvlan mode private")
		ns.Sysctl(t, "net/ipv4/conf/eth0/arp_ignore", "1")
		ns.Sysctl(t, "net/ipv4/conf/vrrp.51/arp_ignore", "1")
		ns.IP(t, "link set vrrp.51 up")
		ns.AwaitUp(t, "vrrp.51")
	}
	t.Cleanup(func() {
		s.self.IP(t, "link del vrrp.51")
		s.self.Sysctl(t, "net/ipv4/conf/eth0/arp_ignore", "0")
	})
	add := func(ns *netnstest.NS) { give(t, ns, vip.String(), "vrrp.51") }
	add(s.a)
	got := ask(t, []string{vip.Addr().String()}, []string{"10.0.0.11"}, "vrrp.51", "vrrp.not-there")
	want := map[netip.Addr][]vrrp.Answer{
		vip.Addr():                       {{MAC: virtual, Times: 1}},
		netip.MustParseAddr("10.0.0.11"): answered(t, s.a),
	}
	if diff := cmp.Diff(want, got.By, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	add(s.b)
	add(s.self)
	got = ask(t, []string{vip.Addr().String()}, nil, "vrrp.51")
	if diff := cmp.Diff([]vrrp.Answer{{MAC: virtual, Times: 2}}, got.By[vip.Addr()]); diff != "" {
		t.Errorf("two owners: -want +got:\n%s", diff)
	}
	if len(got.Held) != 1 {
		t.Errorf("held %v, want the address on the virtual link", got.Held)
	}
}

func TestProbeAsksForManyAddresses(t *testing.T) {
	s := newSegment(t)
	var vips []string
	var script strings.Builder
	for i := range 255 {
		a := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String()
		vips = append(vips, a)
		script.WriteString("ip addr add " + a + "/32 dev eth0\n")
	}
	s.a.Run(t, "sh", "-ec", script.String())
	got := ask(t, vips, nil)
	if len(got.By) != 255 {
		t.Errorf("%d addresses were answered for, want 255", len(got.By))
	}
}

func TestProbeFailsWithItsReason(t *testing.T) {
	in := vrrp.Inquiry{Interface: "eth0", Virtual: parsed([]string{"10.0.0.100"})}
	if _, err := (Prober{}).Probe(t.Context(), in); err == nil || !strings.Contains(err.Error(), "ask who has the addresses on eth0") {
		t.Errorf("without an interface: %v", err)
	}
	s := newSegment(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Prober{}).Probe(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	s.self.IP(t, "link set eth0 down")
	if _, err := (Prober{}).Probe(t.Context(), in); err == nil {
		t.Error("no error on a link that is down")
	}
	in.Interface = "lo"
	if _, err := (Prober{}).Probe(t.Context(), in); err == nil {
		t.Error("no error on an interface without an Ethernet address")
	}
}
