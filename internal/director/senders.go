package director

import (
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// Which addresses another director advertises from is not always in the configuration:
// over IPv6 they are link-local. The directors tell each other, over the encrypted
// membership, so that advertisements from any other address need not be accepted.

// sources returns the addresses that this director's virtual routers send from, in
// order.
func (d *Director) sources() []netip.Addr {
	var list []netip.Addr
	for _, s := range d.o.VRRP.Snapshots() {
		if a := s.Params.Source; a.IsValid() && s.State != vrrp.Initialize {
			list = append(list, a.WithZone(""))
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// learnSenders takes in what the other directors tell of theirs, and tells whether it
// is news. What was told stays known when a director is no longer heard: its
// advertisements may come before its membership.
func (d *Director) learnSenders(list []Peer) (news bool) {
	for _, p := range list {
		if len(p.Sources) == 0 || slices.Equal(d.senders[p.Name], p.Sources) {
			continue
		}
		d.senders[p.Name] = p.Sources
		news = true
	}
	return news
}

// withSenders adds to the addresses that a virtual router knows of the other directors
// those that they have told.
func withSenders(senders []vrrp.Sender, told map[string][]netip.Addr) []vrrp.Sender {
	list := slices.Clone(senders)
	for i, s := range list {
		for _, a := range told[s.Name] {
			if !slices.Contains(s.Addresses, a) {
				list[i].Addresses = append(slices.Clip(list[i].Addresses), a)
			}
		}
	}
	return list
}

// directorName is the name of the director that advertises from an address, by the
// configuration or as it has told, or else the address.
func directorName(cfg *conf.Config, told map[string][]netip.Addr, addr netip.Addr) string {
	addr = addr.WithZone("")
	for _, d := range cfg.Directors {
		if d.Address == addr || slices.Contains(told[d.Name], addr) {
			return d.Name
		}
		for _, vr := range cfg.VirtualRouters {
			if vr.Source[d.Name] == addr {
				return d.Name
			}
		}
	}
	return addr.String()
}
