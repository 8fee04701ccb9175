package vrrp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The wire images of draft-cassen-vrrp-auth-hmac's appendix, which keepalived tests
// itself with: key 00 to 1f, VRID 51, priority 200. The IPv4 one has the plain
// checksum, the IPv6 one goes to fe80::20 and its checksum covers the trailer.
const (
	vector4 = "3133c80100644402" + "c0000264" +
		"010100006800000080000000" + "1b84bc4e8e43892dc6d98448f8ee2265"
	vector6 = "3133c8010064a2e9" + "fe800000000000000000000000000100" +
		"010100006800000080000000" + "c8c56146ebfd66ee10ec4d8186461b78"
)

// vectorTime is 0x68000000 and a half seconds.
var vectorTime = time.Unix(1744830464, 500_000_000)

func vectorHMAC() *HMAC {
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	return &HMAC{Keys: []HMACKey{{ID: 1, Secret: secret}}, ActiveKey: 1}
}

// vectors are the images with what they travel in and say.
var vectors = []struct {
	name string
	hex  string
	h    Header
	form ChecksumForm
	want Advert
}{
	{"IPv4", vector4, Header{Src: addr("198.51.100.10"), Dst: addr("224.0.0.18"), TTL: 255}, ChecksumPlain,
		Advert{Version: 3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: addrs("192.0.2.100")}},
	{"IPv6", vector6, Header{Src: addr("fe80::10"), Dst: addr("fe80::20"), TTL: 255, Unicast: true}, ChecksumPseudoHeader,
		Advert{Version: 3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: addrs("fe80::100")}},
}

func TestHMACVectors(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			h := vectorHMAC()
			var v Verifier
			got, err := v.Parse(vectorTime, unhex(t, tt.hex), tt.h, h)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpAddrs); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			var s Stamper
			b, err := h.Sign(got.AppendTo(nil, tt.h.Src, tt.h.Dst, tt.form), tt.h.Src, tt.h.Dst, s.Next(vectorTime, h, got.Interval))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.hex, hex.EncodeToString(b)); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			// Who knows of no trailer refuses it by its length.
			if _, err := ParseAdvert(b, tt.h); !errors.Is(err, ErrLength) {
				t.Errorf("without HMAC: %v, want %v", err, ErrLength)
			}
		})
	}
}

// signedFrames are Ethernet frames captured from keepalived 2.4.3, key 1 of which is
// "Sesame-Sesame-Sesame-Sesame-1234".
var signedFrames = []struct {
	name  string
	frame string
	want  Advert
}{
	{
		"v3", "01005e000012daaefbd86deb080045c0003c00010000ff70d07c0a000002e000001231336401000a75cc0a000064" +
			"010100006b01d7f5f9f80000546b306aee9a2220fb2aa38035968460",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 100 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3uni", "52c68cb950ff2282d30afec2080045c0003c00010000ff70a68e0a0000020a00000131336401000a4bde0a000064" +
			"010100006b01d7f795310000f07cfbe4b2f404ab6cb12dd03ce63bb8",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 100 * time.Millisecond, Addresses: addrs("10.0.0.100")},
	},
	{
		"v3v6", "3333000000120e916fae4ea486dd6c024211003470fffe800000000000000000000000000002ff02000000000000000000000000001231336401000a50d0" +
			"fe800000000000000000000000000100010100006b01d7f9304900002be69e410cd795a617bf6f7547a06c74",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 100 * time.Millisecond, Addresses: addrs("fe80::100")},
	},
	{
		"v3v6uni", "f6c98a07d1ea9a5e9532ab5986dd6c0498fe003470fffe800000000000000000000000000002fe80000000000000000000000000000131336401000aa1d1" +
			"fe800000000000000000000000000100010100006b01d82c47960000b2ed8c0825b381dd507fad8f37352435",
		Advert{Version: 3, VRID: 51, Priority: 100, Interval: 100 * time.Millisecond, Addresses: addrs("fe80::100")},
	},
	{
		"v2", "01005e0000129a20a286b8e2080045c0004400010000ff70d0740a000002e000001221336401000170660a0000640000000000000000" +
			"010100006b01d813234d0000a2cb764fbda6af4395b0ab55b74f6100",
		Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Addresses: addrs("10.0.0.100")},
	},
}

