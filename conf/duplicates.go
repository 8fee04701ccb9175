package conf

import (
	"net/netip"

	"github.com/hadirector/hadirector/ipvs"
)

// duplicateServices reports virtual servers of which the kernel could not tell whose a
// packet is: two of one address and port, or one that never sees a packet because another
// has it marked.
func (p *parser) duplicateServices(c *Config) {
	first := map[ipvs.ServiceKey]string{}
	marked := p.duplicateMarks(c)
	for i := range c.VirtualServers {
		vs := &c.VirtualServers[i]
		if !vs.located() || vs.Service.Key.FWMark == 0 && vs.Service.Key.Protocol == 0 {
			continue
		}
		for s := range vs.Services() {
			if other, ok := first[s.Key]; ok {
				at := p.whereOf(p.whereKey(vs), s.Key.Addr.Addr())
				p.errorf(at, "%s is already the virtual server %s (line %d)", s.Key, other, p.line(p.whereKey(c.virtualServer(other))))
				break
			}
			first[s.Key] = vs.Name
		}
		for _, a := range vs.Addresses {
			if other := marked.of(ipvs.Marking{Protocol: vs.Service.Key.Protocol, To: a}); other != "" {
				p.errorf(p.whereOf(p.whereKey(vs), a.Addr), "%s %s gets the firewall mark of %s (line %d), and would never come here",
					vs.Service.Key.Protocol, a, other, p.line(p.whereKey(c.virtualServer(other))))
			}
		}
	}
}

// marks are the names of the virtual servers that have packets marked, by what is quick to
// look up of them.
type marks map[markedAddr][]namedMarking

type markedAddr struct {
	protocol ipvs.Protocol
	addr     netip.Addr
}

type namedMarking struct {
	ipvs.Marking
	name string
}

// of names the virtual server that has some of the packets marked, if there is one.
func (ms marks) of(m ipvs.Marking) string {
	for _, other := range ms[markedAddr{m.Protocol, m.To.Addr}] {
		if other.To.Overlaps(m.To) {
			return other.name
		}
	}
	return ""
}

// duplicateMarks reports packets that would get two marks.
func (p *parser) duplicateMarks(c *Config) marks {
	ms := marks{}
	for i := range c.VirtualServers {
		vs := &c.VirtualServers[i]
		for _, m := range vs.Marked {
			if m.Protocol == 0 {
				continue
			}
			if other := ms.of(m); other != "" && other != vs.Name {
				p.errorf(p.whereOf(p.whereKey(vs), m.To.Addr), "%s %s gets the firewall mark of %s already (line %d)", m.Protocol, m.To, other,
					p.line(p.whereKey(c.virtualServer(other))))
				continue
			}
			at := markedAddr{m.Protocol, m.To.Addr}
			ms[at] = append(ms[at], namedMarking{m, vs.Name})
		}
	}
	return ms
}

func (c *Config) virtualServer(name string) *VirtualServer {
	for i := range c.VirtualServers {
		if c.VirtualServers[i].Name == name {
			return &c.VirtualServers[i]
		}
	}
	return nil
}

// whereKey is the key that says where a virtual server's packets come to.
func (p *parser) whereKey(vs *VirtualServer) *node {
	t := p.root.at("virtual_server", vs.Name)
	switch {
	case len(vs.Marked) > 0:
		return t.at("mark")
	case vs.Service.Key.FWMark != 0:
		return t.at("fwmark")
	}
	return t.at("address")
}

// whereOf returns the element of an array of addresses and ports that has an address, or n
// itself if it is none.
func (p *parser) whereOf(n *node, a netip.Addr) *node {
	for _, e := range n.elems {
		s, _ := stringOf(e)
		from, _, ranged := cutLast(s, "-")
		if !ranged {
			from = s
		}
		if ap, err := netip.ParseAddrPort(from); err == nil && ap.Addr() == a {
			return e
		}
	}
	return n
}
