package nft

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Filter = (*Filter)(nil)

// Filter writes the daemon's table. It may be used by any goroutine.
//
// Each change replaces the whole table in one transaction: packets see the old one or
// the new one, and whatever somebody else has done to it is mended. A transaction takes
// the kernel some milliseconds, so those who wait for one to end share the next.
type Filter struct {
	mu      sync.Mutex // guards what follows
	refused map[held]bool
	links   map[string]bool
	changes uint64 // so far

	writing sync.Mutex // guards what follows, and makes one transaction follow the other
	written *content   // the table as it was last written; nil: there is none, or who knows
	done    uint64     // the changes that have been written
}

// held is an address and the interface of the virtual router that has it.
type held struct {
	ifname string
	addr   netip.Addr
}

// content is what the table's sets have, in order.
type content struct {
	refused []netip.Addr
	links   []string
}

// New returns a Filter. It writes nothing yet.
func New() *Filter { return &Filter{refused: map[held]bool{}, links: map[string]bool{}} }

// Refuse keeps packets to the addresses from being taken for the machine itself, on
// whatever interface they come. What IPVS takes for a virtual server, and what is
// forwarded, is not concerned; neighbour discovery goes on.
func (f *Filter) Refuse(ifname string, addrs []netip.Prefix) error {
	err := f.change(func() {
		for _, p := range addrs {
			f.refused[held{ifname, p.Addr()}] = true
		}
	})
	if err != nil {
		return fmt.Errorf("refuse packets to the addresses on %s: %w", ifname, err)
	}
	return nil
}

// Accept ends Refuse.
func (f *Filter) Accept(ifname string, addrs []netip.Prefix) error {
	err := f.change(func() {
		for _, p := range addrs {
			delete(f.refused, held{ifname, p.Addr()})
		}
	})
	if err != nil {
		return fmt.Errorf("accept packets to the addresses on %s: %w", ifname, err)
	}
	return nil
}

// GuardLink keeps IGMP and MLD reports of a virtual router's own link from the wire, so
// that no switch learns the virtual MAC address from a Backup. A link with a link-local
// address, which only a Master's has, may send MLD reports: switches that snoop need
// them for the addresses' neighbour discovery.
func (f *Filter) GuardLink(link string) error {
	err := f.change(func() {
		f.links[link] = true
	})
	if err != nil {
		return fmt.Errorf("guard link %s: %w", link, err)
	}
	return nil
}

// UnguardLink ends GuardLink.
func (f *Filter) UnguardLink(link string) error {
	err := f.change(func() {
		delete(f.links, link)
	})
	if err != nil {
		return fmt.Errorf("unguard link %s: %w", link, err)
	}
	return nil
}

// Restore writes the table again if it is gone, as after "nft flush ruleset", and tells
// whether it was. One that is not needed is deleted: a process that was killed has left
// it, and would go on to refuse packets to addresses that take them since a reload. It is
// cheap, so it may be called every few seconds.
func (f *Filter) Restore() (restored bool, err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	want, _ := f.want()
	there, err := exists(tableName, nftables.TableFamilyINet)
	switch {
	case noTables(err):
		return false, nil
	case err != nil:
		return false, err
	case f.written == nil && there && want.empty():
		if err := replace(content{}); err != nil {
			return false, fmt.Errorf("delete the packet filter of an earlier process: %w", err)
		}
		return false, nil
	case f.written == nil || there:
		return false, nil
	}
	f.written = nil
	if err := f.write(); err != nil {
		return false, fmt.Errorf("restore the packet filter: %w", err)
	}
	return true, nil
}

// Close deletes the table, also one that an earlier run has left: it is called at the
// start, before the first of the other calls, and at the end.
func (f *Filter) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	clear(f.refused)
	clear(f.links)
	f.mu.Unlock()
	f.written = nil
	there, err := exists(tableName, nftables.TableFamilyINet)
	if noTables(err) {
		return nil // and so there is no such table either
	}
	if err == nil && there {
		err = replace(content{})
	}
	if err != nil {
		return fmt.Errorf("delete the packet filter: %w", err)
	}
	return nil
}

// change changes what the table should be, and returns when it has been written.
func (f *Filter) change(do func()) error {
	f.mu.Lock()
	do()
	f.changes++
	mine := f.changes
	f.mu.Unlock()
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.done >= mine {
		return nil // by somebody else who waited
	}
	return f.write()
}

// want is what the table should be, and the changes that have led there.
func (f *Filter) want() (want content, changes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want.links = slices.Sorted(maps.Keys(f.links))
	for h := range f.refused {
		want.refused = append(want.refused, h.addr)
	}
	slices.SortFunc(want.refused, netip.Addr.Compare)
	want.refused = slices.Compact(want.refused)
	return want, f.changes
}

// write makes the table what it should be, if it was not written like that before. One
// that is missing is written at once: a Refuse after "nft flush ruleset" must not
// believe in the past. The caller holds writing.
func (f *Filter) write() error {
	want, changes := f.want()
	current := f.written == nil && want.empty()
	if f.written != nil && f.written.equal(want) {
		there, err := exists(tableName, nftables.TableFamilyINet)
		current = err == nil && there
	}
	if !current {
		if err := replace(want); err != nil {
			f.written = nil
			if noTables(err) {
				err = errNoTables(err)
			}
			return err
		}
		f.written = &want
		if want.empty() {
			f.written = nil
		}
	}
	f.done = changes
	return nil
}

func (c content) empty() bool { return len(c.refused)+len(c.links) == 0 }

func (c content) equal(d content) bool {
	return slices.Equal(c.refused, d.refused) && slices.Equal(c.links, d.links)
}

// noTables tells whether an error means that the kernel has no nftables: no netfilter
// netlink, or nobody there who knows the messages or the family.
func noTables(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EAFNOSUPPORT)
}

func errNoTables(err error) error {
	return fmt.Errorf("%w: %w", ErrNoTables, err)
}

// exists tells whether a table of any of the families is there.
func exists(name string, families ...nftables.TableFamily) (bool, error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	for _, family := range families {
		tables, err := c.ListTablesOfFamily(family)
		if err != nil {
			return false, fmt.Errorf("list tables: %w", err)
		}
		if slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }) {
			return true, nil
		}
	}
	return false, nil
}