// TestSignedFrames verifies what keepalived sends, and signs it again byte for byte.
func TestSignedFrames(t *testing.T) {
	hm := &HMAC{Keys: []HMACKey{{1, []byte("Sesame-Sesame-Sesame-Sesame-1234")}}, ActiveKey: 1}
	for _, tt := range signedFrames {
		t.Run(tt.name, func(t *testing.T) {
			h, b := split(t, unhex(t, tt.frame))
			stamp := Stamp(binary.BigEndian.Uint64(b[len(b)-24:]))
			at := time.Unix(int64(stamp>>32), 999_000_000)
			got, err := new(Verifier).Parse(at, b, h, hm)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpAddrs); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			again, err := hm.Sign(got.AppendTo(nil, h.Src, h.Dst, ChecksumPseudoHeader), h.Src, h.Dst, stamp)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hex.EncodeToString(b), hex.EncodeToString(again)); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
		})
	}
}

// Each row changes the IPv6 image in one byte, and puts the checksum right.
func TestHMACRefuses(t *testing.T) {
	const trailer = 24
	tests := []struct {
		name   string
		offset int
		want   error
	}{
		{"priority", 2, ErrHMAC},
		{"interval", 5, ErrHMAC},
		{"VRID", 1, ErrHMAC},
		{"virtual address", 23, ErrHMAC},
		{"trailer type", trailer, ErrHMAC},
		{"key", trailer + 1, ErrHMAC},
		{"reserved", trailer + 2, ErrHMAC},
		{"reserved, second byte", trailer + 3, ErrHMAC},
		{"second, within the window", trailer + 7, ErrHMAC},
		{"second, outside the window", trailer + 6, ErrStale},
		{"fraction", trailer + 8, ErrHMAC},
		{"counter", trailer + 11, ErrHMAC},
		{"first byte of the HMAC", trailer + 12, ErrHMAC},
		{"last byte of the HMAC", trailer + 27, ErrHMAC},
		{"checksum alone", 6, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := vectors[1].h
			b := unhex(t, vector6)
			b[tt.offset] ^= 1
			b[6], b[7] = 0, 0
			sum := checksum(b, true, h.Src, h.Dst)
			b[6], b[7] = byte(sum>>8), byte(sum)
			var v Verifier
			if _, err := v.Parse(vectorTime, b, h, vectorHMAC()); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("another sender", func(t *testing.T) {
		h := vectors[0].h
		h.Src = addr("198.51.100.11")
		var v Verifier
		// The plain checksum does not cover the source.
		if _, err := v.Parse(vectorTime, unhex(t, vector4), h, vectorHMAC()); !errors.Is(err, ErrHMAC) {
			t.Errorf("got %v, want %v", err, ErrHMAC)
		}
	})
	t.Run("checksum", func(t *testing.T) {
		// Without the trailer, as over IPv4.
		h := vectors[1].h
		b := unhex(t, vector6)
		b[6], b[7] = 0, 0
		sum := checksum(b[:24], true, h.Src, h.Dst)
		b[6], b[7] = byte(sum>>8), byte(sum)
		var v Verifier
		if _, err := v.Parse(vectorTime, b, h, vectorHMAC()); !errors.Is(err, ErrChecksum) {
			t.Errorf("got %v, want %v", err, ErrChecksum)
		}
	})
}

// What each mode sends and accepts. The rows are the steps of a migration: whoever
// is one step ahead or behind is understood.
func TestHMACModes(t *testing.T) {
	with := func(m HMACMode) *HMAC { h := vectorHMAC(); h.Mode = m; return h }
	tests := []struct {
		name             string
		h                *HMAC
		signs            bool
		unsigned, signed error
	}{
		{"none", nil, false, nil, ErrLength},
		{"receive-only", with(HMACReceiveOnly), false, nil, nil},
		{"permissive", with(HMACPermissive), true, nil, nil},
		{"enforce", with(HMACEnforce), true, ErrHMAC, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.h.Signs(); got != tt.signs {
				t.Errorf("signs: %v, want %v", got, tt.signs)
			}
			b := unhex(t, vector4)
			var v Verifier
			if _, err := v.Parse(vectorTime, b[:12], vectors[0].h, tt.h); !errors.Is(err, tt.unsigned) {
				t.Errorf("unsigned: %v, want %v", err, tt.unsigned)
			}
			if _, err := v.Parse(vectorTime, b, vectors[0].h, tt.h); !errors.Is(err, tt.signed) {
				t.Errorf("signed: %v, want %v", err, tt.signed)
			}
			if tt.h == nil {
				return
			}
			// A trailer that is there is verified in every mode.
			b[2]--
			b[6], b[7] = 0, 0
			sum := checksum(b[:12], false, netip.Addr{}, netip.Addr{})
			b[6], b[7] = byte(sum>>8), byte(sum)
			if _, err := v.Parse(vectorTime, b, vectors[0].h, tt.h); !errors.Is(err, ErrHMAC) {
				t.Errorf("changed: %v, want %v", err, ErrHMAC)
			}
		})
	}
}

// A rotation is done in three steps, and a director that is a step behind is
// understood: everybody learns key 2, everybody signs with it, key 1 goes.
func TestHMACKeyRotation(t *testing.T) {
	one, two := HMACKey{1, []byte(strings.Repeat("a", 32))}, HMACKey{2, []byte(strings.Repeat("b", 64))}
	steps := []*HMAC{
		{Keys: []HMACKey{one}, ActiveKey: 1},
		{Keys: []HMACKey{one, two}, ActiveKey: 1},
		{Keys: []HMACKey{one, two}, ActiveKey: 2},
		{Keys: []HMACKey{two}, ActiveKey: 2},
	}
	for i, from := range steps {
		for j, to := range steps {
			b := signed(t, from, vectorTime, "198.51.100.10", 200)
			_, err := new(Verifier).Parse(vectorTime, b, vectors[0].h, to)
			neighbours := i-j <= 1 && j-i <= 1
			if neighbours && err != nil || err != nil && !errors.Is(err, ErrHMAC) {
				t.Errorf("from step %d to step %d: %v", i, j, err)
			}
		}
	}
	// A number alone is no key.
	other := &HMAC{Keys: []HMACKey{{1, two.Secret}}, ActiveKey: 1}
	if _, err := new(Verifier).Parse(vectorTime, signed(t, other, vectorTime, "198.51.100.10", 200), vectors[0].h, steps[0]); !errors.Is(err, ErrHMAC) {
		t.Errorf("another key with the same number: %v, want %v", err, ErrHMAC)
	}
	if b, err := (&HMAC{Keys: []HMACKey{one}, ActiveKey: 3}).Sign(nil, addr("10.0.0.1"), addr("224.0.0.18"), 0); err == nil {
		t.Errorf("signed with a key that is not there: %x", b)
	}
}

// signed is a multicast advertisement of a time, signed with a Stamper of its own.
func signed(t testing.TB, h *HMAC, at time.Time, src string, p Priority) []byte {
	t.Helper()
	return stamped(t, h, new(Stamper).Next(at, h, time.Second), src, p)
}

func stamped(t testing.TB, h *HMAC, s Stamp, src string, p Priority) []byte {
	t.Helper()
	a := Advert{Version: 3, VRID: 51, Priority: p, Interval: time.Second, Addresses: addrs("192.0.2.100")}
	b, err := h.Sign(a.AppendTo(nil, addr(src), Group(IPv4), ChecksumPlain), addr(src), Group(IPv4), s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The secret is in no text of any kind.
func TestHMACSecretIsNotPrinted(t *testing.T) {
	h := HMAC{Keys: []HMACKey{{ID: 7, Secret: []byte("Sesame-Sesame-Sesame-Sesame-1234")}}, ActiveKey: 9}
	_, errSign := h.Sign(nil, addr("10.0.0.1"), addr("224.0.0.18"), 0)
	other := h
	other.ActiveKey = 7
	b := signed(t, &other, vectorTime, "198.51.100.10", 1)
	b[len(b)-1] ^= 1
	_, errVerify := new(Verifier).Parse(vectorTime, b, vectors[0].h, &h)
	for _, text := range []string{
		fmt.Sprint(h), fmt.Sprintf("%+v", h), fmt.Sprintf("%#v", h), fmt.Sprintf("%v", &h), fmt.Sprintf("%s", h.Keys),
		fmt.Sprint(errSign), fmt.Sprint(errVerify),
	} {
		for _, form := range []string{"Sesame", "83 101", "0x53", "536573", "U2Vz"} {
			if strings.Contains(text, form) {
				t.Errorf("the secret is in %q", text)
			}
		}
	}
}

// FuzzVerifier feeds signed datagrams. What is refused has a reason with a token;
// what is accepted was signed with the key or is allowed to be unsigned; and nothing
// signed is accepted twice.
func FuzzVerifier(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex), v.h.Src.AsSlice(), v.h.Dst.AsSlice(), v.h.Unicast, vectorTime.UnixNano(), uint8(0), false)
	}
	f.Add(unhex(f, vector4)[:12], []byte{198, 51, 100, 10}, []byte{224, 0, 0, 18}, false, int64(0), uint8(2), true)
	f.Fuzz(func(t *testing.T, b, src, dst []byte, unicast bool, now int64, mode uint8, monotonic bool) {
		s, ok := netip.AddrFromSlice(src)
		d, ok2 := netip.AddrFromSlice(dst)
		if !ok || !ok2 || FamilyOf(s.Unmap()) != FamilyOf(d.Unmap()) {
			return
		}
		h := vectorHMAC()
		h.Mode, h.Monotonic = HMACMode(mode%3), monotonic
		hdr := Header{Src: s, Dst: d, TTL: 255, Unicast: unicast}
		at := time.Unix(0, now)
		before := bytes.Clone(b)
		var v Verifier
		a, err := v.Parse(at, b, hdr, h)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		if err != nil {
			if DiscardReason(err) == "other" {
				t.Fatalf("no reason for %v", err)
			}
			// Chance finds neither a checksum nor an HMAC, so what is in order
			// otherwise is signed below.
			if a, err = ParseAdvert(b, hdr); err != nil {
				return
			}
		} else if _, plainErr := ParseAdvert(b, hdr); plainErr == nil {
			if h.Mode == HMACEnforce {
				t.Fatal("unsigned, and accepted")
			}
		} else if _, err := v.Parse(at, b, hdr, h); !errors.Is(err, ErrReplay) {
			t.Fatalf("accepted again: %v", err)
		}
		wire, err := h.Sign(a.AppendTo(nil, s, d, ChecksumPseudoHeader), s, d, stampAt(at)|0xffff)
		if err != nil {
			t.Fatal(err)
		}
		var fresh Verifier
		again, err := fresh.Parse(at, wire, hdr, h)
		if err != nil {
			t.Fatalf("what was signed is refused: %v", err)
		}
		if diff := cmp.Diff(a, again, cmpAddrs); diff != "" {
			t.Fatalf("round trip (-first +second):\n%s", diff)
		}
		if _, err := fresh.Parse(at, wire, hdr, h); !errors.Is(err, ErrReplay) {
			t.Fatalf("accepted again: %v", err)
		}
		wire[len(wire)-1] ^= 1
		if FamilyOf(plain(s)) == IPv6 {
			wire[6], wire[7] = 0, 0
			binary.BigEndian.PutUint16(wire[6:], checksum(wire, true, plain(s), plain(d)))
		}
		if _, err := new(Verifier).Parse(at, wire, hdr, h); !errors.Is(err, ErrHMAC) {
			t.Fatalf("a wrong HMAC: %v", err)
		}
	})
}
