//go:build integration

package netif

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/internal/sysctl"
)

func TestAddressesAreIdempotent(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	a := NewAddresses(quiet)
	vips := prefixes("10.0.0.100/24", "10.0.0.101/32", "2001:db8::100/64")

	for range 2 {
		if err := a.Acquire("eth0", vips); err != nil {
			t.Fatal(err)
		}
		for _, v := range vips {
			if !slices.Contains(addrsOf(t, "eth0"), v) {
				t.Errorf("%v is not on eth0: %v", v, addrsOf(t, "eth0"))
			}
		}
	}
	out := self.IP(t, "addr show dev eth0")
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "inet 10.0.0.100/24"):
			if !strings.Contains(line, "secondary") || strings.Contains(line, "brd") {
				t.Errorf("%q: want a secondary address without broadcast", line)
			}
		case strings.HasPrefix(line, "inet6 2001:db8::100/64"):
			if !strings.Contains(line, "nodad") || !strings.Contains(line, "deprecated") || strings.Contains(line, "tentative") {
				t.Errorf("%q: want nodad, deprecated, not tentative", line)
			}
		}
	}
	for range 2 {
		if err := a.Release("eth0", vips); err != nil {
			t.Fatal(err)
		}
		for _, v := range vips {
			if slices.Contains(addrsOf(t, "eth0"), v) {
				t.Errorf("%v is still on eth0", v)
			}
		}
	}
	if !slices.Contains(addrsOf(t, "eth0"), prefix("10.0.0.1/24")) {
		t.Errorf("the own address is gone: %v", addrsOf(t, "eth0"))
	}
}

// A virtual address that was on the interface first is the primary one of the
// subnet. Without promote_secondaries the kernel would remove the others with it.
func TestReleaseKeepsTheOtherAddressesOfTheSubnet(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.Sysctl(t, "net/ipv4/conf/eth0/promote_secondaries", "0")
	self.IP(t, "addr add 10.0.0.100/24 dev eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	w := NewAddresses(quiet)
	if err := w.Release("eth0", prefixes("10.0.0.100/24")); err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(addrsOf(t, "eth0"), func(p netip.Prefix) bool { return p.Addr().Is6() })
	if diff := cmp.Diff(prefixes("10.0.0.1/24"), got, comparePrefixes); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	promoting := func(want string) {
		t.Helper()
		if v, err := sysctl.Get("net/ipv4/conf/eth0/promote_secondaries"); v != want {
			t.Errorf("promote_secondaries = %q, %v, want %s", v, err, want)
		}
	}
	promoting("1")
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		promoting("0")
	}()
}

func TestAnotherPrefixLengthIsReplacedAndReleased(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	ipv4 := func() []netip.Prefix {
		return slices.DeleteFunc(addrsOf(t, "eth0"), func(p netip.Prefix) bool { return p.Addr().Is6() })
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(prefixes(want...), ipv4(), comparePrefixes); diff != "" {
			t.Errorf("%s: addresses (-want +got):\n%s", what, diff)
		}
	}
	a := NewAddresses(quiet)
	self.IP(t, "addr add 10.0.0.100/32 dev eth0")
	must(t, a.Acquire("eth0", prefixes("10.0.0.100/24")))
	check("acquired over a leftover", "10.0.0.1/24", "10.0.0.100/24")
	// What a reload that changes the length does.
	must(t, a.Acquire("eth0", prefixes("10.0.0.100/28")))
	must(t, a.Release("eth0", prefixes("10.0.0.100/24")))
	check("length changed", "10.0.0.1/24", "10.0.0.100/28")
	must(t, a.Release("eth0", prefixes("10.0.0.100/28")))
	check("released", "10.0.0.1/24")
	self.IP(t, "addr add 10.0.0.100/32 dev eth0")
	must(t, a.Release("eth0", prefixes("10.0.0.100/24")))
	check("leftover of another length released", "10.0.0.1/24")
}

