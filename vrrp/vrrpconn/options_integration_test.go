//go:build integration

package vrrpconn

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/vrrp"
)

// Both forms of the checksum are accepted, and the one that is asked for is sent:
// without a pseudo-header, RFC 9568 section 5.2.8, it is 0x6003.
func TestChecksumForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		form vrrp.ChecksumForm
		want string
	}{
		{"pseudo-header", vrrp.ChecksumPseudoHeader, "31336401006475730a000064"},
		{"plain", vrrp.ChecksumPlain, "31336401006460030a000064"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			in := onEth0(multicast(51))
			in.Checksum = tt.form
			frames := captureVRRP(t, far)
			a, b := openIn(t, self, in, "10.0.0.1"), openIn(t, far, onEth0(multicast(51)), "10.0.0.2")
			must(t, a.Send(advert(51, 100)))
			if diff := cmp.Diff(tt.want, hex.EncodeToString(frames()[34:])); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			next(t, b)
		})
	}
}

// A unicast peer behind a router needs a lower TTL; multicast never has another.
func TestTTLOnTheWire(t *testing.T) {
	ip6 := func(in vrrp.Instance) vrrp.Instance {
		in.ID.Family = vrrp.IPv6
		return in
	}
	near, away := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	v6 := advert(51, 100)
	v6.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
	tests := []struct {
		name              string
		ours, fars        vrrp.Instance
		source, farSource string
		advert            vrrp.Advert
		want              byte
		reason            string // empty: accepted
	}{
		{"unicast", unicast(51, peer), unicast(51, ours), "10.0.0.1", "10.0.0.2", advert(51, 100), 255, ""},
		{"unicast with TTL 64", hops(unicast(51, peer), 64, 0), unicast(51, ours), "10.0.0.1", "10.0.0.2", advert(51, 100), 64, "ttl"},
		{"unicast with TTL 64, allowed", hops(unicast(51, peer), 64, 0), hops(unicast(51, ours), 0, 64), "10.0.0.1", "10.0.0.2", advert(51, 100), 64, ""},
		{"multicast", hops(multicast(51), 64, 1), multicast(51), "10.0.0.1", "10.0.0.2", advert(51, 100), 255, ""},
		{"unicast IPv6 with hop limit 64", ip6(hops(unicast(51, away), 64, 0)), ip6(unicast(51, near)), "fe80::1", "fe80::2", v6, 64, "ttl"},
		{"unicast IPv6 with hop limit 64, allowed", ip6(hops(unicast(51, away), 64, 0)), ip6(hops(unicast(51, near), 0, 64)), "fe80::1", "fe80::2", v6, 64, ""},
		{"multicast IPv6", ip6(hops(multicast(51), 64, 1)), ip6(multicast(51)), "fe80::1", "fe80::2", v6, 255, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			frames := captureVRRP(t, far)
			h := NewHub(quiet) // one socket, so that datagrams are seen in their order
			a, b := openIn(t, self, onEth0(tt.ours), tt.source), openOn(t, h, far, onEth0(tt.fars), tt.farSource)
			must(t, a.Send(tt.advert))
			ttl := 14 + 8
			if tt.ours.ID.Family == vrrp.IPv6 {
				ttl = 14 + 7
			}
			if got := frames()[ttl]; got != tt.want {
				t.Errorf("TTL %d, want %d", got, tt.want)
			}
			if tt.reason == "" {
				next(t, b)
				return
			}
			// A second one with TTL 255 says that the first has been seen.
			again := openIn(t, self, onEth0(hops(otherVRID(tt.ours), 0, 0)), tt.source)
			last := openOn(t, h, far, onEth0(otherVRID(tt.fars)), tt.farSource)
			a52 := tt.advert
			a52.VRID = 52
			must(t, again.Send(a52))
			next(t, last)
			if diff := cmp.Diff(map[string]uint64{tt.reason: 1}, b.Discarded()); diff != "" {
				t.Errorf("discarded (-want +got):\n%s", diff)
			}
		})
	}
}

func otherVRID(in vrrp.Instance) vrrp.Instance {
	in.ID.VRID = 52
	return in
}

// Signed advertisements cross in every version and family, and who does not know of
// the trailer refuses them by their length, as keepalived before 2.4 does.
func TestSignedAdvertsCross(t *testing.T) {
	v2 := advert(51, 100)
	v2.Version = vrrp.Version2
	v6 := advert(51, 100)
	v6.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
	ip6 := func(in vrrp.Instance) vrrp.Instance {
		in.ID.Family = vrrp.IPv6
		return in
	}
	near, away := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	tests := []struct {
		name              string
		ours, fars        vrrp.Instance
		source, farSource string
		advert            vrrp.Advert
	}{
		{"multicast", multicast(51), multicast(51), "10.0.0.1", "10.0.0.2", advert(51, 100)},
		{"multicast version 2", multicast(51), multicast(51), "10.0.0.1", "10.0.0.2", v2},
		{"unicast", unicast(51, peer), unicast(51, ours), "10.0.0.1", "10.0.0.2", advert(51, 100)},
		{"multicast IPv6", ip6(multicast(51)), ip6(multicast(51)), "fe80::1", "fe80::2", v6},
		{"unicast IPv6", ip6(unicast(51, away)), ip6(unicast(51, near)), "fe80::1", "fe80::2", v6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			a := openIn(t, self, signs(onEth0(tt.ours), vrrp.HMACEnforce), tt.source)
			b := openIn(t, far, signs(onEth0(tt.fars), vrrp.HMACEnforce), tt.farSource)
			for range 3 {
				must(t, a.Send(tt.advert))
				r := next(t, b)
				if diff := cmp.Diff(tt.advert, r.Advert, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("advertisement (-sent +received):\n%s", diff)
				}
			}
			if d := b.Discarded(); len(d) != 0 {
				t.Errorf("discarded %v, want nothing", d)
			}
			must(t, b.Close())
			h := NewHub(quiet) // one socket, so that datagrams are seen in their order
			old := openOn(t, h, far, onEth0(tt.fars), tt.farSource)
			unsigned := openIn(t, self, onEth0(otherVRID(tt.ours)), tt.source)
			last := openOn(t, h, far, onEth0(otherVRID(tt.fars)), tt.farSource)
			must(t, a.Send(tt.advert))
			a52 := tt.advert
			a52.VRID = 52
			must(t, unsigned.Send(a52))
			next(t, last)
			if diff := cmp.Diff(map[string]uint64{"length": 1}, old.Discarded()); diff != "" {
				t.Errorf("discarded without HMAC (-want +got):\n%s", diff)
			}
		})
	}
}

// An advertisement with the highest priority from an address that is no director's
// never arrives.
func TestAStrangersAdvertsDoNotArrive(t *testing.T) {
	self, far := lan(t)
	far.IP(t, "addr add 10.0.0.9/24 dev eth0")
	c := openIn(t, self, onEth0(knows(multicast(51), peer)), "10.0.0.1")
	must(t, openIn(t, far, onEth0(multicast(51)), "10.0.0.9").Send(advert(51, 255)))
	must(t, openIn(t, far, onEth0(multicast(51)), "10.0.0.2").Send(advert(51, 42)))
	if r := next(t, c); r.From != peer || r.Advert.Priority != 42 {
		t.Errorf("received %+v, want the peer's alone", r)
	}
	if diff := cmp.Diff(map[string]uint64{"peer": 1}, c.Discarded()); diff != "" {
		t.Errorf("discarded (-want +got):\n%s", diff)
	}
}
