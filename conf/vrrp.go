package conf

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// VirtualRouter is [vrrp.NAME], for all directors. Config.Instances gives one
// director's view.
type VirtualRouter struct {
	Name             string
	Interface        string
	VRID             vrrp.VRID
	Version          vrrp.Version
	Checksum         vrrp.ChecksumForm
	AdvertInterval   time.Duration
	VirtualAddresses []netip.Prefix
	// ExcludedAddresses are held by the Master and not advertised. They may be of
	// either family.
	ExcludedAddresses []netip.Prefix
	StartDelay        time.Duration
	Preempt           Preempt
	PreemptDelay      time.Duration
	Priority          map[string]vrrp.Priority // by director; complete
	// Track is what changes the priority, or takes the virtual router out.
	Track []Tracking
	// SyncGroup is the name of the virtual routers that are Master together; empty:
	// this one is alone.
	SyncGroup string
	OnSplit   OnSplit
	Unicast   bool
	// UnicastTTL is what unicast advertisements are sent with, UnicastMinTTL the least
	// that is accepted; 255 both if not Unicast.
	UnicastTTL, UnicastMinTTL int
	// Source is where directors advertise from, by director; only what the file gives.
	Source map[string]netip.Addr
	// Auth is version 2's simple password; zero: none.
	Auth vrrp.Auth
	// HMAC is complete but for keys that are not there; nil: not signed.
	HMAC *vrrp.HMAC
	// VMAC is the link of the virtual router's own; nil: none.
	VMAC *vrrp.VMAC
	// Accept is Accept_Mode (RFC 9568 section 6.1).
	Accept bool
	// Announce is complete.
	Announce                   vrrp.Announcements
	LinkUpDelay, LinkDownDelay time.Duration
	Routes                     []vrrp.Route
	Rules                      []vrrp.Rule
}

// family is that of the virtual addresses, of which there is at least one.
func (vr VirtualRouter) family() vrrp.Family { return vrrp.FamilyOf(vr.VirtualAddresses[0].Addr()) }

// Holds tells whether a Master has the address a.
func (vr VirtualRouter) Holds(a netip.Addr) bool {
	same := func(px netip.Prefix) bool { return px.Addr() == a }
	return slices.ContainsFunc(vr.VirtualAddresses, same) || slices.ContainsFunc(vr.ExcludedAddresses, same)
}

// sender is where a director's advertisements come from, as far as the file tells.
func (vr VirtualRouter) sender(d Director) netip.Addr {
	if a, ok := vr.Source[d.Name]; ok {
		return a
	}
	return d.Address
}

// Preempt is when a director takes mastership from a Master of lower priority.
type Preempt uint8

// The preempt modes: true, false and "when-ready".
const (
	PreemptWhenReady Preempt = iota
	PreemptAlways
	PreemptNever
)

// whenReady is PreemptWhenReady in the file.
const whenReady = "when-ready"

func (m Preempt) String() string {
	switch m {
	case PreemptAlways:
		return "true"
	case PreemptNever:
		return "false"
	}
	return whenReady
}

// OnSplit is what a Backup does when the Master's advertisements stop while the
// directors' other heartbeat says that the Master is alive.
type OnSplit uint8

// The answers to a split: "take" and "hold".
const (
	SplitTake OnSplit = iota
	SplitHold
)

func (s OnSplit) String() string {
	if s == SplitHold {
		return "hold"
	}
	return "take"
}
