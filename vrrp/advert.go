package vrrp

import (
	"net/netip"
	"time"
)

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
}
