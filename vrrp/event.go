package vrrp

import "net/netip"

// Event is something that happened to a virtual router. The set is closed.
type Event interface{ event() }

type (
	// Startup starts the protocol (RFC 9568 section 6.4.1). Adopt says that this
	// virtual router was Master until a moment ago and still has its addresses: it
	// goes on being Master.
	Startup struct{ Adopt bool }
	// Shutdown stops it; a Master says so with priority 0.
	Shutdown struct{}
	// Timeout says that the deadline has come. An early one does nothing.
	Timeout struct{}
	// AdvertReceived is an advertisement that ParseAdvert accepted, for this
	// virtual router, from another router.
	AdvertReceived struct {
		From   netip.Addr
		Advert Advert
	}
	// ParamsChanged replaces the parameters in place, whatever the state. Virtual
	// addresses that are new are acquired before those that are gone are released.
	ParamsChanged struct{ Params Params }
	// HandOver asks a Master to give way to a Backup: it says priority 0 and keeps
	// its addresses until somebody else advertises. If nobody does, it goes on.
	HandOver struct{}
	// AnnounceAgain asks a Master to announce its addresses again, because neighbours
	// may have another router's.
	AnnounceAgain struct{}
	// Failed says that the virtual router cannot take part, in words for the
	// operator: "link eth0 is down".
	Failed struct{ Detail string }
	// Recovered ends Failed.
	Recovered struct{}
)

func (Startup) event()        {}
func (Shutdown) event()       {}
func (Timeout) event()        {}
func (AdvertReceived) event() {}
func (ParamsChanged) event()  {}
func (HandOver) event()       {}
func (AnnounceAgain) event()  {}
func (Failed) event()         {}
func (Recovered) event()      {}
