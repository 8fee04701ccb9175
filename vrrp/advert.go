package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Protocol is VRRP's IP protocol number (RFC 9568 section 5.1.1.4).
const Protocol = 112

// TTL is what advertisements leave with. Over multicast it proves that no router
// has forwarded them (RFC 9568 section 5.1.1.3).
const TTL = 255

// typeAdvertisement is the only packet type (RFC 9568 section 5.2.2).
const typeAdvertisement = 1

// headerLen is the length of the fixed fields, in both versions.
const headerLen = 8

// Group returns the multicast group that a family's advertisements go to
// (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
func Group(f Family) netip.Addr {
	if f == IPv6 {
		return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
	}
	return netip.AddrFrom4([4]byte{224, 0, 0, 18})
}

// Advert is a VRRP advertisement (RFC 9568 section 5.2, RFC 3768 section 5.3).
type Advert struct {
	Version  Version
	VRID     VRID
	Priority Priority
	// Interval is Max Advertise Interval (version 3, centiseconds on the wire) or
	// Adver Int (version 2, seconds on the wire).
	Interval time.Duration
	// Addresses are the virtual addresses, 1 to 255, of one family.
	Addresses []netip.Addr
	// Auth is version 2's authentication; zero in version 3.
	Auth Auth
}

// Header is what [ParseAdvert] needs to know of the datagram that carried an
// advertisement, and of what the receiver listens for.
type Header struct {
	// Src and Dst are the datagram's addresses. A zone is ignored.
	Src, Dst netip.Addr
	// TTL is the IPv4 TTL or the IPv6 Hop Limit.
	TTL int
	// Unicast says that the receiver expects its peers' unicast advertisements, and
	// refuses multicast ones. Otherwise it is the other way round.
	Unicast bool
	// MinTTL is the lowest TTL that is accepted of unicast; 0: 255. That of multicast
	// is 255.
	MinTTL int
	// Known are the addresses that are accepted as Src, without zones; nil: any.
	Known []netip.Addr
}

// minTTL returns the lowest TTL that is accepted.
func (h Header) minTTL() int {
	if !h.Unicast || h.MinTTL == 0 {
		return TTL
	}
	return h.MinTTL
}

// ParseAdvert decodes the VRRP part of a datagram, from the version field to the
// last byte, for a receiver without an [HMAC]; one with it has a [Verifier]. The checks are those of RFC 9568 section 7.1, for version 2 those of
// RFC 3768 section 7.1, in the order given there; the first that fails decides the
// error, which wraps one of the sentinels of this package ([DiscardReason]).
//
// What depends on the receiving virtual router is not checked here: see
// [Params.Check]. The Advert does not refer to b.
func ParseAdvert(b []byte, h Header) (Advert, error) {
	a, _, err := parse(b, h, false)
	return a, err
}

