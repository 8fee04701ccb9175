package vrrp

import "net/netip"

// Action is something the shell has to do. The set is closed, and the order in
// which Handle returns actions is part of its contract.
type Action interface{ action() }

type (
	// SendAdvert sends one advertisement.
	SendAdvert struct{ Advert Advert }
	// AcquireAddrs puts virtual addresses on the interface.
	AcquireAddrs struct{ Addresses []netip.Prefix }
	// ReleaseAddrs takes them away. Addresses that are not there are no error.
	ReleaseAddrs struct{ Addresses []netip.Prefix }
	// Announce tells the neighbours, in both forms that Linux accepts, who has the
	// addresses now.
	Announce struct{ Addresses []netip.Prefix }
	// Transitioned reports a change of state. It comes last, when everything else
	// that the change asks for has been returned before it.
	Transitioned struct{ Transition }
)

func (SendAdvert) action()   {}
func (AcquireAddrs) action() {}
func (ReleaseAddrs) action() {}
func (Announce) action()     {}
func (Transitioned) action() {}
