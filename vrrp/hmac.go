package vrrp

import (
	"fmt"
	"slices"
	"time"
)

// HMAC authenticates advertisements with a trailer (draft-cassen-vrrp-auth-hmac, as
// keepalived 2.4.2 and later speak it).
type HMAC struct {
	// Keys are those that are accepted; the one with ActiveKey signs.
	Keys      []HMACKey
	ActiveKey uint8
	Mode      HMACMode
	// Window is how far a sender's clock may be from ours; 0: three advertisement
	// intervals, 5 s to 5 min.
	Window time.Duration
	// Monotonic says that clocks are not compared: each advertisement of a sender has
	// to be newer than the one before, and that is all. What somebody has recorded is
	// accepted again after a restart of the receiver.
	Monotonic bool
}

// HMACKey is a shared secret and the number that the trailer names it by.
type HMACKey struct {
	ID     uint8
	Secret []byte
}

// String names the key and hides the secret, from %+v too.
func (k HMACKey) String() string { return fmt.Sprintf("key %d", k.ID) }

// GoString is String, for %#v.
func (k HMACKey) GoString() string { return k.String() }

// HMACMode is what is sent and what is accepted.
type HMACMode uint8

// The modes, in the order of a migration. HMACReceiveOnly verifies signed
// advertisements and sends unsigned ones, HMACPermissive signs and accepts unsigned
// ones, HMACEnforce signs and accepts nothing unsigned.
const (
	HMACEnforce HMACMode = iota
	HMACPermissive
	HMACReceiveOnly
)

// Equal tells whether two HMACs are the same value; nil is one.
func (h *HMAC) Equal(g *HMAC) bool {
	if h == nil || g == nil {
		return h == g
	}
	return h.ActiveKey == g.ActiveKey && h.Mode == g.Mode && h.Window == g.Window && h.Monotonic == g.Monotonic &&
		slices.EqualFunc(h.Keys, g.Keys, func(a, b HMACKey) bool {
			return a.ID == b.ID && slices.Equal(a.Secret, b.Secret)
		})
}
