package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Check tells whether a virtual router with these parameters takes an
// advertisement from a sender, after [ParseAdvert] has accepted it. The error
// wraps a sentinel of this package; the advertisement then changes nothing.
//
// An owner of the addresses takes advertisements like everybody else (RFC 9568
// erratum 8298): two owners that ignored each other would both stay Master for ever.
func (p Params) Check(from netip.Addr, a Advert) error {
	if sameHost(from, p.Source) {
		return fmt.Errorf("%w: %v", ErrOwnAddress, from)
	}
	if a.Version != p.Version {
		return fmt.Errorf("%w: %v sends version %d, we speak %d", ErrVersion, from, a.Version, p.Version)
	}
	if p.Version != Version2 {
		return nil
	}
	// RFC 3768 section 7.1. The password itself is told to nobody.
	if a.Auth.Type != p.Auth.Type {
		return fmt.Errorf("%w: %v sends type %d, ours is %d", ErrAuth, from, a.Auth.Type, p.Auth.Type)
	}
	if p.Auth.Type == AuthPassword && a.Auth.Data != p.Auth.Data {
		return fmt.Errorf("%w: the password of %v is another than ours", ErrAuth, from)
	}
	if a.Interval != p.AdvertInterval {
		return fmt.Errorf("%w: %v sends every %v, we every %v", ErrInterval, from, a.Interval, p.AdvertInterval)
	}
	return nil
}

// Mismatch describes what an accepted advertisement has otherwise than we have, so
// that an operator can be told: the virtual addresses, and in version 3 the
// interval. Neither is a reason to discard it (RFC 9568 section 7.1). RFC 3768 lets
// a version 2 receiver refuse another list of addresses; we do not, because two
// directors in the middle of a change would both become Master.
func (p Params) Mismatch(from netip.Addr, a Advert) error {
	var errs []error
	if !sameAddresses(p.Addresses, a.Addresses) {
		errs = append(errs, fmt.Errorf("%v advertises other virtual addresses: %v", from, a.Addresses))
	}
	if a.Interval != p.AdvertInterval {
		errs = append(errs, fmt.Errorf("%v advertises every %v, we every %v", from, a.Interval, p.AdvertInterval))
	}
	return errors.Join(errs...)
}

// sameAddresses compares as sets, because routers differ in the order.
func sameAddresses(ours []netip.Prefix, theirs []netip.Addr) bool {
	if slices.EqualFunc(ours, theirs, func(p netip.Prefix, a netip.Addr) bool { return p.Addr() == a }) {
		return true
	}
	contained := func(p netip.Prefix) bool { return slices.Contains(theirs, p.Addr()) }
	return len(ours) == len(theirs) && !slices.ContainsFunc(ours, func(p netip.Prefix) bool { return !contained(p) })
}

// sameHost compares addresses without the zone that a socket may put on them.
func sameHost(a, b netip.Addr) bool { return compareHosts(a, b) == 0 }

// compareHosts orders addresses as unsigned integers in network byte order (RFC
// 9568 section 6.4.3).
func compareHosts(a, b netip.Addr) int {
	return a.Unmap().WithZone("").Compare(b.Unmap().WithZone(""))
}
