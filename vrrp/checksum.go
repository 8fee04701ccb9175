package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// ChecksumForm is what the checksum of a version 3 advertisement over IPv4 covers.
// Either form is accepted from others.
type ChecksumForm uint8

// The forms of the checksum.
const (
	// ChecksumPseudoHeader covers a pseudo-header too, as over IPv6. Every
	// keepalived accepts it, and FRR sends it, so it is the default.
	ChecksumPseudoHeader ChecksumForm = iota
	// ChecksumPlain covers the VRRP part alone (RFC 9568 section 5.2.8).
	ChecksumPlain
)

// checksum computes the Internet checksum (RFC 1071) of b, whose own checksum
// field is zero.
func checksum(b []byte, pseudo bool, src, dst netip.Addr) uint16 {
	s := sum(0, b)
	if pseudo {
		s = sumPseudoHeader(s, len(b), src, dst)
	}
	return ^s
}

// checksumValid verifies b, checksum field included. Version 2 has no
// pseudo-header, IPv6 always has one, version 3 over IPv4 may have one.
func checksumValid(b []byte, v Version, src, dst netip.Addr) bool {
	const ok = 0xffff
	plain := sum(0, b)
	if v == Version3 && (src.Is6() || plain != ok) {
		return sumPseudoHeader(plain, len(b), src, dst) == ok
	}
	return plain == ok
}

// sumPseudoHeader adds the pseudo-header to a sum. RFC 8200 section 8.1 has a
// four-byte length, and keepalived's IPv4 form a two-byte one; with lengths below
// 65536 both give the same sum.
func sumPseudoHeader(s uint16, length int, src, dst netip.Addr) uint16 {
	s = sum(s, src.AsSlice())
	s = sum(s, dst.AsSlice())
	return sum(s, binary.BigEndian.AppendUint16([]byte{0, Protocol}, uint16(length)))
}

// sum adds b to a one's complement sum of 16-bit words. Advertisements and
// addresses have an even length.
func sum(s uint16, b []byte) uint16 {
	acc := uint32(s)
	for ; len(b) >= 2; b = b[2:] {
		acc += uint32(binary.BigEndian.Uint16(b))
	}
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc)
}
