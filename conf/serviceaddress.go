package conf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/ipvs"
)

// protocols are those that the kernel balances, by their names in the file.
var (
	protocolNames = []string{"tcp", "udp", "sctp"}
	protocols     = map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}
)

// families are the values of family.
var families = []string{"ipv4", "ipv6"}

func familyWord(six bool) string {
	if six {
		return families[1]
	}
	return families[0]
}

// serviceAddress reads where a virtual server's packets come to: address and protocol, or
// a firewall mark.
func (p *parser) serviceAddress(t *node, vs *VirtualServer) {
	if mark := t.kid("fwmark"); mark != nil && t.kid("address") == nil {
		p.markService(t, vs)
		return
	} else if mark != nil {
		p.errorf(mark, "address and fwmark exclude each other")
	} else {
		for _, key := range []string{"mark", "family"} {
			if k := t.kid(key); k != nil {
				p.keyErrorf(k, "%s belongs to fwmark, and this virtual server has none", key)
			}
		}
	}
	protocol := p.protocol(t)
	vs.Addresses = p.ports(p.required(t, "address", `ADDRESS:PORT, such as "10.0.0.100:80"`), false)
	services := 0
	for _, a := range vs.Addresses {
		services += a.Count()
	}
	if services > maxServices {
		p.errorf(t.at("address"), "%d ports are too many: the kernel would have as many services, want at most %d; for more use a firewall mark (fwmark, mark)", services, maxServices)
		vs.Addresses = nil
	}
	if len(vs.Addresses) > 0 {
		first := vs.Addresses[0]
		vs.Service.Key = ipvs.AddrKey(protocol, netip.AddrPortFrom(first.Addr, first.First))
	} else {
		vs.Service.Key = ipvs.ServiceKey{Protocol: protocol}
	}
}

// protocol reads the protocol, which is 0 after a mistake.
func (p *parser) protocol(t *node) ipvs.Protocol {
	n := p.required(t, "protocol", "tcp, udp or sctp")
	return protocols[p.choice(n, "a protocol", "", protocolNames, nil)]
}

// markService reads the virtual server of a firewall mark.
func (p *parser) markService(t *node, vs *VirtualServer) {
	mark := uint32(p.integer(t.kid("fwmark"), 0, 1, 1<<32-1))
	family := p.choice(t.kid("family"), "a family", "", families, map[string]string{"inet": "ipv4", "inet6": "ipv6", "4": "ipv4", "6": "ipv6"})
	six := family == familyWord(true)
	list := t.kid("mark")
	if list == nil {
		if k := t.kid("protocol"); k != nil {
			p.keyErrorf(k, "a firewall mark stands for every protocol: protocol says what mark = [\"10.0.0.100:80\"] is to mark")
		}
	} else {
		protocol := p.protocol(t)
		for _, to := range p.ports(list, true) {
			vs.Marked = append(vs.Marked, ipvs.Marking{Mark: mark, Protocol: protocol, To: to})
		}
	}
	if len(vs.Marked) > 0 {
		if family != "" && six != vs.Marked[0].To.Addr.Is6() {
			p.errorf(t.kid("family"), "the addresses in mark are of the other family")
		}
		six = vs.Marked[0].To.Addr.Is6()
	}
	if mark != 0 {
		vs.Service.Key = ipvs.FWMarkKey(mark, six)
	}
}

// ports reads one ADDRESS:PORT or ADDRESS:FIRST-LAST, or an array of them. They are of one
// family, and no two have anything in common. mixed allows port 0 beside other ports.
func (p *parser) ports(n *node, mixed bool) []ipvs.Ports {
	if n == nil {
		return nil
	}
	if _, array := n.value.([]any); !array {
		if to := p.portRange(n); to.Addr.IsValid() {
			return []ipvs.Ports{to}
		}
		return nil
	}
	if len(n.elems) == 0 {
		p.errorf(n, `want ADDRESS:PORT, such as "10.0.0.100:80", or an array of them, found an empty array`)
	}
	var list []ipvs.Ports
	for _, e := range n.elems {
		to := p.portRange(e)
		if !to.Addr.IsValid() {
			continue
		}
		twice := slices.IndexFunc(list, to.Overlaps)
		switch {
		case len(list) > 0 && to.Addr.Is4() != list[0].Addr.Is4():
			p.errorf(e, "%s is %s, and %s is %s: a virtual server has one family; make two virtual servers", to.Addr, family(to.Addr), list[0].Addr, family(list[0].Addr))
		case twice >= 0 && list[twice] == to:
			p.errorf(e, "%s is named twice", to)
		case twice >= 0:
			p.errorf(e, "%s has ports in common with %s", to, list[twice])
		case !mixed && len(list) > 0 && (to.First == 0) != (list[0].First == 0):
			p.errorf(e, "port 0 stands for every port, and has no place beside others: make two virtual servers")
		default:
			list = append(list, to)
		}
	}
	return list
}

// portRange reads ADDRESS:PORT or ADDRESS:FIRST-LAST.
func (p *parser) portRange(n *node) ipvs.Ports {
	s, _ := stringOf(n)
	from, to, ranged := cutLast(s, "-")
	first, err := netip.ParseAddrPort(from)
	if !ranged || err != nil {
		a := p.addressPort(n)
		return ipvs.Ports{Addr: a.Addr(), First: a.Port(), Last: a.Port()}
	}
	last, err := strconv.ParseUint(to, 10, 16)
	switch {
	case err != nil:
		p.errorf(n, "%q is no range of ports, such as \"%s-%d\"", shorten(s), first, min(int(first.Port())+10, 65535))
	case first.Port() == 0:
		p.errorf(n, "port 0 stands for every port, and begins no range")
	case int(last) < int(first.Port()):
		p.errorf(n, "%q is an empty range: write \"%s-%d\"", s, netip.AddrPortFrom(first.Addr(), uint16(last)), first.Port())
	default:
		return ipvs.Ports{Addr: p.usable(n, first.Addr()), First: first.Port(), Last: uint16(last)}
	}
	return ipvs.Ports{}
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
