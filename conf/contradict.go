package conf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/vrrp"
)

// contradictions looks for what single tables cannot tell: rules between tables. It
// leaves alone what has been reported already, so that one mistake gives one error.
func (p *parser) contradictions(c *Config) {
	p.virtualRouterContradictions(c)
	p.equalPriorities(c)
	p.duplicateServices(c)
	p.uncoveredAddresses(c)
	p.fullNATContradictions(c)
	p.quiescedPersistence(c)
	p.lonelyAgents(c)
	p.probePaths(c)
	p.syncContradictions(c)
	for _, s := range c.Checks {
		if !p.usedChecks[s.Name] {
			p.warnf(p.root.at("check", s.Name), "no virtual server uses this check")
		}
	}
	if len(c.VirtualServers) == 0 && len(c.VirtualRouters) == 0 &&
		p.root.kid("virtual_server") == nil && p.root.kid("vrrp") == nil {
		p.warnf(p.root, "there is neither a [virtual_server.NAME] nor a [vrrp.NAME]: nothing to do")
	}
}

func (p *parser) virtualRouterContradictions(c *Config) {
	routers := map[vrrp.ID]string{}
	for i, vr := range c.VirtualRouters {
		t := p.root.at("vrrp", vr.Name)
		if i == 0 && p.root.kid("director") == nil {
			p.keyErrorf(t, "needs [director.NAME] tables: who takes part, with which priority")
		}
		if vr.Interface != "" && vr.VRID != 0 && len(vr.VirtualAddresses) > 0 {
			id := vrrp.ID{Interface: vr.Interface, Family: vr.family(), VRID: vr.VRID}
			if other, ok := routers[id]; ok {
				p.errorf(t.at("vrid"), "%d is already the vrid of %s on %s (line %d)", vr.VRID, other, vr.Interface,
					p.line(p.root.at("vrrp", other, "vrid")))
			} else {
				routers[id] = vr.Name
			}
		}
	}
	vips := p.addressContradictions(c)
	for _, vr := range c.VirtualRouters {
		t := p.root.at("vrrp", vr.Name)
		if vr.Unicast {
			p.unicastContradictions(t, vr, c)
		}
		p.sourceContradictions(t, vr, c, vips)
	}
	p.vmacContradictions(c)
	p.routingContradictions(c)
	p.groupContradictions(c)
	p.splitContradictions(c)
	p.trackContradictions(c, vips)
	if len(c.VirtualRouters) > 0 && len(c.Directors) == 1 && len(p.root.at("director").kids) == 1 {
		p.warnf(p.root.at("vrrp", c.VirtualRouters[0].Name), "there is no second director to take over")
	}
}

// addressContradictions reports addresses that two virtual routers hold, or that cannot
// move. It returns who holds which.
func (p *parser) addressContradictions(c *Config) map[netip.Addr]string {
	type vip struct {
		addr netip.Addr
		// iface is that of a link-local address, which may be on others too.
		iface string
	}
	first := map[vip]string{}
	vips := map[netip.Addr]string{}
	directors := map[netip.Addr]string{}
	for _, d := range c.Directors {
		for _, a := range d.SyncAddresses {
			directors[a] = "a sync address of the director " + d.Name
		}
	}
	for _, d := range c.Directors {
		directors[d.Address] = "the address of the director " + d.Name
	}
	for _, vr := range c.VirtualRouters {
		t := p.root.at("vrrp", vr.Name)
		for _, list := range []struct {
			key       string
			addresses []netip.Prefix
		}{{"virtual_addresses", vr.VirtualAddresses}, {"excluded_addresses", vr.ExcludedAddresses}} {
			for _, px := range list.addresses {
				a := px.Addr()
				key := vip{addr: a}
				if a.Is6() && a.IsLinkLocalUnicast() {
					key.iface = vr.Interface
				}
				if other, ok := first[key]; ok {
					p.errorf(p.elementOf(t.at(list.key), a), "%s is already a virtual address of %s", a, other)
				}
				first[key], vips[a] = vr.Name, vr.Name
				if d, ok := directors[a]; ok {
					p.errorf(p.elementOf(t.at(list.key), a), "%s is %s: a virtual address moves, that one must not", a, d)
				}
			}
		}
	}
	return vips
}

// elementOf returns the element of an array that holds an address.
func (p *parser) elementOf(n *node, a netip.Addr) *node {
	for _, e := range n.elems {
		s, _ := stringOf(e)
		text, _, _ := strings.Cut(s, "/")
		if b, err := netip.ParseAddr(text); err == nil && b == a {
			return e
		}
	}
	return n
}

// equalPriorities warns of directors of which the higher address decides.
func (p *parser) equalPriorities(c *Config) {
	for _, vr := range c.VirtualRouters {
		first := map[vrrp.Priority]string{}
		for _, d := range c.Directors {
			priority := vr.Priority[d.Name]
			if other, ok := first[priority]; ok {
				p.warnf(p.root.at("vrrp", vr.Name, "priority"), "%s and %s have the same priority %d: the one with the higher address wins",
					other, d.Name, priority)
				break
			}
			first[priority] = d.Name
		}
	}
}

// ownAddress warns of a real server that is the Master itself. IPVS does not hand packets
// from one of its services to another.
func (p *parser) ownAddress(n *node, a netip.Addr, vips map[netip.Addr]bool) {
	if vips[a] {
		p.warnf(n, "%s is a virtual address: the director that has it serves such connections itself, not through another virtual server", a)
	}
}

// uncoveredAddresses reports virtual servers whose address no director would take.
func (p *parser) uncoveredAddresses(c *Config) {
	if len(c.VirtualRouters) == 0 {
		return
	}
	vips := map[netip.Addr]bool{}
	for _, vr := range c.VirtualRouters {
		t := p.root.at("vrrp", vr.Name)
		declared, excluded := t.kid("virtual_addresses"), t.kid("excluded_addresses")
		if declared == nil || len(vr.VirtualAddresses) < len(declared.elems) || len(declared.elems) == 0 ||
			excluded != nil && len(vr.ExcludedAddresses) < max(len(excluded.elems), 1) {
			// Reported already; what it should have said is not known.
			return
		}
		for _, px := range slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses) {
			vips[px.Addr()] = true
		}
	}
	if len(c.VirtualRouters) < len(p.root.at("vrrp").kids) {
		return
	}
	p.uncoveredSources(c, vips)
	for _, vs := range c.VirtualServers {
		key := p.whereKey(&vs)
		for _, a := range vs.VIPs() {
			if !vips[a] {
				p.errorf(p.whereOf(key, a), "no [vrrp] instance has %s among its virtual_addresses: no director would answer for it", a)
			}
		}
		t := p.root.at("virtual_server", vs.Name)
		for _, rs := range vs.RealServers {
			p.ownAddress(t.at("real_server", rs.Name, "address"), rs.Address.Addr(), vips)
		}
		if vs.SorryServer != nil {
			p.ownAddress(t.at("sorry_server", "address"), vs.SorryServer.Address.Addr(), vips)
		}
	}
}
