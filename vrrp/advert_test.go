package vrrp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var cmpAddrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(ss ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range ss {
		as = append(as, addr(s))
	}
	return as
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenFrames are Ethernet frames captured from keepalived 2.2.7: adv is a
// Master's first advertisement, p0 the one with which it stops.
var goldenFrames = []struct {
	name  string
	frame string
	want  Advert
}{
	{
		"v2 adv", "01005e000012020000000001080045c0002800010000ff70d0910a000001e00000122133640100" +
			"0170660a0000640000000000000000",
		Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Addresses: addrs("10.0.0.100")},
	},
	{
		"v2 p0", "01005e000012020000000001080045c0002800050000ff70d08d0a000001e00000122133000100" +
			"01d4660a0000640000000000000000",
		Advert{Version: 2, VRID: 51, Priority: 0, Interval: time.Second, Addresses: addrs("10.0.0.100")},
	},
	{
		"v2pass adv", "01005e000012020000000001080045c0002c00010000ff70d08d0a000001e00000122133640201" +
			"01f7810a0000640a0000657365637265743132",
		Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Addresses: addrs("10.0.0.100", "10.0.0.101"),
			Auth: Password("secret12")},
	},
	{
		"v2pass p0", "01005e000012020000000001080045c0002c00050000ff70d0890a000001e00000122133000201" +
			"015b820a0000640a0000657365637265743132",
		Advert{Version: 2, VRID: 51, Priority: 0, Interval: time.Second, Addresses: addrs("10.0.0.100", "10.0.0.101"),
			Auth: Auth{Type: AuthPassword, Data: [8]byte{'s', 'e', 'c', 'r', 'e', 't', '1', '2'}}},
	},
	{
		"v3 adv", "01005e000012020000000001080045c0002000010000ff70d0990a000001e000001231336401003275a50a000064",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3 p0", "01005e000012020000000001080045c00020000c0000ff70d08e0a000001e0000012313300010032d9a50a000064",
		Advert{Version: 3, VRID: 51, Priority: 0, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3uni adv", "020000000002020000000001080045c0002000010000ff70a6aa0a0000010a0000023133640100324bb60a000064",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3uni p0", "020000000002020000000001080045c00020000c0000ff70a69f0a0000010a000002313300010032afb60a000064",
		Advert{Version: 3, VRID: 51, Priority: 0, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3v6 adv", "33330000001202000000000186dd6c04a5fe002870fffe80000000000000000000fffe000001ff020000000000000000000000000012" +
			"3133640200323f2ffe80000000000000000000000000010020010db8000000000000000000000100",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 500 * time.Millisecond, Addresses: addrs("fe80::100", "2001:db8::100")},
	},
	{
		"v3v6 p0", "33330000001202000000000186dd6c04a5fe002870fffe80000000000000000000fffe000001ff020000000000000000000000000012" +
			"313300020032a32ffe80000000000000000000000000010020010db8000000000000000000000100",
		Advert{Version: 3, VRID: 51, Priority: 0, Interval: 500 * time.Millisecond, Addresses: addrs("fe80::100", "2001:db8::100")},
	},
	{
		"v3vmac adv", "01005e00001200005e000133080045c0002000010000ff70d0990a000001e000001231336401003275a50a000064",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3vmac p0", "01005e00001200005e000133080045c00020000c0000ff70d08e0a000001e0000012313300010032d9a50a000064",
		Advert{Version: 3, VRID: 51, Priority: 0, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
}

// split takes an Ethernet frame apart: what the IP header tells, and the VRRP part.
func split(t *testing.T, frame []byte) (Header, []byte) {
	t.Helper()
	var h Header
	var payload []byte
	switch ip := frame[14:]; ip[0] >> 4 {
	case 4:
		if ip[9] != Protocol {
			t.Fatalf("protocol %d", ip[9])
		}
		h.Src, h.Dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		h.TTL, payload = int(ip[8]), ip[20:]
	case 6:
		if ip[6] != Protocol {
			t.Fatalf("next header %d", ip[6])
		}
		h.Src, h.Dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		h.TTL, payload = int(ip[7]), ip[40:]
	}
	h.Unicast = !h.Dst.IsMulticast()
	return h, payload
}

// TestGoldenFrames decodes what keepalived sends, and encodes it again byte for
// byte. The frames with an IP Authentication Header are protocol 51 and are not
// decoded.
func TestGoldenFrames(t *testing.T) {
	for _, tt := range goldenFrames {
		t.Run(tt.name, func(t *testing.T) {
			frame := unhex(t, tt.frame)
			h, b := split(t, frame)
			got, err := ParseAdvert(b, h)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpAddrs); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			again := got.AppendTo([]byte("kept"), h.Src, h.Dst, ChecksumPseudoHeader)
			if diff := cmp.Diff("kept"+string(b), string(again)); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			// The addresses of the IP header are those that we would use.
			if f := FamilyOf(h.Src); !h.Unicast && (h.Dst != Group(f) || h.TTL != TTL) {
				t.Errorf("the frame goes to %v with TTL %d", h.Dst, h.TTL)
			}
			if src := [6]byte(frame[6:12]); strings.HasPrefix(tt.name, "v3vmac") && src != VirtualMAC(IPv4, 51) {
				t.Errorf("the frame comes from %x, want the virtual router's address", src)
			}
		})
	}
}

// RFC 9568 section 5.2.8: without a pseudo-header the v3 frame's checksum is 0x6035.
func TestChecksumPlain(t *testing.T) {
	a := Advert{Version: 3, VRID: 51, Priority: 100, Interval: 500 * time.Millisecond, Addresses: addrs("10.0.0.100")}
	b := a.AppendTo(nil, addr("10.0.0.1"), addr("224.0.0.18"), ChecksumPlain)
	if got, want := hex.EncodeToString(b), "31336401003260350a000064"; got != want {
		t.Errorf("encoded %s, want %s", got, want)
	}
	if _, err := ParseAdvert(b, Header{Src: addr("10.0.0.1"), Dst: addr("224.0.0.18"), TTL: 255}); err != nil {
		t.Errorf("not accepted: %v", err)
	}
}

// TestParseAdvertRefuses breaks one thing at a time. Each row breaks everything that
// is checked later as well, where it can, so that the table also pins the order.
func TestParseAdvertRefuses(t *testing.T) {
	mcast := Header{Src: addr("10.0.0.1"), Dst: addr("224.0.0.18"), TTL: 255}
	unicast := Header{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), TTL: 255, Unicast: true}
	v6 := Header{Src: addr("fe80::1%eth0"), Dst: addr("ff02::12"), TTL: 255}
	with := func(h Header, f func(*Header)) Header { f(&h); return h }
	tests := []struct {
		name  string
		h     Header
		hex   string
		want  error
		token string
	}{
		{"multicast where unicast is expected", with(mcast, func(h *Header) { h.Unicast, h.TTL = true, 1 }), "", ErrDestination, "destination"},
		{"unicast where multicast is expected", with(unicast, func(h *Header) { h.Unicast = false }), "", ErrDestination, "destination"},
		{"TTL 254", with(mcast, func(h *Header) { h.TTL = 254 }), "", ErrTTL, "ttl"},
		{"hop limit 1", with(v6, func(h *Header) { h.TTL = 1 }), "", ErrTTL, "ttl"},
		{"multicast has no lower TTL", with(mcast, func(h *Header) { h.TTL, h.MinTTL = 254, 200 }), "", ErrTTL, "ttl"},
		{"unicast with TTL 254", with(unicast, func(h *Header) { h.TTL = 254 }), "", ErrTTL, "ttl"},
		{"unicast below its lowest TTL", with(unicast, func(h *Header) { h.TTL, h.MinTTL = 61, 62 }), "", ErrTTL, "ttl"},
		{"empty", mcast, "", ErrShort, "short"},
		{"seven bytes", mcast, "42000000000000", ErrShort, "short"},
		{"version 4", mcast, "4200000000000000", ErrVersion, "version"},
		{"version 1", mcast, "1200000000000000", ErrVersion, "version"},
		{"version 2 over IPv6", v6, "2200000000000000", ErrVersion, "version"},
		{"type 2", mcast, "3200000000000000ff", ErrType, "type"},
		{"one byte short", mcast, "31000001000000000a0000", ErrLength, "length"},
		{"one byte too many", mcast, "31000001000000000a00006400", ErrLength, "length"},
		{"version 2 without its authentication data", mcast, "21000001000000000a000064", ErrLength, "length"},
		{"IPv4 address over IPv6", v6, "31000001000000000a000064", ErrLength, "length"},
		{"checksum", mcast, "3100000000000000", ErrChecksum, "checksum"},
		{"version 2 with a pseudo-header", mcast, "21000000000000000000000000000000", ErrChecksum, "checksum"},
		{"version 3 over IPv6 without a pseudo-header", v6, "310000000000ceff", ErrChecksum, "checksum"},
		{"no addresses", mcast, "310000000000ceff", ErrNoAddresses, "no-addresses"},
		{"interval 0", mcast, "310000010000c49a0a000064", ErrZeroInterval, "zero-interval"},
		{"reserved bits are not interval", mcast, "31000001f000d4990a000064", ErrZeroInterval, "zero-interval"},
		{"version 2 interval 0", mcast, "210000010000d49a0a0000640000000000000000", ErrZeroInterval, "zero-interval"},
		{"VRID 0", with(mcast, func(h *Header) { h.Known = addrs("10.0.0.9") }), "310000010001c4990a000064", ErrVRID, "vrid"},
		{"stranger", with(mcast, func(h *Header) { h.Known = addrs("10.0.0.9") }), "31336401003275a50a000064", ErrPeer, "peer"},
		{"trailer", mcast, "31336401003275a50a000064" + strings.Repeat("00", 28), ErrLength, "length"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAdvert(unhex(t, tt.hex), tt.h)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %+v, %v, want %v", a, err, tt.want)
			}
			if got := DiscardReason(err); got != tt.token {
				t.Errorf("token %q, want %q", got, tt.token)
			}
		})
	}
}

