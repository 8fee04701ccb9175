package load

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// The checksums were added up by hand, as RFC 1071 says, with the pseudo-header.
func TestAppendTCP(t *testing.T) {
	from, to := netip.MustParseAddrPort("10.0.0.1:1024"), netip.MustParseAddrPort("10.0.0.100:80")
	for _, tt := range []struct {
		name string
		s    segment
		want string
	}{
		// 0a00 + 0001 + 0a00 + 0064 + 0006 + 0014 = 147f, and 0400 + 0050 + 0007 + 0009 + 5010 + ffff = 1546f: 168ee, carried 68ef
		{"without data", segment{from, to, tcpACK, 7, 9, ""}, "0400005000000007000000095010ffff97100000"},
		// 0003 more in the length, 0008 in the flags, and 6162 + 0a00: 1d45b, carried d45c
		{"an odd length", segment{from, to, tcpACK | tcpPSH, 7, 9, "ab\n"}, "0400005000000007000000095018ffff2ba3000061620a"},
	} {
		if got := hex.EncodeToString(appendTCP(nil, tt.s)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestKnock(t *testing.T) {
	k := knock{netip.MustParseAddrPort("10.0.0.1:1024"), netip.MustParseAddrPort("10.0.0.100:80")}
	if b := k.message(0); b[13] != tcpSYN {
		t.Errorf("the first packet has the flags %#x, want SYN alone", b[13])
	}
	if b := k.message(300); b[13] != tcpACK || hex.EncodeToString(b[8:12]) != "0000012c" {
		t.Errorf("packet 300 is %x, want an acknowledgement of 300", b)
	}
	reset := func(s segment) []byte { return appendTCP(nil, s) }
	for _, tt := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"the answer", reset(segment{k.to, k.from, tcpRST, 300, 0, ""}), true},
		{"no reset", reset(segment{k.to, k.from, tcpACK, 300, 0, ""}), false},
		{"another client's", reset(segment{k.to, netip.MustParseAddrPort("10.0.0.1:1025"), tcpRST, 300, 0, ""}), false},
		{"cut off", reset(segment{k.to, k.from, tcpRST, 300, 0, ""})[:19], false},
	} {
		if number, ok := k.answer(tt.b); ok != tt.ok || ok && number != 300 {
			t.Errorf("%s: %d, %t", tt.name, number, ok)
		}
	}
}
