package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Version is the protocol version in an advertisement's first four bits.
type Version uint8

// The protocol versions. Version 2 is RFC 3768, version 3 is RFC 9568.
const (
	Version2 Version = 2
	Version3 Version = 3
)

// Family is the address family a virtual router works in. One virtual router
// protects addresses of one family (RFC 9568 section 1.2).
type Family uint8

// The address families. The values are the IP version numbers.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of an address; an IPv4-mapped IPv6 address is IPv6.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

func (f Family) String() string { return fmt.Sprintf("ipv%d", uint8(f)) }

// VRID is the Virtual Router Identifier, 1 to 255 (RFC 9568 section 5.2.3). It is
// unique per interface and family.
type VRID uint8

// Priority is a router's priority for one virtual router (RFC 9568 section 5.2.4).
type Priority uint8

// The priorities with a meaning of their own.
const (
	// PriorityRelease says that the Master stops taking part.
	PriorityRelease Priority = 0
	// PriorityDefault is what a router that was told nothing uses.
	PriorityDefault Priority = 100
	// PriorityOwner is that of the router whose own address is the virtual one.
	PriorityOwner Priority = 255
)

// ID identifies a virtual router on this machine.
type ID struct {
	Interface string
	Family    Family
	VRID      VRID
}

func (id ID) String() string {
	return fmt.Sprintf("%s/%s/%d", id.Interface, id.Family, id.VRID)
}

// Params is what a [VirtualRouter] works with. It is a value: a change is a new
// Params in a [ParamsChanged] event.
type Params struct {
	Version Version
	// Priority is the effective priority, 1 to 255.
	Priority Priority
	// AdvertInterval is Advertisement_Interval, 10 ms to 40.95 s for version 3,
	// whole seconds for version 2.
	AdvertInterval time.Duration
	// Preempt is Preempt_Mode: whether to take mastership from a Master of lower
	// priority. An owner always does.
	Preempt bool
	// PreemptDelay is how long a Master of lower priority is tolerated, counted
	// from the first of its advertisements, before it is preempted.
	PreemptDelay time.Duration
	// Addresses are the virtual addresses in configured order, with the prefix
	// length to put on the interface. Only the address travels.
	Addresses []netip.Prefix
	// Source is the address that advertisements are sent from. Two Masters of
	// equal priority are decided by it (RFC 9568 section 6.4.3). It is invalid as
	// long as the interface has none.
	Source netip.Addr
	// Auth is what version 2 sends and demands; zero is no authentication.
	Auth Auth
	// Excluded are further addresses that the Master holds and announces but does not
	// advertise: too many for a packet, or of the other family.
	Excluded []netip.Prefix
	// StartDelay is how long after Startup nothing is heard and no timer runs: a
	// switch port that has just come up may not forward yet.
	StartDelay time.Duration
	// Hold keeps a Backup from taking over when the Master falls silent. It is for a
	// director that knows by other means that the Master is alive. It does not hold
	// back after the Master has said priority 0.
	Hold bool
	// Announcements are how often a Master tells the neighbours; zero values are the
	// defaults.
	Announcements Announcements
}

// Announcements are how often a Master tells the neighbours where its addresses are.
type Announcements struct {
	// Rounds is how many rounds follow a reason to announce; 0: 5.
	Rounds int
	// Spacing is the time between two of them; 0: 1.1 s. Linux neighbours ignore some
	// forms within one second of the last.
	Spacing time.Duration
	// Refresh is the time between later rounds; 0: one minute.
	Refresh time.Duration
}

// Held returns every address that a Master holds, those that it advertises first.
func (p Params) Held() []netip.Prefix {
	if len(p.Excluded) == 0 {
		return p.Addresses
	}
	return slices.Concat(p.Addresses, p.Excluded)
}

// Equal tells whether two Params are the same value.
func (p Params) Equal(q Params) bool {
	return p.Version == q.Version && p.Priority == q.Priority &&
		p.AdvertInterval == q.AdvertInterval && p.Preempt == q.Preempt &&
		p.PreemptDelay == q.PreemptDelay && p.Source == q.Source &&
		p.Auth == q.Auth && p.StartDelay == q.StartDelay && p.Hold == q.Hold &&
		p.Announcements == q.Announcements &&
		slices.Equal(p.Addresses, q.Addresses) && slices.Equal(p.Excluded, q.Excluded)
}

// Validate returns every rule of the protocol that p breaks, joined.
func (p Params) Validate() error {
	var errs []error
	switch p.Version {
	case Version2:
		if p.AdvertInterval < time.Second || p.AdvertInterval > 255*time.Second || p.AdvertInterval%time.Second != 0 {
			errs = append(errs, fmt.Errorf("advertisement interval %v: version 2 takes whole seconds from 1s to 255s", p.AdvertInterval))
		}
	case Version3:
		if p.AdvertInterval < 10*time.Millisecond || p.AdvertInterval > 40950*time.Millisecond || p.AdvertInterval%(10*time.Millisecond) != 0 {
			errs = append(errs, fmt.Errorf("advertisement interval %v: version 3 takes multiples of 10ms from 10ms to 40.95s", p.AdvertInterval))
		}
	default:
		errs = append(errs, fmt.Errorf("version %d is neither 2 nor 3", p.Version))
	}
	if p.Version != Version2 && p.Auth != (Auth{}) {
		errs = append(errs, errors.New("authentication: version 3 has none"))
	}
	if p.Version == Version2 && len(p.Addresses) > 0 && FamilyOf(p.Addresses[0].Addr()) != IPv4 {
		errs = append(errs, fmt.Errorf("virtual address %v: version 2 knows IPv4 only", p.Addresses[0]))
	}
	if p.Priority == PriorityRelease {
		errs = append(errs, errors.New("priority 0 is reserved for a Master that stops"))
	}
	if p.PreemptDelay < 0 {
		errs = append(errs, fmt.Errorf("preempt delay %v is negative", p.PreemptDelay))
	}
	if n := len(p.Addresses); n == 0 || n > 255 {
		errs = append(errs, fmt.Errorf("%d virtual addresses: an advertisement carries 1 to 255", n))
	}
	if p.StartDelay < 0 {
		errs = append(errs, fmt.Errorf("start delay %v is negative", p.StartDelay))
	}
	held := p.Held()
	for i, a := range held {
		if i < len(p.Addresses) && FamilyOf(a.Addr()) != FamilyOf(held[0].Addr()) {
			errs = append(errs, fmt.Errorf("virtual address %v is of another family than %v", a, held[0]))
		}
		if slices.ContainsFunc(held[:i], func(b netip.Prefix) bool { return b.Addr() == a.Addr() }) {
			errs = append(errs, fmt.Errorf("virtual address %v is named twice", a.Addr()))
		}
	}
	return errors.Join(errs...)
}
