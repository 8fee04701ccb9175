package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The trailer follows the advertisement:
//
//	 0                   1                   2                   3
//	+---------------+---------------+-------------------------------+
//	| Type          | Key ID        | Reserved                      |
//	+---------------+---------------+-------------------------------+
//	| Seconds since 1970, UTC                                       |
//	+-------------------------------+-------------------------------+
//	| Fraction of the second        | Counter                       |
//	+-------------------------------+-------------------------------+
//	| HMAC-SHA256, the first 16 bytes                               |
//	+---------------------------------------------------------------+
const (
	trailerLen  = 28
	trailerType = 1
	macLen      = 16
)

// Key returns the secret of a key.
func (h *HMAC) Key(id uint8) (secret []byte, ok bool) {
	for _, k := range h.Keys {
		if k.ID == id {
			return k.Secret, true
		}
	}
	return nil, false
}

// Signs tells whether what is sent gets a trailer. nil signs nothing.
func (h *HMAC) Signs() bool { return h != nil && h.Mode != HMACReceiveOnly }

// Sign appends the trailer to what [Advert.AppendTo] has made for a datagram from src
// to dst, b from the first byte. The same stamp is for the copies of one
// advertisement to several peers.
func (h *HMAC) Sign(b []byte, src, dst netip.Addr, s Stamp) ([]byte, error) {
	secret, ok := h.Key(h.ActiveKey)
	if !ok {
		return nil, fmt.Errorf("sign advertisement: there is no key %d", h.ActiveKey)
	}
	src, dst = plain(src), plain(dst)
	b = append(b, trailerType, h.ActiveKey, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(s))
	mac := authenticate(b, src, secret)
	b = append(b, mac[:]...)
	if src.Is6() {
		b[6], b[7] = 0, 0
		binary.BigEndian.PutUint16(b[6:], checksum(b, true, src, dst))
	}
	return b, nil
}

// checksummed is what the checksum covers of an advertisement of n bytes and its
// trailer. Over IPv6 that is both, because keepalived leaves the checksum to its
// kernel, which knows no trailer. The HMAC reads the checksum as zero.
func checksummed(b []byte, n int, f Family) []byte {
	if f == IPv6 {
		return b
	}
	return b[:n]
}

// authenticate computes the HMAC of an advertisement from src with the first part of
// its trailer. The source address binds it to its sender; destination and TTL are
// left out.
func authenticate(b []byte, src netip.Addr, secret []byte) [macLen]byte {
	var pseudo [20]byte
	pseudo[0], pseudo[1], pseudo[2] = byte(FamilyOf(src)), b[0]>>4, b[1]
	copy(pseudo[4:], src.AsSlice()) // an IPv4 address is followed by zeros
	var zero [macLen]byte
	m := hmac.New(sha256.New, secret)
	m.Write(pseudo[:])
	m.Write(b[:6])
	m.Write(zero[:2]) // the checksum
	m.Write(b[8:])
	m.Write(zero[:]) // the HMAC
	return [macLen]byte(m.Sum(nil))
}

// stampOf reads a trailer's stamp, which is not authenticated yet, and the number of
// its key.
func stampOf(trailer []byte) (s Stamp, key uint8, err error) {
	if t, reserved := trailer[0], binary.BigEndian.Uint16(trailer[2:]); t != trailerType || reserved != 0 {
		return 0, 0, fmt.Errorf("%w: trailer type %d, reserved %d", ErrHMAC, t, reserved)
	}
	return Stamp(binary.BigEndian.Uint64(trailer[4:])), trailer[1], nil
}

// verify checks the HMAC of an advertisement from src with its trailer.
func (h *HMAC) verify(b []byte, src netip.Addr, key uint8) error {
	secret, ok := h.Key(key)
	if !ok {
		return fmt.Errorf("%w: %v signs with key %d, which we do not have", ErrHMAC, src, key)
	}
	signed := len(b) - macLen
	mac := authenticate(b[:signed], src, secret)
	if subtle.ConstantTimeCompare(mac[:], b[signed:]) != 1 {
		return fmt.Errorf("%w: %v has another key %d, or somebody else sent it", ErrHMAC, src, key)
	}
	return nil
}
