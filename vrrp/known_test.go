package vrrp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyKnownDirectorsCount(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("10.0.0.11/24"), netip.MustParsePrefix("fe80::11/64"), netip.MustParsePrefix("2001:db8::11/64")}
	b := func(as ...string) Sender { return Sender{"lb-b", addrs(as...)} }
	c := func(as ...string) Sender { return Sender{"lb-c", addrs(as...)} }
	tests := []struct {
		name      string
		family    Family
		unicast   bool
		peers     []netip.Addr
		senders   []Sender
		known     []netip.Addr
		unguarded string
	}{
		{name: "no other director", family: IPv4},
		{name: "one", family: IPv4, senders: []Sender{b("10.0.0.12")}, known: addrs("10.0.0.12")},
		{name: "every address of a director counts", family: IPv4, senders: []Sender{b("192.0.2.12", "10.0.0.12", "fe80::12")},
			known: addrs("192.0.2.12", "10.0.0.12")},
		{name: "two", family: IPv4, senders: []Sender{b("10.0.0.12"), c("10.0.0.13", "10.0.0.12")}, known: addrs("10.0.0.12", "10.0.0.13")},
		{name: "another segment's address", family: IPv4, senders: []Sender{b("192.0.2.12")},
			unguarded: "no address of lb-b is known on eth0, so advertisements from any address are accepted"},
		{name: "another family's address", family: IPv4, senders: []Sender{b("fe80::12")},
			unguarded: "no address of lb-b is known on eth0, so advertisements from any address are accepted"},
		{name: "one of two is unknown", family: IPv4, senders: []Sender{b("10.0.0.12"), c()},
			unguarded: "no address of lb-c is known on eth0, so advertisements from any address are accepted"},
		{name: "both are unknown", family: IPv4, senders: []Sender{b(), c()},
			unguarded: "no address of lb-b or lb-c is known on eth0, so advertisements from any address are accepted"},
		{name: "link-local", family: IPv6, senders: []Sender{b("2001:db8::12", "fe80::12%eth0")}, known: addrs("2001:db8::12", "fe80::12")},
		// RFC 9568 section 5.1.2.1: advertisements come from the link-local address.
		{name: "no link-local", family: IPv6, senders: []Sender{b("2001:db8::12", "10.0.0.12")},
			unguarded: "no link-local address of lb-b is known on eth0, so advertisements from any address are accepted"},
		{name: "unicast knows its peers", family: IPv4, unicast: true, peers: addrs("192.0.2.12"), senders: []Sender{b()}, known: addrs("192.0.2.12")},
		{name: "unicast, and the directors' other addresses", family: IPv6, unicast: true, peers: addrs("2001:db8::12"),
			senders: []Sender{b("2001:db8::12", "2001:db8:1::12", "10.0.0.12")}, known: addrs("2001:db8::12", "2001:db8:1::12")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Instance{ID: ID{"eth0", tt.family, 51}, Unicast: tt.unicast, Peers: tt.peers, Senders: tt.senders}
			guarded, unguarded := in.Guard(own)
			if unguarded != tt.unguarded {
				t.Errorf("unguarded %q, want %q", unguarded, tt.unguarded)
			}
			if diff := cmp.Diff(tt.known, guarded.Known(), cmpAddrs); diff != "" {
				t.Errorf("known (-want +got):\n%s", diff)
			}
		})
	}
}
