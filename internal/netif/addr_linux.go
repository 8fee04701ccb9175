package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Addresser = (*Addresses)(nil)

// Addresses writes virtual addresses. It may be used by any goroutine.
//
// An address is put on the interface with the prefix length that it was configured
// with and no broadcast address. When the interface has another address of the same
// subnet, the kernel makes the virtual one a secondary address, so that the machine
// goes on sending from its own; when it has none, the virtual one is the primary
// address and brings the route to the subnet. An IPv6 address skips duplicate
// address detection, which would keep it silent for a second and condemn it while
// the old Master still answers, and it is deprecated: reachable, but not chosen as
// the source of the machine's own traffic.
//
// If the address is there with another prefix length, acquiring it replaces that
// entry, and releasing it removes that one too: what counts is that an address that
// was released does not answer. A link that was renamed since keeps no address
// either: it is found by its index.
type Addresses struct {
	logger *slog.Logger

	// mu guards what follows, which several virtual routers write.
	mu sync.Mutex
	// held is how an address was last acquired.
	held map[heldKey]holding
	// warned are the interfaces whose promote_secondaries cannot be set.
	warned map[string]bool
	// promoting are the interfaces whose promote_secondaries was set here.
	promoting map[string]bool
}

type heldKey struct {
	ifname string
	addr   netip.Addr
}

// holding is an address's prefix, and the index of the link that it was put on; 0 if
// it has not been put on one.
type holding struct {
	prefix netip.Prefix
	index  int
}

// NewAddresses returns a writer of addresses.
func NewAddresses(logger *slog.Logger) *Addresses {
	return &Addresses{logger: logger, held: map[heldKey]holding{}, warned: map[string]bool{}, promoting: map[string]bool{}}
}

// Acquire puts addresses on the interface; those that are there already are no
// error. Each address is tried, whatever happened to those before it, and the
// failures are joined.
func (w *Addresses) Acquire(ifname string, addrs []netip.Prefix) error {
	w.mu.Lock()
	for _, p := range addrs {
		k := heldKey{ifname, p.Addr()}
		w.held[k] = holding{p, w.held[k].index}
	}
	w.mu.Unlock()
	index, err := w.apply(named(ifname), addrs, planAcquire)
	if index != 0 {
		err = errors.Join(err, w.leaveOthers(ifname, addrs, index))
		w.mu.Lock()
		for _, p := range addrs {
			if k := (heldKey{ifname, p.Addr()}); w.held[k].prefix == p {
				w.held[k] = holding{p, index}
			}
		}
		w.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("acquire addresses on %s: %w", ifname, err)
	}
	return nil
}

