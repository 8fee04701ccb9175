package netif

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// openHandle opens a netlink socket that does not wait for ever.
func openHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	if err := h.SetSocketTimeout(netlinkTimeout); err != nil {
		h.Close()
		return nil, fmt.Errorf("set rtnetlink timeout: %w", err)
	}
	return h, nil
}

// dump repeats a listing that changed while the kernel was producing it. One that
// is torn every time is used as it is: events follow that mend it.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for range 4 {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
	got, err := list()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return got, err
}

func listAddrs(h *netlink.Handle, l netlink.Link, family int) ([]netlink.Addr, error) {
	return dump(func() ([]netlink.Addr, error) { return h.AddrList(l, family) })
}

// LocalAddresses returns every address of this machine, whatever the interface's
// state, with its prefix length.
func LocalAddresses() ([]netip.Prefix, error) {
	addrs, err := allAddrs()
	if err != nil {
		return nil, fmt.Errorf("list local addresses: %w", err)
	}
	var all []netip.Prefix
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// InterfaceOf returns the name of the interface that has the address. An address
// that is on none is an error.
func InterfaceOf(addr netip.Addr) (string, error) {
	addrs, err := allAddrs()
	if err != nil {
		return "", fmt.Errorf("find the interface of %v: %w", addr, err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); !ok || p.Addr() != addr.Unmap().WithZone("") {
			continue
		}
		h, err := openHandle()
		if err != nil {
			return "", err
		}
		defer h.Close()
		l, err := h.LinkByIndex(a.LinkIndex)
		if err != nil {
			return "", fmt.Errorf("find the interface of %v: %w", addr, err)
		}
		return l.Attrs().Name, nil
	}
	return "", fmt.Errorf("no local interface has the address %v", addr)
}

func allAddrs() ([]netlink.Addr, error) {
	h, err := openHandle()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return listAddrs(h, nil, netlink.FAMILY_ALL)
}