// parse is ParseAdvert, which also takes advertisements with a trailer if that is
// allowed, and returns it without having looked into it.
func parse(b []byte, h Header, trailerAllowed bool) (a Advert, trailer []byte, err error) {
	src, dst := plain(h.Src), plain(h.Dst)
	if h.Unicast == dst.IsMulticast() {
		return Advert{}, nil, fmt.Errorf("%w: %v", ErrDestination, dst)
	}
	if lowest := h.minTTL(); h.TTL < lowest {
		return Advert{}, nil, fmt.Errorf("%w: %d, want %d", ErrTTL, h.TTL, lowest)
	}
	if len(b) < headerLen {
		return Advert{}, nil, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	a = Advert{Version: Version(b[0] >> 4), VRID: VRID(b[1]), Priority: Priority(b[2])}
	family := FamilyOf(src)
	// Version 2 knows IPv4 alone.
	if a.Version != Version3 && (a.Version != Version2 || family != IPv4) {
		return Advert{}, nil, fmt.Errorf("%w: %d over %v", ErrVersion, a.Version, family)
	}
	if t := b[0] & 0x0f; t != typeAdvertisement {
		return Advert{}, nil, fmt.Errorf("%w: %d", ErrType, t)
	}
	count := int(b[3])
	want := wireLen(a.Version, family, count)
	if len(b) != want && (!trailerAllowed || len(b) != want+trailerLen) {
		return Advert{}, nil, fmt.Errorf("%w: %d bytes, %d addresses take %d", ErrLength, len(b), count, want)
	}
	pdu, trailer := b[:want], b[want:]
	if !checksumValid(checksummed(b, want, family), a.Version, src, dst) {
		return Advert{}, nil, fmt.Errorf("%w: %#04x", ErrChecksum, binary.BigEndian.Uint16(b[6:]))
	}
	// RFC 9568 section 5.2.5 and erratum 8299.
	if count == 0 {
		return Advert{}, nil, ErrNoAddresses
	}
	// Zero would make every Backup's timer run out at once (erratum 8301).
	if a.Interval = decodeInterval(a.Version, b[4:6]); a.Interval == 0 {
		return Advert{}, nil, ErrZeroInterval
	}
	if a.VRID == 0 {
		return Advert{}, nil, ErrVRID
	}
	if h.Known != nil && !slices.Contains(h.Known, src) {
		return Advert{}, nil, fmt.Errorf("%w: %v", ErrPeer, src)
	}
	a.Addresses = make([]netip.Addr, 0, count)
	size := addrLen(family)
	for rest := b[headerLen : headerLen+count*size]; len(rest) > 0; rest = rest[size:] {
		addr, _ := netip.AddrFromSlice(rest[:size])
		a.Addresses = append(a.Addresses, addr)
	}
	if a.Version == Version2 {
		a.Auth.Type = AuthType(b[4])
		copy(a.Auth.Data[:], pdu[len(pdu)-authLen:])
	}
	return a, trailer, nil
}

// AppendTo appends the advertisement's wire form to b, for a datagram from src to
// dst, and returns the extended slice. The family is that of src, and a must be
// what [Params.Validate] accepts. The form matters for version 3 over IPv4 only.
func (a Advert) AppendTo(b []byte, src, dst netip.Addr, form ChecksumForm) []byte {
	src, dst = plain(src), plain(dst)
	start := len(b)
	b = slices.Grow(b, wireLen(a.Version, FamilyOf(src), len(a.Addresses)))
	b = append(b, byte(a.Version)<<4|typeAdvertisement, byte(a.VRID), byte(a.Priority), byte(len(a.Addresses)))
	b = a.appendInterval(b)
	b = append(b, 0, 0)
	for _, addr := range a.Addresses {
		b = append(b, addr.AsSlice()...)
	}
	if a.Version == Version2 {
		b = append(b, a.Auth.Data[:]...)
	}
	pseudo := a.Version == Version3 && (src.Is6() || form == ChecksumPseudoHeader)
	binary.BigEndian.PutUint16(b[start+6:], checksum(b[start:], pseudo, src, dst))
	return b
}

// appendInterval appends the two bytes before the checksum: version 3's reserved
// nibble and centiseconds, or version 2's authentication type and seconds.
func (a Advert) appendInterval(b []byte) []byte {
	if a.Version == Version2 {
		return append(b, byte(a.Auth.Type), byte(a.Interval/time.Second))
	}
	return binary.BigEndian.AppendUint16(b, uint16(a.Interval/(10*time.Millisecond))&0x0fff)
}

func decodeInterval(v Version, b []byte) time.Duration {
	if v == Version2 {
		return time.Duration(b[1]) * time.Second
	}
	return time.Duration(binary.BigEndian.Uint16(b)&0x0fff) * 10 * time.Millisecond
}

// wireLen is the only length that an advertisement of n addresses may have.
func wireLen(v Version, f Family, n int) int {
	l := headerLen + n*addrLen(f)
	if v == Version2 {
		l += authLen
	}
	return l
}

func addrLen(f Family) int {
	if f == IPv6 {
		return 16
	}
	return 4
}
