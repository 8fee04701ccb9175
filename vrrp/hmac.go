package vrrp

import (
	"slices"
	"time"
)

// HMAC authenticates advertisements with a trailer (draft-cassen-vrrp-auth-hmac).
type HMAC struct {
	// Keys are those that are accepted; the one with ActiveKey signs.
	Keys      []HMACKey
	ActiveKey uint8
	Mode      HMACMode
	// Window is how far a sender's clock may be from the last of its advertisements;
	// 0: three advertisement intervals, at least 5 s.
	Window time.Duration
}

// HMACKey is a shared secret and the number that the trailer names it by.
type HMACKey struct {
	ID     uint8
	Secret []byte
}

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
	return h.ActiveKey == g.ActiveKey && h.Mode == g.Mode && h.Window == g.Window &&
		slices.EqualFunc(h.Keys, g.Keys, func(a, b HMACKey) bool {
			return a.ID == b.ID && slices.Equal(a.Secret, b.Secret)
		})
}