// The virtual router hears that its link is gone, and the other director takes over:
// the address must not stay on the link, whatever its name now. Renamed while down,
// because older kernels rename no other.
func TestARenamedLinkKeepsNoAddress(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	vips := prefixes("10.0.0.100/24", "2001:db8::100/64")
	onOld := func() []netip.Prefix {
		return slices.DeleteFunc(addrsOf(t, "lan0"), func(p netip.Prefix) bool { return !slices.Contains(vips, p) })
	}
	rename := func() {
		self.IP(t, "link set eth0 down")
		self.IP(t, "link set eth0 name lan0")
		self.IP(t, "link set lan0 up")
		// The kernel has taken the IPv6 address with the link's being down.
		self.IP(t, "addr replace 2001:db8::100/64 dev lan0 nodad")
		if len(onOld()) != 2 {
			t.Fatalf("the renamed link has %v, want both virtual addresses", addrsOf(t, "lan0"))
		}
	}
	t.Run("nothing has the name", func(t *testing.T) {
		netnstest.Cable(t, self, "eth0", far, "eth0")
		t.Cleanup(func() { self.IP(t, "link del lan0") })
		a := NewAddresses(quiet)
		must(t, a.Acquire("eth0", vips))
		rename()
		must(t, a.Release("eth0", vips))
		if got := onOld(); len(got) != 0 {
			t.Errorf("after release the renamed link has %v", got)
		}
		// Put there by somebody else, it is not ours.
		self.IP(t, "addr add 10.0.0.100/24 dev lan0")
		must(t, a.Release("eth0", vips))
		if got := onOld(); len(got) != 1 {
			t.Errorf("a second release left %v, want what was put there since", got)
		}
	})
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("another link has the name, acquired again %v", again), func(t *testing.T) {
			netnstest.Cable(t, self, "eth0", far, "eth0")
			t.Cleanup(func() { self.IP(t, "link del lan0") })
			a := NewAddresses(quiet)
			must(t, a.Acquire("eth0", vips))
			rename()
			self.IP(t, "link add eth0 type veth peer name eth0far")
			t.Cleanup(func() { self.IP(t, "link del eth0") })
			if again {
				must(t, a.Acquire("eth0", vips))
			} else {
				must(t, a.Release("eth0", vips))
			}
			if got := onOld(); len(got) != 0 {
				t.Errorf("the renamed link has %v", got)
			}
			if got := slices.Contains(addrsOf(t, "eth0"), vips[0]); got != again {
				t.Errorf("the new link has the address: %v, want %v", got, again)
			}
		})
	}
}

func TestMissingLink(t *testing.T) {
	a := NewAddresses(quiet)
	if err := a.Release("nosuch0", prefixes("10.0.0.100/24")); err != nil {
		t.Errorf("release on a missing link: %v, want nil, nothing is there", err)
	}
	if err := a.Acquire("nosuch0", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("acquire on a missing link: %v, want an error that names it", err)
	}
	n := NewAnnouncer()
	defer n.Close()
	if err := n.Announce("nosuch0", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("announce on a missing link: %v, want an error that names it", err)
	}
	if err := n.Announce("lo", prefixes("10.0.0.100/24")); err == nil || !strings.Contains(err.Error(), "no Ethernet address") {
		t.Errorf("announce on lo: %v, want an error that says why not", err)
	}
}

// One address that fails suppresses no other.
func TestAcquireTriesEveryAddress(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.Sysctl(t, "net/ipv6/conf/eth0/disable_ipv6", "1")
	err := NewAddresses(quiet).Acquire("eth0", prefixes("2001:db8::1/64", "10.0.0.100/24"))
	if err == nil || !strings.Contains(err.Error(), "2001:db8::1/64") {
		t.Errorf("err = %v, want one that names 2001:db8::1/64", err)
	}
	if !slices.Contains(addrsOf(t, "eth0"), prefix("10.0.0.100/24")) {
		t.Errorf("10.0.0.100/24 was not added after the other had failed")
	}
}

func TestInterfaceOf(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	if got, err := InterfaceOf(netip.MustParseAddr("10.0.0.1")); got != "eth0" || err != nil {
		t.Errorf("InterfaceOf(10.0.0.1) = %q, %v", got, err)
	}
	if got, err := InterfaceOf(netip.MustParseAddr("127.0.0.1")); got != "lo" || err != nil {
		t.Errorf("InterfaceOf(127.0.0.1) = %q, %v", got, err)
	}
	if got, err := InterfaceOf(netip.MustParseAddr("10.0.0.2")); err == nil {
		t.Errorf("InterfaceOf(10.0.0.2) = %q, want an error", got)
	}
	all, err := LocalAddresses()
	if err != nil || !slices.Contains(all, prefix("10.0.0.1/24")) || !slices.Contains(all, prefix("127.0.0.1/8")) {
		t.Errorf("LocalAddresses() = %v, %v", all, err)
	}
}