// Release takes addresses off the interface; those that are gone already are no
// error, and neither is an interface that is gone. Each address is tried, whatever
// happened to those before it, and the failures are joined.
func (w *Addresses) Release(ifname string, addrs []netip.Prefix) error {
	index, err := w.leave(named(ifname), ifname, addrs)
	err = errors.Join(err, w.leaveOthers(ifname, addrs, index))
	if err != nil {
		return fmt.Errorf("release addresses on %s: %w", ifname, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range addrs {
		if k := (heldKey{ifname, p.Addr()}); w.held[k].prefix == p {
			delete(w.held, k)
		}
	}
	return nil
}

// leave takes addresses off a link that was acquired under the name ifname, and
// returns the link's index. A link that is gone is no error.
func (w *Addresses) leave(find finder, ifname string, addrs []netip.Prefix) (index int, err error) {
	index, err = w.apply(find, addrs, func(have []address, gone []netip.Prefix) []step {
		return planRelease(have, gone, func(a netip.Addr) (netip.Prefix, bool) { return w.heldAs(ifname, a) })
	})
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		err = nil
	}
	return index, err
}

// leaveOthers takes addresses off the links on which they were put when these had the
// name ifname, but for the link that has it now.
func (w *Addresses) leaveOthers(ifname string, addrs []netip.Prefix, index int) error {
	others := map[int][]netip.Prefix{}
	w.mu.Lock()
	for _, p := range addrs {
		if h := w.held[heldKey{ifname, p.Addr()}]; h.index != 0 && h.index != index {
			others[h.index] = append(others[h.index], p)
		}
	}
	w.mu.Unlock()
	var errs []error
	for other, some := range others {
		_, err := w.leave(indexed(other), ifname, some)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w *Addresses) heldAs(ifname string, a netip.Addr) (netip.Prefix, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h, ok := w.held[heldKey{ifname, a}]
	return h.prefix, ok
}

// finder finds a link.
type finder func(*netlink.Handle) (netlink.Link, error)

func named(ifname string) finder {
	return func(h *netlink.Handle) (netlink.Link, error) { return h.LinkByName(ifname) }
}

func indexed(index int) finder {
	return func(h *netlink.Handle) (netlink.Link, error) { return h.LinkByIndex(index) }
}

// apply reads a link's addresses, plans, and carries the plan out. It returns the
// link's index, 0 if it was not found. Every call has a socket of its own: a reply
// that came too late for one call cannot confuse the next.
func (w *Addresses) apply(find finder, addrs []netip.Prefix, plan func([]address, []netip.Prefix) []step) (index int, err error) {
	h, err := openHandle()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	l, err := find(h)
	if err != nil {
		return 0, fmt.Errorf("find link: %w", err)
	}
	ifname, index := l.Attrs().Name, l.Attrs().Index
	listed, err := listAddrs(h, l, netlink.FAMILY_ALL)
	if err != nil {
		return index, fmt.Errorf("list addresses: %w", err)
	}
	entries := map[netip.Prefix]netlink.Addr{}
	var have []address
	for _, a := range listed {
		if p, ok := prefixOf(a.IPNet); ok {
			entries[p] = a
			have = append(have, addressOf(p, a.Flags))
		}
	}
	steps := plan(have, addrs)
	if slices.ContainsFunc(steps, func(s step) bool { return s.prefix.Addr().Is4() }) {
		w.promoteSecondaries(ifname)
	}
	var reached []netip.Prefix
	if slices.ContainsFunc(steps, func(s step) bool { return s.add }) {
		reached = reachedBelow(h, l)
	}
	var errs []error
	for _, s := range steps {
		if err := carryOut(h, l, s, entries, reached); err != nil {
			errs = append(errs, fmt.Errorf("%s dev %s: %w", s, ifname, err))
		}
	}
	return index, errors.Join(errs...)
}

// carryOut makes one change. That it has been made meanwhile is no error. An address in
// one of the reached subnets brings no route of its own.
func carryOut(h *netlink.Handle, l netlink.Link, s step, entries map[netip.Prefix]netlink.Addr, reached []netip.Prefix) error {
	if s.add {
		a := newAddr(s.prefix)
		if slices.ContainsFunc(reached, func(p netip.Prefix) bool { return p.Contains(s.prefix.Addr()) }) {
			a.Flags |= unix.IFA_F_NOPREFIXROUTE
		}
		return ignore(h.AddrAdd(l, a), unix.EEXIST)
	}
	// The listed entry, because the kernel also compares its label and peer address.
	a := entries[s.prefix]
	return ignore(ignore(h.AddrDel(l, &a), unix.EADDRNOTAVAIL), unix.ENODEV)
}

// reachedBelow gives the subnets of the interface below a virtual router's own link. A
// second route to them over the link would compete with the first: which one the
// machine's own traffic takes, and so whether the interface answers ARP for the
// machine's own address (arp_filter), would depend on which came first.
func reachedBelow(h *netlink.Handle, l netlink.Link) []netip.Prefix {
	m, ok := l.(*netlink.Macvlan)
	if !ok || !isVirtualMAC(m.HardwareAddr) || m.NetNsID >= 0 {
		return nil
	}
	below, err := h.LinkByIndex(m.ParentIndex)
	if err != nil {
		return nil
	}
	addrs, err := listAddrs(h, below, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	var subnets []netip.Prefix
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok && !p.IsSingleIP() && !p.Addr().IsLinkLocalUnicast() {
			subnets = append(subnets, p)
		}
	}
	return subnets
}

func newAddr(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{
		IPNet: &net.IPNet{
			IP:   p.Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		},
		Broadcast: net.IPv4zero, // the library's word for none
	}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
		a.ValidLft, a.PreferedLft = math.MaxUint32, 0
	}
	return a
}

// promoteSecondaries lets an interface keep the other addresses of a subnet when
// its primary one is removed. Without it the kernel removes them as well: all
// virtual addresses with the machine's own one, or the machine's own one with a
// virtual address that was there first. It stays set until Close.
func (w *Addresses) promoteSecondaries(ifname string) {
	own := "net/ipv4/conf/" + ifname + "/promote_secondaries"
	for _, name := range []string{"net/ipv4/conf/all/promote_secondaries", own} {
		if v, err := sysctl.Get(name); err == nil && v != "0" {
			return
		}
	}
	err := sysctl.Set(own, "1")
	if err == nil {
		w.mu.Lock()
		w.promoting[ifname] = true
		w.mu.Unlock()
		w.logger.Info("set promote_secondaries", "interface", ifname)
		return
	}
	w.mu.Lock()
	first := !w.warned[ifname]
	w.warned[ifname] = true
	w.mu.Unlock()
	if first {
		w.logger.Warn("cannot set promote_secondaries, removing one address may remove others of its subnet",
			"interface", ifname, "err", err)
	}
}

// Close brings back the promote_secondaries that Acquire has set. It is called when
// every address has been released: before that, the next release would remove more
// than its own. An interface that is gone has nothing to bring back.
func (w *Addresses) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for ifname := range w.promoting {
		delete(w.promoting, ifname)
		err := sysctl.Set("net/ipv4/conf/"+ifname+"/promote_secondaries", "0")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("bring back promote_secondaries: %w", err))
		}
	}
	return errors.Join(errs...)
}
