package router

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/vrrp"
)

// source chooses the address that advertisements are sent from: one of the
// interface's own, of the family, that no virtual router on the interface has as a
// virtual address. Prefer is taken if it is one of them; else the one in use stays as
// long as it is there, because a change reopens the sockets. The error is in words for the operator.
//
// RFC 9568 section 7.2: over IPv4 the interface's primary address, over IPv6 its
// link-local one. Towards unicast peers the address in their subnet is preferred,
// which for IPv6 is rarely a link-local one.
func source(in vrrp.Instance, addrs []netip.Prefix, virtual map[netip.Addr]bool, current netip.Addr) (netip.Addr, error) {
	if want := in.Source; want.IsValid() {
		if slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr() == want }) {
			return want, nil
		}
		return netip.Addr{}, fmt.Errorf("address %v is not on interface %s", want, in.ID.Interface)
	}
	var own, ours []netip.Prefix
	for _, p := range addrs {
		switch {
		case vrrp.FamilyOf(p.Addr()) != in.ID.Family:
		case in.ID.Family == vrrp.IPv6 && !in.Unicast && !p.Addr().IsLinkLocalUnicast():
		case !virtual[p.Addr()]:
			own = append(own, p)
		case in.Priority == vrrp.PriorityOwner && slices.ContainsFunc(in.Addresses, func(v netip.Prefix) bool { return v.Addr() == p.Addr() }):
			// The owner's virtual address may be the only one it has.
			ours = append(ours, p)
		}
	}
	own = append(own, ours...)
	if len(own) == 0 {
		kind := fmt.Sprint(in.ID.Family)
		if in.ID.Family == vrrp.IPv6 && !in.Unicast {
			kind = "ipv6 link-local"
		}
		return netip.Addr{}, fmt.Errorf("interface %s has no %s address of its own", in.ID.Interface, kind)
	}
	// The director's own address first: it is the one that the others know.
	for _, a := range []netip.Addr{in.Prefer, current} {
		if slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return a, nil
		}
	}
	if in.Unicast {
		for _, p := range own {
			if slices.ContainsFunc(in.Peers, p.Contains) {
				return p.Addr(), nil
			}
		}
	}
	return own[0].Addr(), nil
}