func TestParseAdvertAccepts(t *testing.T) {
	tests := []struct {
		name string
		h    Header
		hex  string
	}{
		{"unicast", Header{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), TTL: 255, Unicast: true}, "3133640100324bb60a000064"},
		// Not only directly connected peers speak unicast.
		{"unicast with a lower TTL", Header{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), TTL: 61, MinTTL: 61, Unicast: true}, "3133640100324bb60a000064"},
		{"known", Header{Src: addr("::ffff:10.0.0.1"), Dst: addr("224.0.0.18"), TTL: 255, Known: addrs("10.0.0.2", "10.0.0.1")}, "31336401003275a50a000064"},
		// RFC 9568 section 5.2.6: the reserved bits are ignored.
		{"reserved bits", Header{Src: addr("10.0.0.1"), Dst: addr("224.0.0.18"), TTL: 255}, "31336401f03270340a000064"},
		{"addresses as the socket gives them", Header{Src: addr("::ffff:10.0.0.1"), Dst: addr("::ffff:224.0.0.18"), TTL: 255}, "31336401003275a50a000064"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAdvert(unhex(t, tt.hex), tt.h)
			if err != nil {
				t.Fatal(err)
			}
			if a.Interval != 500*time.Millisecond || a.Addresses[0] != addr("10.0.0.100") {
				t.Errorf("decoded %+v", a)
			}
		})
	}
}

func TestDiscardReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, token := range DiscardReasons() {
		if seen[token] {
			t.Errorf("%q is there twice", token)
		}
		seen[token] = true
	}
	if got := DiscardReason(errors.New("something else")); got != "other" || seen[got] {
		t.Errorf("an unknown error gives %q", got)
	}
}

func TestVirtualMAC(t *testing.T) {
	if got, want := VirtualMAC(IPv4, 51), [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, 0x33}; got != want {
		t.Errorf("%x, want %x", got, want)
	}
	if got, want := VirtualMAC(IPv6, 255), [6]byte{0x00, 0x00, 0x5e, 0x00, 0x02, 0xff}; got != want {
		t.Errorf("%x, want %x", got, want)
	}
}
