package vrrp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseAdvert feeds datagrams. What is refused has a reason with a token; what
// is accepted keeps the rules of RFC 9568 section 5.2, and is the same after
// encoding and decoding again.
func FuzzParseAdvert(f *testing.F) {
	for _, g := range goldenFrames {
		frame := unhex(f, g.frame)
		if v6 := frame[14]>>4 == 6; v6 {
			f.Add(frame[54:], frame[22:38], frame[38:54], 255, false)
		} else {
			f.Add(frame[34:], frame[26:30], frame[30:34], 255, frame[30] != 224)
		}
	}
	f.Add([]byte{}, []byte{}, []byte{}, 0, false)
	f.Fuzz(func(t *testing.T, b, src, dst []byte, ttl int, unicast bool) {
		s, ok := netip.AddrFromSlice(src)
		d, ok2 := netip.AddrFromSlice(dst)
		if !ok || !ok2 || FamilyOf(s.Unmap()) != FamilyOf(d.Unmap()) {
			return
		}
		h := Header{Src: s, Dst: d, TTL: ttl, Unicast: unicast}
		before := bytes.Clone(b)
		a, err := ParseAdvert(b, h)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		if errors.Is(err, ErrChecksum) {
			// Chance does not find a checksum, so it is put right.
			b = before
			b[6], b[7] = 0, 0
			sum := checksum(b, b[0]>>4 == 3, s.Unmap().WithZone(""), d.Unmap().WithZone(""))
			binary.BigEndian.PutUint16(b[6:], sum)
			if a, err = ParseAdvert(b, h); errors.Is(err, ErrChecksum) {
				t.Fatalf("a good checksum is refused: %v", err)
			}
		}
		if err != nil {
			if DiscardReason(err) == "other" {
				t.Fatalf("no reason for %v", err)
			}
			return
		}
		family := FamilyOf(s.Unmap())
		switch {
		case ttl < 255:
			t.Fatalf("TTL %d accepted", ttl)
		case unicast == d.Unmap().IsMulticast():
			t.Fatalf("destination %v accepted", d)
		case a.Version != 2 && a.Version != 3, a.Version == 2 && family == IPv6:
			t.Fatalf("version %d over %v accepted", a.Version, family)
		case a.VRID == 0:
			t.Fatal("VRID 0 accepted")
		case a.Interval <= 0, a.Version == 3 && a.Interval > 40950*time.Millisecond, a.Version == 2 && a.Interval > 255*time.Second:
			t.Fatalf("interval %v accepted", a.Interval)
		case len(a.Addresses) == 0, len(a.Addresses) > 255:
			t.Fatalf("%d addresses accepted", len(a.Addresses))
		case a.Version == 3 && a.Auth != Auth{}:
			t.Fatalf("version 3 with authentication %+v", a.Auth)
		}
		for _, addr := range a.Addresses {
			if FamilyOf(addr) != family {
				t.Fatalf("address %v over %v", addr, family)
			}
		}
		same := false
		for _, form := range []ChecksumForm{ChecksumPseudoHeader, ChecksumPlain} {
			wire := a.AppendTo(nil, s, d, form)
			again, err := ParseAdvert(wire, h)
			if err != nil {
				t.Fatalf("what was encoded is refused: %v", err)
			}
			if diff := cmp.Diff(a, again, cmpAddrs); diff != "" {
				t.Fatalf("round trip (-first +second):\n%s", diff)
			}
			same = same || bytes.Equal(wire, b)
		}
		// One of the forms is the input again, but for the reserved bits and for the
		// two representations of zero in a checksum.
		reserved := a.Version == 3 && b[4]&0xf0 != 0
		zero := b[6] == 0xff && b[7] == 0xff
		if !same && !reserved && !zero {
			t.Fatalf("%x is encoded otherwise", b)
		}
	})
}

func TestOneBitChanged(t *testing.T) {
	for _, g := range goldenFrames {
		h, b := split(t, unhex(t, g.frame))
		b[len(b)-1] ^= 1
		if _, err := ParseAdvert(b, h); !errors.Is(err, ErrChecksum) {
			t.Errorf("%s with one bit changed: %v, want %v", g.name, err, ErrChecksum)
		}
	}
}
