package conf

import (
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/ipvs"
)

var (
	realServerGrammar = grammar{
		keys: []string{"address", "weight", "connections_max", "connections_min", "forward",
			"tunnel", "tunnel_port", "tunnel_checksum", "check", "backup"},
		others: map[string]string{
			"ip": "address", "mode": "forward", "method": "forward", "lvs_method": "forward",
			"uthreshold": "connections_max", "max_connections": "connections_max", "lthreshold": "connections_min",
		},
	}
	sorryServerGrammar = grammar{keys: []string{"address", "forward", "tunnel", "tunnel_port", "tunnel_checksum"}}
)

// SorryServerName is the name that a sorry server has in commands and logs.
const SorryServerName = "sorry_server"

// realServers reads [virtual_server.NAME.real_server].
func (p *parser) realServers(n *node, vs VirtualServer) []RealServer {
	var rss []RealServer
	known := map[netip.Addr][]RealServer{}
	for name, t := range p.named(n, realServerGrammar, `NAME = { address = "10.0.0.21:80" }`) {
		p.table(t, realServerGrammar)
		rs := RealServer{
			Name:    name,
			Address: p.addressPort(p.required(t, "address", `ADDRESS:PORT, such as "10.0.0.21:80"`)),
			Weight:  uint32(p.integer(t.kid("weight"), defaultWeight, 0, maxWeight)),
			Forward: p.forward(t.kid("forward"), vs.Forward),
			Checks:  p.checkNames(t.kid("check"), vs.Checks),
			Backup:  p.boolean(t.kid("backup"), false),
		}
		rs.Tunnel = p.tunnel(t, rs.Forward, vs.Tunnel)
		if name == SorryServerName {
			p.keyErrorf(t, "this name is the sorry server's: want another one")
		}
		p.checkDestination(t, rs, vs)
		p.connections(t, &rs)
		p.sameDestination(t, rs, vs, known)
		if asks := slices.IndexFunc(rs.Checks, p.needsPort); rs.Address.IsValid() && rs.Address.Port() == 0 && asks >= 0 && vs.located() && vs.onePort() == 0 {
			p.errorf(t.at("address"), "check %q needs a port, and %s has none: write the port that it is to ask, connections keep their own", rs.Checks[asks], rs.Address)
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
	rs.Tunnel = p.tunnel(n, rs.Forward, vs.Tunnel)
	p.checkDestination(n, rs, vs)
	for _, other := range vs.RealServers {
		if rs.Address.IsValid() && vs.same(&other, &rs) {
			p.errorf(n.at("address"), "%s is the real server %s: a sorry server stands apart from them", rs.Address, other.Name)
		} else {
			p.oneTranslation(n, rs, other)
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

// connections reads the bounds of a real server's connections.
func (p *parser) connections(t *node, rs *RealServer) {
	most, least := t.kid("connections_max"), t.kid("connections_min")
	rs.ConnectionsMax = uint32(p.integer(most, 0, 1, maxConnections))
	rs.ConnectionsMin = uint32(p.integer(least, 0, 1, maxConnections))
	switch {
	case least == nil || rs.ConnectionsMin == 0:
	case most == nil:
		p.errorf(least, "connections_min has no meaning without connections_max")
	case rs.ConnectionsMax != 0 && rs.ConnectionsMin > rs.ConnectionsMax:
		p.errorf(least, "%d is more than connections_max, %d", rs.ConnectionsMin, rs.ConnectionsMax)
	default:
		return
	}
	rs.ConnectionsMin = 0
}

// sameDestination reports a real server that the kernel could not tell from one of those
// before it.
func (p *parser) sameDestination(t *node, rs RealServer, vs VirtualServer, known map[netip.Addr][]RealServer) {
	a := rs.Address.Addr()
	if !a.IsValid() {
		return
	}
	for _, other := range known[a] {
		if !vs.same(&other, &rs) {
			p.oneTranslation(t, rs, other)
			continue
		}
		if other.Address == rs.Address {
			p.errorf(t.at("address"), "%s is already the address of %s", rs.Address, other.Name)
		} else {
			p.errorf(t.at("address"), "%s is already the address of %s, and connections keep their ports", a, other.Name)
		}
		return
	}
	known[a] = append(known[a], rs)
}

// checkDestination looks for contradictions between a real server, or a sorry
// server, and its virtual server.
func (p *parser) checkDestination(t *node, rs RealServer, vs VirtualServer) {
	if !rs.Address.IsValid() || !vs.located() {
		return
	}
	at, addr, port, key := t.at("address"), rs.Address.Addr(), rs.Address.Port(), vs.Service.Key
	one, follows := vs.onePort(), vs.follows(&rs)
	switch {
	case addr.Is4() == key.Is6() && key.FWMark != 0:
		p.errorf(at, "%s is %s, and the firewall mark is for %s: want family = %q", addr, family(addr), familyName(key.IPv6), familyWord(addr.Is6()))
	case addr.Is4() == key.Is6():
		p.errorf(at, "%s is %s, the virtual server's %s is %s", addr, family(addr), key.Addr.Addr(), family(key.Addr.Addr()))
	case addr.IsLoopback() && rs.Forward.Kernel() == ipvs.ForwardMasq:
		p.errorf(at, "%s is this machine, and the kernel does not translate to a loopback address: want forward = \"dr\", and a service that listens at the virtual address", addr)
	case slices.ContainsFunc(vs.Ports(), func(to ipvs.Ports) bool { return to.Addr == addr && to.Has(port) }):
		p.errorf(at, "%s is the virtual server's own address", rs.Address)
	case port == one:
	case one != 0 && port == 0:
		p.errorf(at, "port 0: the virtual server has port %d, so want a port here too", one)
	case one != 0 && follows:
		p.errorf(at, "port %d differs from the virtual server's port %d: forward = %q leaves the packet's port as it is (only nat and fullnat change it)",
			port, one, forwardName(rs.Forward))
	case !follows || port == 0 || len(vs.Ports()) == 0 || slices.ContainsFunc(vs.Ports(), func(to ipvs.Ports) bool { return to.Has(port) }):
	case rs.Forward.Kernel() == ipvs.ForwardMasq:
		p.errorf(at, "port %d is none of the virtual server's: the kernel leaves the ports of persistent connections by firewall mark as they are", port)
	default:
		p.errorf(at, "port %d is none of the virtual server's: forward = %q leaves the packet's port as it is (only nat and fullnat change it)", port, forwardName(rs.Forward))
	}
}
