package router

import (
	"net/netip"
	"testing"

	"github.com/hadirector/hadirector/vrrp"
)

func TestSource(t *testing.T) {
	prefixes := func(ss ...string) (ps []netip.Prefix) {
		for _, s := range ss {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}
	v4 := web(100)
	owner := web(vrrp.PriorityOwner)
	unicast := web(100)
	unicast.Unicast, unicast.Peers = true, []netip.Addr{netip.MustParseAddr("10.1.0.2")}
	fixed := web(100)
	fixed.Source = netip.MustParseAddr("10.0.0.9")
	v6 := web(100)
	v6.ID.Family, v6.Addresses = vrrp.IPv6, prefixes("fe80::100/64")
	unicast6 := v6
	unicast6.Unicast, unicast6.Peers = true, []netip.Addr{netip.MustParseAddr("2001:db8::2")}
	virtual := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.100"): true, netip.MustParseAddr("10.0.0.200"): true, netip.MustParseAddr("fe80::100"): true}

	tests := []struct {
		name    string
		in      vrrp.Instance
		addrs   []netip.Prefix
		current string
		want    string
		err     string
	}{
		{"the first of the family", v4, prefixes("fe80::1/64", "10.0.0.1/24", "10.0.0.2/24"), "", "10.0.0.1", ""},
		{"not a virtual address of its own", v4, prefixes("10.0.0.100/24", "10.0.0.1/24"), "", "10.0.0.1", ""},
		{"nor of another virtual router", v4, prefixes("10.0.0.200/24", "10.0.0.1/24"), "", "10.0.0.1", ""},
		{"the one in use stays", v4, prefixes("10.0.0.1/24", "10.0.0.2/24"), "10.0.0.2", "10.0.0.2", ""},
		{"the one in use is gone", v4, prefixes("10.0.0.1/24"), "10.0.0.2", "10.0.0.1", ""},
		{"none", v4, prefixes("10.0.0.100/24", "fe80::1/64"), "", "", "interface eth0 has no ipv4 address of its own"},
		{"the owner's virtual address, if there is no other", owner, prefixes("10.0.0.100/24"), "", "10.0.0.100", ""},
		{"the owner's other address", owner, prefixes("10.0.0.100/24", "10.0.0.1/24"), "", "10.0.0.1", ""},
		{"an owner does not take another's virtual address", owner, prefixes("10.0.0.200/24"), "", "", "interface eth0 has no ipv4 address of its own"},
		{"in the peer's subnet", unicast, prefixes("10.0.0.1/24", "10.1.0.1/24"), "", "10.1.0.1", ""},
		{"no subnet with the peer", unicast, prefixes("10.0.0.1/24"), "", "10.0.0.1", ""},
		{"as told", fixed, prefixes("10.0.0.1/24", "10.0.0.9/24"), "10.0.0.1", "10.0.0.9", ""},
		{"told one that is not there", fixed, prefixes("10.0.0.1/24"), "", "", "address 10.0.0.9 is not on interface eth0"},
		{"link-local over IPv6", v6, prefixes("10.0.0.1/24", "2001:db8::1/64", "fe80::100/64", "fe80::1/64"), "", "fe80::1", ""},
		{"no link-local", v6, prefixes("2001:db8::1/64"), "", "", "interface eth0 has no ipv6 link-local address of its own"},
		{"global towards a global IPv6 peer", unicast6, prefixes("fe80::1/64", "2001:db8::1/64"), "", "2001:db8::1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var current, want netip.Addr
			if tt.current != "" {
				current = netip.MustParseAddr(tt.current)
			}
			if tt.want != "" {
				want = netip.MustParseAddr(tt.want)
			}
			got, err := source(tt.in, tt.addrs, virtual, current)
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
