package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/sysctl"
)

// Ensure makes the link, or takes over the one that is there and mends it. Another link
// of that name is an error, and stays as it is.
func (p PrivateLink) Ensure() (PrivateState, error) {
	state, err := p.ensure()
	if err != nil {
		return state, fmt.Errorf("make the private interface %s: %w", p.Name, err)
	}
	return state, nil
}

func (p PrivateLink) ensure() (PrivateState, error) {
	h, err := openHandle()
	if err != nil {
		return PrivateState{}, err
	}
	defer h.Close()
	var s PrivateState
	l, err := p.find(h)
	if err == nil && l == nil {
		s.Made = true
		l, err = p.add(h)
	}
	if err != nil {
		return s, err
	}
	s.Index = l.Attrs().Index
	err = p.mend(h, l, &s)
	if s.Made {
		s.Mended = nil
	}
	return s, err
}

// find returns the private link, nil if there is none.
func (p PrivateLink) find(h *netlink.Handle) (netlink.Link, error) {
	l, err := h.LinkByName(p.Name)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find link: %w", err)
	}
	addrs, err := listAddrs(h, l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	a := l.Attrs()
	is := foundLink{kind: l.Type(), alias: a.Alias, up: a.RawFlags&unix.IFF_UP != 0, addresses: len(addrs)}
	if p.judge(is) == leave {
		return nil, fmt.Errorf("another link has this name, %v: delete or rename it", is)
	}
	return l, nil
}

// add makes the link, down and without a mark. A kernel without dummy links, which cannot
// load them either, says EOPNOTSUPP (rtnl_newlink, net/core/rtnetlink.c).
func (p PrivateLink) add(h *netlink.Handle) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.Name
	err := writer.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = writer.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: p.Peer})
		if err != nil {
			return nil, fmt.Errorf("the kernel has no dummy links; add veth pair: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("add dummy: %w", err)
	}
	l, err := h.LinkByName(p.Name)
	if err != nil {
		return nil, fmt.Errorf("find link: %w", err)
	}
	return l, nil
}

// mend gives the link everything that it needs and does not have. It is set up last.
func (p PrivateLink) mend(h *netlink.Handle, l netlink.Link, s *PrivateState) error {
	a := l.Attrs()
	mended := func(what string) { s.Mended = append(s.Mended, what) }
	for _, step := range []struct {
		what string
		done bool
		do   func() error
	}{
		{"alias", a.Alias == p.Alias, func() error { return writer.LinkSetAlias(l, p.Alias) }},
		{"mtu", a.MTU >= privateMTU, func() error { return writer.LinkSetMTU(l, privateMTU) }},
		{"arp off", a.RawFlags&unix.IFF_NOARP != 0, func() error { return writer.LinkSetARPOff(l) }},
		{"multicast on", a.RawFlags&unix.IFF_MULTICAST != 0, func() error { return writer.LinkSetMulticastOn(l) }},
	} {
		if step.done {
			continue
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		mended(step.what)
	}
	// After the MTU: with a small one IPv6 is off, and comes back with the defaults.
	if err := mendSettings(p.Name, mended); err != nil {
		return err
	}
	addrs, err := listAddrs(h, l, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		have, ok := prefixOf(a.IPNet)
		return ok && have == p.Address && a.Scope == unix.RT_SCOPE_UNIVERSE
	}) {
		if err := ignore(writer.AddrAdd(l, newAddr(p.Address)), unix.EEXIST); err != nil {
			return fmt.Errorf("add address %v: %w", p.Address, err)
		}
		mended("address " + p.Address.String())
	}
	if l.Type() == "veth" {
		if err := p.mendPeer(h, mended); err != nil {
			return fmt.Errorf("other end %s: %w", p.Peer, err)
		}
	}
	if a.RawFlags&unix.IFF_UP == 0 {
		if err := writer.LinkSetUp(l); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		mended("up")
	}
	return nil
}

// mendSettings gives a link the parameters of a private one, but for those that the kernel
// does not have: there is one without IPv6.
func mendSettings(link string, mended func(what string)) error {
	for _, s := range privateSettings(link) {
		have, err := sysctl.Get(s.name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && s.satisfiedBy(have) {
			continue
		}
		if err == nil {
			err = sysctl.Set(s.name, s.value)
		}
		if err != nil {
			return err
		}
		mended(sysctl.Dotted(s.name))
	}
	return nil
}

// mendPeer sets the other end of a veth pair up, so that there is a carrier. What comes
// in there is for no address that it has.
func (p PrivateLink) mendPeer(h *netlink.Handle, mended func(string)) error {
	peer, err := h.LinkByName(p.Peer)
	if err != nil {
		return err
	}
	if err := mendSettings(p.Peer, mended); err != nil {
		return err
	}
	if peer.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := writer.LinkSetUp(peer); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		mended("other end up")
	}
	return nil
}

// Delete deletes the link. One that is gone is no error, and one that was not made here
// stays.
func (p PrivateLink) Delete() error {
	h, err := openHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := p.find(h)
	if err == nil && l != nil {
		err = ignore(writer.LinkDel(l), unix.ENODEV)
	}
	if err != nil {
		return fmt.Errorf("delete the private interface %s: %w", p.Name, err)
	}
	return nil
}
