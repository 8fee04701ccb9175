package netif

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Devices = (*Devices)(nil)

// Guard keeps a virtual router's own link from sending what nobody should hear from it.
// Both calls are idempotent.
type Guard interface {
	GuardLink(link string) error
	UnguardLink(link string) error
}

// Devices makes the links of virtual routers that have one of their own: a private
// macvlan with the virtual MAC address, which receives also what another director sends
// from that address. It may be used by any goroutine.
//
// What it makes and sets is noted in a file first, with the values that the machine had
// before. A run that follows a killed one goes on with the note: it adopts the links
// that are still wanted, [Devices.Clean] deletes the others, and the settings that are
// brought back in the end are those from before the first of the runs.
type Devices struct {
	logger *slog.Logger
	guard  Guard

	mu     sync.Mutex // guards what follows, and keeps two virtual routers from setting one thing
	notes  *deviceNotes
	groups memberships
	warned bool // the guard has failed
}

// NewDevices returns a maker of links that keeps its notes at path. A file that cannot
// be read is an error, but the Devices can be used: it knows of no earlier run.
func NewDevices(logger *slog.Logger, path string, guard Guard) (*Devices, error) {
	failed := func(err error) {
		logger.Warn("list of links and settings not written, a crash now could leave some behind", "err", err)
	}
	notes, err := readDeviceNotes(path, failed)
	if err != nil {
		err = fmt.Errorf("read what an earlier run has made: %w", err)
	}
	return &Devices{logger: logger, guard: guard, notes: notes, groups: memberships{}}, err
}

// Make makes the link in.VMAC.Link on in.ID.Interface and sets what it needs, or mends
// what is different. A link of that name that is not ours is an error.
func (d *Devices) Make(in vrrp.Instance) error {
	// Before the link is up, and before the mutex: it takes the kernel some milliseconds,
	// which virtual routers that start together share.
	unguarded := d.guard.GuardLink(in.VMAC.Link)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.make(in, unguarded); err != nil {
		if _, ours := d.notes.Links[in.VMAC.Link]; !ours {
			err = errors.Join(err, d.guard.UnguardLink(in.VMAC.Link))
		}
		return fmt.Errorf("make link %s on %s: %w", in.VMAC.Link, in.ID.Interface, err)
	}
	return nil
}

// make is Make with the error of the guard.
func (d *Devices) make(in vrrp.Instance, unguarded error) error {
	name := in.VMAC.Link
	h, err := openHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	base, err := h.LinkByName(in.ID.Interface)
	if err != nil {
		return fmt.Errorf("find link %s: %w", in.ID.Interface, err)
	}
	want := wantedDevice(in, parentFor(base))
	have, err := h.LinkByName(name)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
		have = nil
	case err != nil:
		return fmt.Errorf("find link %s: %w", name, err)
	default:
		is := describe(h, have)
		_, ours := d.notes.Links[name]
		switch judge(is, want, ours) {
		case leave:
			return fmt.Errorf("another link has this name, %v: delete it, or choose another name", is)
		case renew:
			d.logger.Warn("link of a virtual router was changed by another program, made anew", "interface", name, "is", is.String())
			if err := writer.LinkDel(have); err != nil {
				return fmt.Errorf("delete link: %w", err)
			}
			have = nil
		}
	}
	d.notes.addLink(name, want)
	if have == nil {
		if have, err = add(h, name, base, want); err != nil {
			return err
		}
		d.logger.Info("link made", "interface", name, "on", in.ID.Interface, "address", net.HardwareAddr(want.mac[:]).String())
	}
	if err := d.settle(h); err != nil {
		return err
	}
	v6 := slices.ContainsFunc(in.Held(), func(p netip.Prefix) bool { return p.Addr().Is6() })
	for _, s := range deviceSettings(name, v6) {
		if err := set(s); err != nil && !(errors.Is(err, fs.ErrNotExist) && !v6) {
			return err
		}
	}
	d.quieten(name, base.Attrs().Index, want.Family, unguarded)
	if have.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := writer.LinkSetUp(have); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}

// quieten has the interface below report its membership in the place of the link, whose
// reports are kept from the wire, and says that they are not. Without it everything
// works, but for moments.
func (d *Devices) quieten(name string, base int, f vrrp.Family, unguarded error) {
	err := cmp.Or(d.groups.join(base, f), unguarded)
	if err != nil && !d.warned {
		d.warned = true
		d.logger.Warn("membership reports leave with the virtual address, a switch may send its frames to a backup for a moment",
			"interface", name, "err", err)
	}
}

