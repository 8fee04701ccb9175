package conf

import (
	"net/netip"

	"github.com/hadirector/hadirector/ipvs"
)

var (
	realServerGrammar  = grammar{keys: []string{"address", "weight", "forward", "check"}}
	sorryServerGrammar = grammar{keys: []string{"address", "forward"}}
)

// SorryServerName is the name that a sorry server has in commands and logs.
const SorryServerName = "sorry_server"

// realServers reads [virtual_server.NAME.real_server].
func (p *parser) realServers(n *node, vs VirtualServer) []RealServer {
	var rss []RealServer
	first := map[netip.AddrPort]string{}
	for name, t := range p.named(n, realServerGrammar, `NAME = { address = "10.0.0.21:80" }`) {
		p.table(t, realServerGrammar)
		rs := RealServer{
			Name:    name,
			Address: p.addressPort(p.required(t, "address", `ADDRESS:PORT, such as "10.0.0.21:80"`)),
			Weight:  uint32(p.integer(t.kid("weight"), defaultWeight, 0, maxWeight)),
			Forward: p.forward(t.kid("forward"), vs.Forward),
			Check:   p.checkName(t.kid("check"), vs.Check),
		}
		if name == SorryServerName {
			p.keyErrorf(t, "this name is the sorry server's: want another one")
		}
		p.checkDestination(t, rs, vs)
		if other, ok := first[rs.Address]; ok {
			p.errorf(t.at("address"), "%s is already the address of %s", rs.Address, other)
		} else if rs.Address.IsValid() {
			first[rs.Address] = name
		}
		if vs.Service.Key.Addr.IsValid() && vs.Service.Key.Addr.Port() == 0 && rs.Address.IsValid() && rs.Address.Port() == 0 && rs.Check != "" {
			p.errorf(t.at("check"), "check %q needs a port, and %s has none: checks of port 0 are not supported yet", rs.Check, rs.Address)
		}
		rss = append(rss, rs)
	}
	return rss
}

// sorryServer reads sorry_server = { address = … }. It has no check: it is the last
// resort.
func (p *parser) sorryServer(n *node, vs VirtualServer) *RealServer {
	if s, ok := stringOf(n); ok {
		p.errorf(n, "want a table, found the string %q: write { address = %q }", shorten(s), shorten(s))
		return nil
	}
	if !p.table(n, sorryServerGrammar) {
		return nil
	}
	rs := RealServer{
		Name:    SorryServerName,
		Address: p.addressPort(p.required(n, "address", `ADDRESS:PORT, such as "10.0.0.9:80"`)),
		Weight:  defaultWeight,
		Forward: p.forward(n.kid("forward"), vs.Forward),
	}
	p.checkDestination(n, rs, vs)
	for _, other := range vs.RealServers {
		if rs.Address.IsValid() && other.Address == rs.Address {
			p.errorf(n.at("address"), "%s is the real server %s: a sorry server stands apart from them", rs.Address, other.Name)
		}
	}
	return &rs
}

func stringOf(n *node) (string, bool) {
	if n == nil {
		return "", false
	}
	s, ok := n.value.(string)
	return s, ok
}

// checkDestination looks for contradictions between a real server, or a sorry
// server, and its virtual server.
func (p *parser) checkDestination(t *node, rs RealServer, vs VirtualServer) {
	service := vs.Service.Key.Addr
	if !rs.Address.IsValid() || !service.IsValid() {
		return
	}
	at := t.at("address")
	switch a := rs.Address.Addr(); {
	case a.Is4() != service.Addr().Is4():
		p.errorf(at, "%s is %s, the virtual server's %s is %s", a, family(a), service.Addr(), family(service.Addr()))
	case rs.Address == service:
		p.errorf(at, "%s is the virtual server's own address", rs.Address)
	case rs.Address.Port() == service.Port():
	case service.Port() == 0:
		p.errorf(at, "port %d: the virtual server takes every port (0), so want port 0 here too", rs.Address.Port())
	case rs.Address.Port() == 0:
		p.errorf(at, "port 0: the virtual server has port %d, so want a port here too", service.Port())
	case rs.Forward != ipvs.ForwardMasq:
		p.errorf(at, "port %d differs from the virtual server's port %d: forward = %q leaves the packet's port as it is (only nat changes it)",
			rs.Address.Port(), service.Port(), forwardName(rs.Forward))
	}
}
