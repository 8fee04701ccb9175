package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddressesByInterface returns every interface of this machine by its name, with its
// addresses, whatever its state.
func AddressesByInterface() (map[string][]netip.Prefix, error) {
	t, err := readTable()
	if err != nil {
		return nil, err
	}
	byName := make(map[string][]netip.Prefix, len(t.links))
	for index, l := range t.links {
		byName[l.name] = nil
		for _, a := range t.addrs[index] {
			byName[l.name] = append(byName[l.name], a.prefix)
		}
	}
	return byName, nil
}

// AddAddress puts one address on an interface, in the way of [Addresses] but
// without its care for other addresses. One that is there already is no error.
func AddAddress(ifname string, p netip.Prefix) error {
	return onLink(ifname, "add address "+p.String(), func(h *netlink.Handle, l netlink.Link) error {
		return ignore(h.AddrAdd(l, newAddr(p)), unix.EEXIST)
	})
}

// DeleteAddress takes one address off an interface. One that is not there is no
// error.
func DeleteAddress(ifname string, p netip.Prefix) error {
	return onLink(ifname, "delete address "+p.String(), func(h *netlink.Handle, l netlink.Link) error {
		return ignore(h.AddrDel(l, newAddr(p)), unix.EADDRNOTAVAIL)
	})
}

// HostRoutes returns the destinations of the main table's host routes over an
// interface: what "ip route show dev lo" lists with a full prefix length.
func HostRoutes(ifname string) ([]netip.Addr, error) {
	var dsts []netip.Addr
	err := onLink(ifname, "list routes", func(h *netlink.Handle, l netlink.Link) error {
		routes, err := dump(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(netlink.FAMILY_ALL,
				&netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_MAIN},
				netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		})
		for _, r := range routes {
			if p, ok := prefixOf(r.Dst); ok && p.IsSingleIP() {
				dsts = append(dsts, p.Addr())
			}
		}
		return err
	})
	return dsts, err
}

// AddHostRoute adds a route to a single address over an interface, to the main
// table. One that is there already is no error.
func AddHostRoute(ifname string, dst netip.Addr) error {
	return onLink(ifname, "add route to "+dst.String(), func(h *netlink.Handle, l netlink.Link) error {
		return ignore(h.RouteAdd(hostRoute(l, dst)), unix.EEXIST)
	})
}

// DeleteHostRoute deletes what AddHostRoute adds. One that is not there is no error.
func DeleteHostRoute(ifname string, dst netip.Addr) error {
	return onLink(ifname, "delete route to "+dst.String(), func(h *netlink.Handle, l netlink.Link) error {
		return ignore(h.RouteDel(hostRoute(l, dst)), unix.ESRCH)
	})
}

func hostRoute(l netlink.Link, dst netip.Addr) *netlink.Route {
	return &netlink.Route{
		LinkIndex: l.Attrs().Index,
		Dst:       &net.IPNet{IP: dst.AsSlice(), Mask: net.CIDRMask(dst.BitLen(), dst.BitLen())},
		Scope:     netlink.SCOPE_LINK,
		Table:     unix.RT_TABLE_MAIN,
	}
}

// onLink does something with the named interface and says in the error what.
func onLink(ifname, what string, do func(*netlink.Handle, netlink.Link) error) error {
	h, err := openHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(ifname)
	if err == nil {
		err = do(h, l)
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", what, ifname, err)
	}
	return nil
}

// ignore turns the error that says that nothing was to be done into none.
func ignore(err, done error) error {
	if errors.Is(err, done) {
		return nil
	}
	return err
}
