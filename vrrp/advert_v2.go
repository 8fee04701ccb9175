package vrrp

// AuthType is version 2's authentication type. RFC 3768 section 5.3.6 keeps only
// AuthNone; keepalived still speaks the simple password of RFC 2338.
type AuthType uint8

// The authentication types that the codec knows.
const (
	AuthNone     AuthType = 0
	AuthPassword AuthType = 1
	// AuthHeader is RFC 2338's IP Authentication Header. Its advertisements come
	// as IP protocol 51 and are not decoded.
	AuthHeader AuthType = 2
)

// Auth is version 2's authentication: the type, and the eight bytes that always
// end the advertisement and are covered by its checksum.
type Auth struct {
	Type AuthType
	Data [8]byte
}

// Password returns the simple password of RFC 2338 section 5.3.6.1: the first
// eight bytes, filled up with zeros. It travels in the clear; it keeps apart
// routers that were given the same VRID by mistake, and nobody else.
func Password(s string) Auth {
	a := Auth{Type: AuthPassword}
	copy(a.Data[:], s)
	return a
}

// authLen is the length of version 2's authentication data, which is always there.
const authLen = len(Auth{}.Data)