// Delete deletes the link, and brings back what nobody needs any more. A link that is
// gone is no error, and neither is one that is not ours.
func (d *Devices) Delete(in vrrp.Instance) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.delete(in.VMAC.Link); err != nil {
		return fmt.Errorf("delete link %s: %w", in.VMAC.Link, err)
	}
	return nil
}

// Clean deletes the links that an earlier run has made and that none of the virtual
// routers has, and brings back the settings that are needed no more.
func (d *Devices) Clean(keep []vrrp.Instance) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, name := range d.notes.names() {
		if slices.ContainsFunc(keep, func(in vrrp.Instance) bool { return in.VMAC != nil && in.VMAC.Link == name }) {
			continue
		}
		if err := d.delete(name); err != nil {
			errs = append(errs, fmt.Errorf("delete link %s of an earlier run: %w", name, err))
			continue
		}
		d.logger.Info("link of an earlier run deleted", "interface", name)
	}
	return errors.Join(errs...)
}

func (d *Devices) delete(name string) error {
	if _, ours := d.notes.Links[name]; !ours {
		return nil
	}
	h, err := openHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
	case err != nil:
		return err
	case l.Type() == "macvlan":
		if err := ignore(writer.LinkDel(l), unix.ENODEV); err != nil {
			return err
		}
	}
	err = d.guard.UnguardLink(name)
	d.notes.removeLink(name)
	return errors.Join(err, d.settle(h))
}

// settle makes the machine's settings what the noted links need, and brings back those
// that none of them needs.
func (d *Devices) settle(h *netlink.Handle) error {
	var need []setting
	d.groups.keep(d.notes.usesGroup)
	bases := d.notes.bases(vrrp.IPv4)
	for _, base := range bases {
		need = append(need, baseSettings(base)...)
	}
	if len(bases) > 0 {
		all, err := d.notes.original(fmt.Sprintf(rpFilter, "all"))
		if err != nil {
			return err
		}
		if len(rpFilterSettings(all, nil)) > 0 {
			others, err := d.otherLinks(h)
			if err != nil {
				return err
			}
			need = append(need, rpFilterSettings(all, others)...)
		}
	}
	return d.notes.settle(need)
}

// otherLinks are the names of all links but those of virtual routers.
func (d *Devices) otherLinks(h *netlink.Handle) ([]string, error) {
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var names []string
	for _, l := range links {
		if _, own := d.notes.Links[l.Attrs().Name]; !own {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// add makes the link, down. It is of the base's group and in its VRF, so that the
// operator's filter rules and routes hold for it as well.
func add(h *netlink.Handle, name string, base netlink.Link, want device) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.ParentIndex = base.Attrs().Index
	attrs.HardwareAddr = net.HardwareAddr(want.mac[:])
	attrs.Group = base.Attrs().Group
	if m := base.Attrs().MasterIndex; m != 0 {
		if master, err := h.LinkByIndex(m); err == nil && master.Type() == "vrf" {
			attrs.MasterIndex = m
		}
	}
	if err := writer.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}); err != nil {
		return nil, fmt.Errorf("add macvlan: %w", err)
	}
	l, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link: %w", err)
	}
	return l, nil
}

// parentFor is what the kernel makes the parent of a macvlan on base: a macvlan on a
// macvlan becomes its sibling.
func parentFor(base netlink.Link) int {
	if base.Type() == "macvlan" {
		return base.Attrs().ParentIndex
	}
	return base.Attrs().Index
}

var macvlanModes = map[netlink.MacvlanMode]string{
	netlink.MACVLAN_MODE_PRIVATE:  "private",
	netlink.MACVLAN_MODE_VEPA:     "vepa",
	netlink.MACVLAN_MODE_BRIDGE:   "bridge",
	netlink.MACVLAN_MODE_PASSTHRU: "passthru",
	netlink.MACVLAN_MODE_SOURCE:   "source",
}

func describe(h *netlink.Handle, l netlink.Link) device {
	m, ok := l.(*netlink.Macvlan)
	if !ok {
		return device{}
	}
	d := device{isVLAN: true, parent: m.ParentIndex, mode: macvlanModes[m.Mode]}
	copy(d.mac[:], m.HardwareAddr)
	if p, err := h.LinkByIndex(m.ParentIndex); err == nil {
		d.Base = p.Attrs().Name
	}
	return d
}

// set gives a parameter its value if it has another.
func set(s setting) error {
	if have, err := sysctl.Get(s.name); err != nil || s.satisfiedBy(have) {
		return err
	}
	return sysctl.Set(s.name, s.value)
}
