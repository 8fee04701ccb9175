package netif

import (
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/vrrp/router"
)

// link is one interface as the kernel tells of it.
type link struct {
	index   int
	name    string
	adminUp bool // IFF_UP
	carrier bool // IFF_LOWER_UP and IFF_RUNNING
}

// address is one address of one interface.
type address struct {
	prefix    netip.Prefix
	secondary bool // IFA_F_SECONDARY: another address of the subnet was there first (IPv4)
	unusable  bool // IFA_F_TENTATIVE or IFA_F_DADFAILED: cannot be sent from (IPv6)
}

// table is every interface of the machine and its addresses, kept by applying the
// kernel's messages in their order. One goroutine owns it.
type table struct {
	links map[int]link
	addrs map[int][]address // in the order in which they appeared
}

func newTable() *table {
	return &table{links: map[int]link{}, addrs: map[int][]address{}}
}

func (t *table) setLink(l link) { t.links[l.index] = l }

func (t *table) delLink(index int) {
	delete(t.links, index)
	delete(t.addrs, index)
}

// setAddr records an address that is new or has changed. The kernel tells of an
// address again when a secondary one is promoted or duplicate address detection
// has ended.
func (t *table) setAddr(index int, a address) {
	have := t.addrs[index]
	if i := slices.IndexFunc(have, func(b address) bool { return b.prefix == a.prefix }); i >= 0 {
		have[i] = a
		return
	}
	t.addrs[index] = append(have, a)
}

func (t *table) delAddr(index int, p netip.Prefix) {
	t.addrs[index] = slices.DeleteFunc(t.addrs[index], func(a address) bool { return a.prefix == p })
}

// state is what a virtual router hears of the named interface. Primary addresses
// come before secondary ones, so that the first of a family is the one that the
// kernel itself would send from.
func (t *table) state(name string) router.Link {
	s := router.Link{Name: name}
	for index, l := range t.links {
		if l.name != name {
			continue
		}
		s.Index = index
		for _, wantSecondary := range []bool{false, true} {
			for _, a := range t.addrs[index] {
				if a.secondary == wantSecondary && !a.unusable {
					s.Addrs = append(s.Addrs, a.prefix)
				}
			}
		}
		switch {
		case !l.adminUp:
			s.Why = "link " + name + " is down"
		case !l.carrier:
			s.Why = "link " + name + " has no carrier"
		default:
			s.Up = true
		}
		return s
	}
	s.Why = "link " + name + " does not exist"
	return s
}

func sameState(a, b router.Link) bool {
	return a.Name == b.Name && a.Index == b.Index && a.Up == b.Up && a.Why == b.Why && slices.Equal(a.Addrs, b.Addrs)
}
