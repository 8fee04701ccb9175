package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Guard decides whether only known directors count on an interface with the given
// addresses, virtual ones left out. It returns the virtual router as its socket is
// to be opened: with its Senders if of each of them an address is known that its
// advertisements can come from here; else without any, and why, in words for the
// operator.
//
// Such an address is of the virtual router's family and, over multicast, within one
// of the interface's own prefixes (IPv4) or link-local (IPv6). A list that lacks a
// director would make two Masters, which is worse than none.
//
// Unicast is always guarded, because Peers are.
func (i Instance) Guard(own []netip.Prefix) (guarded Instance, unguarded string) {
	if i.Unicast {
		return i, ""
	}
	here := func(a netip.Addr) bool {
		if i.ID.Family == IPv6 {
			return a.Is6() && a.IsLinkLocalUnicast()
		}
		return a.Is4() && slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	var missing []string
	for _, s := range i.Senders {
		if !slices.ContainsFunc(s.Addresses, func(a netip.Addr) bool { return here(plain(a)) }) {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) == 0 {
		return i, ""
	}
	i.Senders = nil
	kind := "address"
	if i.ID.Family == IPv6 {
		kind = "link-local address"
	}
	return i, fmt.Sprintf("no %s of %s is known on %s, so advertisements from any address are accepted",
		kind, strings.Join(missing, " or "), i.ID.Interface)
}

// Known returns the addresses that advertisements are accepted from, which are those
// of Senders and, for unicast, of Peers; nil: any.
func (i Instance) Known() []netip.Addr {
	var known []netip.Addr
	add := func(as []netip.Addr) {
		for _, a := range as {
			if a = plain(a); FamilyOf(a) == i.ID.Family && !slices.Contains(known, a) {
				known = append(known, a)
			}
		}
	}
	if i.Unicast {
		add(i.Peers)
	}
	for _, s := range i.Senders {
		add(s.Addresses)
	}
	return known
}

// plain is an address as it is compared: without the zone and the IPv4-mapped form
// that a socket or a configuration may give it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
