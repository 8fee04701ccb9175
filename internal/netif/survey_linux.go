package netif

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is a link with its addresses, for a reader that only looks.
type Interface struct {
	Name string
	// Kind is as in "ip link add type": "veth", "ipip"; "device" for hardware.
	Kind      string
	Up        bool // administratively
	Carrier   bool
	Loopback  bool
	MTU       int
	Addresses []InterfaceAddress
}

// InterfaceAddress is an address with what duplicate address detection says of it.
type InterfaceAddress struct {
	Prefix netip.Prefix
	// Duplicate: another machine has it, and the kernel does not use it (IFA_F_DADFAILED).
	Duplicate bool
}

// Survey returns every interface of the machine, in the kernel's order.
func Survey() ([]Interface, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	addrs, err := listAddrs(h, nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var list []Interface
	for _, l := range links {
		state := linkOf(l)
		i := Interface{
			Name: state.name, Kind: l.Type(), Up: state.adminUp, Carrier: state.carrier,
			Loopback: l.Attrs().RawFlags&unix.IFF_LOOPBACK != 0, MTU: l.Attrs().MTU,
		}
		for _, a := range addrs {
			if p, ok := prefixOf(a.IPNet); ok && a.LinkIndex == state.index {
				i.Addresses = append(i.Addresses, InterfaceAddress{Prefix: p, Duplicate: a.Flags&unix.IFA_F_DADFAILED != 0})
			}
		}
		list = append(list, i)
	}
	return list, nil
}

// Way is how the kernel would send a packet.
type Way struct {
	Interface string
	Gateway   netip.Addr // not valid: the destination is on the link
	Local     bool       // the destination is this machine itself
	MTU       int        // of the route; 0: the interface's
	AdvMSS    int        // what TCP asks peers for, in bytes; 0: what follows from the MTU
}

// WayTo asks the kernel which way it would send a packet to dst, from src unless that is
// not valid, and sends nothing. ok is false if there is none.
func WayTo(dst, src netip.Addr) (way Way, ok bool, err error) {
	h, err := openHandle()
	if err != nil {
		return Way{}, false, err
	}
	defer h.Close()
	o := &netlink.RouteGetOptions{}
	if src.IsValid() {
		o.SrcAddr = src.AsSlice()
	}
	routes, err := h.RouteGetWithOptions(dst.AsSlice(), o)
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), err == nil && len(routes) == 0:
		return Way{}, false, nil
	case err != nil:
		return Way{}, false, fmt.Errorf("find the way to %v: %w", dst, err)
	}
	r := routes[0]
	way = Way{Local: r.Type == unix.RTN_LOCAL, MTU: r.MTU, AdvMSS: r.AdvMSS}
	gateway := r.Gw
	if via, ok := r.Via.(*netlink.Via); ok {
		gateway = via.Addr
	}
	if a, ok := netip.AddrFromSlice(gateway); ok && !a.IsUnspecified() {
		way.Gateway = a.Unmap()
	}
	l, err := h.LinkByIndex(r.LinkIndex)
	if err != nil {
		return Way{}, false, fmt.Errorf("find the way to %v: interface %d: %w", dst, r.LinkIndex, err)
	}
	way.Interface = l.Attrs().Name
	return way, true, nil
}
