package conf

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/hadirector/hadirector/ipvs"
)

// SourceAddress is what real servers see connections come from that are forwarded by full
// NAT. The zero value is the address that the client connected to.
type SourceAddress struct {
	All        netip.Addr            // on every director; invalid: see ByDirector
	ByDirector map[string]netip.Addr // by the director's name
}

// Of returns the address for a director; invalid: the one that the client connected to.
func (s SourceAddress) Of(director string) netip.Addr {
	if a, ok := s.ByDirector[director]; ok {
		return a
	}
	return s.All
}

// Translation is what is to be done beside the kernel's table to the connections that a
// service of the virtual server forwards to a real server, on one director. There is
// something for full NAT alone.
func (vs *VirtualServer) Translation(key ipvs.ServiceKey, rs *RealServer, director string) (ipvs.Translation, bool) {
	return ipvs.Translation{
		Service: key, Server: vs.Destination(key, rs).Key, Source: vs.SourceAddress.Of(director),
	}, rs.Forward == ipvs.ForwardFullNAT
}

// FullNAT tells whether any of the virtual server's connections are forwarded by full NAT.
func (vs *VirtualServer) FullNAT() bool {
	return slices.ContainsFunc(vs.RealServers, func(rs RealServer) bool { return rs.Forward == ipvs.ForwardFullNAT }) ||
		vs.SorryServer != nil && vs.SorryServer.Forward == ipvs.ForwardFullNAT
}

// sourceAddress reads the address, or the table of directors, and looks at full NAT as a
// whole.
func (p *parser) sourceAddress(t *node, vs *VirtualServer, ds []Director) {
	n := t.kid("source_address")
	full := vs.FullNAT()
	if n != nil && !full && vs.Forward != ipvs.ForwardFullNAT {
		p.keyErrorf(n, "source_address has no meaning without forward = \"fullnat\"")
		return
	}
	if full && vs.Service.Flags&ipvs.FlagOnePacket != 0 {
		p.errorf(t.at("one_packet"), "the kernel keeps no connections with one_packet, and forward = \"fullnat\" needs them to bring answers back")
	}
	if n == nil {
		if full && vs.Service.Key.FWMark != 0 && len(vs.Marked) == 0 {
			p.errorf(t.at("fwmark"), "forward = \"fullnat\" needs a source_address here: the file does not say which addresses clients of the firewall mark connect to")
		}
		return
	}
	if _, one := n.value.(string); !one {
		p.sourceAddresses(n, vs, ds, full)
		return
	}
	a := p.sourceIn(n, *vs)
	for _, d := range ds {
		if a.IsValid() && a == d.Address && len(ds) > 1 {
			p.errorf(n, "%s is the address of the director %s alone: want a table of directors, such as %s", a, d.Name,
				entries(ds, [2]string{strconv.Quote(ds[0].Address.String()), strconv.Quote(ds[1].Address.String())}))
			return
		}
	}
	vs.SourceAddress.All = a
}

// sourceAddresses reads the table of directors.
func (p *parser) sourceAddresses(n *node, vs *VirtualServer, ds []Director, full bool) {
	p.byDirector(n, ds, [2]string{`"10.0.0.11"`, `"10.0.0.12"`}, `, or one address for all`, func(name string, k *node) {
		if a := p.sourceIn(k, *vs); a.IsValid() {
			if vs.SourceAddress.ByDirector == nil {
				vs.SourceAddress.ByDirector = map[string]netip.Addr{}
			}
			vs.SourceAddress.ByDirector[name] = a
		}
	})
	if !full || vs.Service.Key.FWMark == 0 || len(vs.Marked) > 0 || len(n.kids) == 0 {
		return
	}
	for _, d := range ds {
		if n.kid(d.Name) == nil {
			p.errorf(n, "%s is missing: the file does not say which addresses clients of the firewall mark connect to, so every director needs one", d.Name)
		}
	}
}

// sourceIn reads one address of the virtual server's family.
func (p *parser) sourceIn(n *node, vs VirtualServer) netip.Addr {
	a := p.address(n)
	key := vs.Service.Key
	switch {
	case !a.IsValid() || !vs.located() || a.Is6() == key.Is6():
		return a
	case key.FWMark != 0:
		p.errorf(n, "%s is %s, and the firewall mark is for %s", a, family(a), familyName(key.IPv6))
	default:
		p.errorf(n, "%s is %s, the virtual server's %s is %s", a, family(a), key.Addr.Addr(), family(key.Addr.Addr()))
	}
	return netip.Addr{}
}

// oneTranslation reports two real servers on one machine of which only one loses the
// client's address: packets to them are told apart by the machine.
func (p *parser) oneTranslation(t *node, rs, other RealServer) {
	a := rs.Address.Addr()
	if a.IsValid() && a == other.Address.Addr() && rs.Forward != other.Forward && rs.Forward.Kernel() == other.Forward.Kernel() {
		p.errorf(t.at("address"), "%s is the machine of %s too, which has forward = %q: a machine has either nat or fullnat in a virtual server",
			a, other.Name, forwardName(other.Forward))
	}
}

// sourceAddress writes it as it was given.
func (w *writer) sourceAddress(s SourceAddress, ds []Director) {
	if s.All.IsValid() {
		w.text("source_address", s.All.String())
	}
	var given []Director
	for _, d := range ds {
		if _, ok := s.ByDirector[d.Name]; ok {
			given = append(given, d)
		}
	}
	if len(given) > 0 {
		w.value("source_address", "{ "+join(given, func(d Director) string {
			return bareOrQuoted(d.Name) + " = " + strconv.Quote(s.ByDirector[d.Name].String())
		})+" }")
	}
}

// uncoveredSources warns of addresses for all directors that do not move with mastership.
func (p *parser) uncoveredSources(c *Config, vips map[netip.Addr]bool) {
	for _, vs := range c.VirtualServers {
		if a := vs.SourceAddress.All; a.IsValid() && !vips[a] {
			p.warnf(p.root.at("virtual_server", vs.Name, "source_address"),
				"no [vrrp] instance has %s among its virtual_addresses: answers come back to the director that is Master only if the address moves with it", a)
		}
	}
}

// fullNATContradictions reports a kernel parameter that full NAT needs otherwise.
func (p *parser) fullNATContradictions(c *Config) {
	if v, ok := c.IPVS.Parameters["conntrack"]; !ok || v != 0 {
		return
	}
	for _, vs := range c.VirtualServers {
		if vs.FullNAT() {
			p.errorf(p.root.at("ipvs", "conntrack"), "the virtual server %s has forward = \"fullnat\", which needs it: want true, or leave it out", vs.Name)
			return
		}
	}
}
