package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

// served is a virtual server for which this machine is a real server.
type served struct {
	vs *conf.VirtualServer
	rs conf.RealServer
}

// serversHere are the real servers of the file that are this machine.
func serversHere(cfg *conf.Config, f Facts) []served {
	var here []served
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		servers := vs.RealServers
		if vs.SorryServer != nil {
			servers = append(slices.Clone(servers), *vs.SorryServer)
		}
		for _, rs := range servers {
			if f.isLocal(rs.Address.Addr()) {
				here = append(here, served{vs, rs})
			}
		}
	}
	return here
}

func (d *diagnosis) realServer() {
	here := serversHere(d.cfg, d.Facts)
	if len(here) == 0 {
		d.advise(Wrong, "no real server of "+d.cfg.File+" has an address of this machine",
			"It has "+d.ownText()+", and gets nothing from the directors.",
			"Give this machine the address that the file has for it, or use the file that is meant for it (-c).")
		return
	}
	var direct, nat []netip.Addr
	var tunnels []tunnelUse
	for _, s := range here {
		own := s.rs.Address.Addr()
		switch s.rs.Forward {
		case ipvs.ForwardMasq:
			nat = include(nat, own)
		case ipvs.ForwardTunnel:
			for _, vip := range s.vs.VIPs() {
				tunnels = include(tunnels, tunnelUse{vip, own, s.rs.Tunnel})
			}
		case ipvs.ForwardDirect:
			for _, vip := range s.vs.VIPs() {
				direct = include(direct, vip)
			}
		}
	}
	for _, t := range tunnels {
		d.obstacle(t)
	}
	d.silence(direct, tunnels)
	for _, vip := range direct {
		d.directVIP(vip)
	}
	for _, t := range tunnels {
		d.tunnelVIP(t)
	}
	for _, t := range widest(tunnels) {
		d.segments(t)
	}
	for _, own := range nat {
		d.wayBack(own)
	}
	for _, s := range here {
		d.listens(s)
	}
}

// start is the command that sets up direct routing and tunnels.
func (d *diagnosis) start() string { return "hadirector realserver start -c " + quote(d.cfg.File) }

// silence looks whether the neighbours learn by ARP that a virtual address is here.
func (d *diagnosis) silence(direct []netip.Addr, tunnels []tunnelUse) {
	if !slices.ContainsFunc(direct, netip.Addr.Is4) && !slices.ContainsFunc(tunnels, func(t tunnelUse) bool { return t.vip.Is4() }) {
		return
	}
	var low, high, loud []string
	for _, i := range d.Interfaces {
		if !hasARP(i) {
			continue
		}
		switch n := d.inForce(i.Name, "arp_ignore"); {
		case n < 1:
			low = append(low, i.Name)
		case n > 2:
			high = append(high, i.Name)
		}
		if d.inForce(i.Name, "arp_announce") < 2 {
			loud = append(loud, i.Name)
		}
	}
	if len(low) > 0 {
		d.wrong("arp_ignore is 0 on "+strings.Join(low, ", ")+": this machine answers ARP for the virtual addresses",
			"Neighbours send their packets here past the director, whenever this machine is the quickest to answer.", d.start())
	}
	for _, ifname := range high {
		n, where := d.inForce(ifname, "arp_ignore"), ifname
		if d.number("net/ipv4/conf/all/arp_ignore") == n {
			where = "all"
		}
		d.wrong(fmt.Sprintf("arp_ignore is %d on %s: this machine may not answer ARP for its own addresses", n, ifname),
			"The director cannot find it on the network, and checks of it fail.",
			fmt.Sprintf("sysctl -w net.ipv4.conf.%s.arp_ignore=1", dotted(where)))
	}
	if len(low)+len(high) == 0 {
		d.fine("arp_ignore is in force: no answers to ARP for the virtual addresses")
	}
	if len(loud) > 0 {
		d.wrong("arp_announce is less than 2 on "+strings.Join(loud, ", ")+": this machine asks by ARP in the name of virtual addresses",
			"Neighbours learn from such a question that the address is here, and their packets come past the director.", d.start())
		return
	}
	d.fine("arp_announce is in force: no ARP in the name of virtual addresses")
}

// hasARP tells whether ARP for a virtual address may come in by an interface.
func hasARP(i netif.Interface) bool {
	return i.Up && !i.Loopback && !isTunnel(i) && i.Kind != "dummy" &&
		slices.ContainsFunc(i.Addresses, func(a netif.InterfaceAddress) bool { return a.Prefix.Addr().Is4() })
}

// dotted is an interface's name within a parameter's name with dots.
func dotted(ifname string) string { return strings.ReplaceAll(ifname, ".", "/") }

// elsewhere complains of a virtual address that is where ARP or neighbour discovery tell
// of it, and of one that has too short a prefix on lo. It returns the places that serve.
func (d *diagnosis) elsewhere(vip netip.Addr) (serve []place, complained bool) {
	for _, p := range d.places(vip) {
		remove := fmt.Sprintf("ip addr del %v dev %s", p.Prefix, quote(p.on.Name))
		quiet := p.on.Loopback || p.on.Kind == "dummy" || isTunnel(p.on)
		switch {
		case p.Duplicate:
			d.wrong(fmt.Sprintf("duplicate address detection failed for the virtual address %v on %s", p.Prefix, p.on.Name),
				"Another machine, mostly the director, has it on the network, so the kernel does not use it here.", remove, d.start())
			complained = true
		case p.on.Loopback && p.Prefix != host(vip):
			d.wrong(fmt.Sprintf("the virtual address %v is on %s with the prefix length /%d instead of /%d", vip, p.on.Name, p.Prefix.Bits(), vip.BitLen()),
				"With it all of "+p.Prefix.Masked().String()+" is this machine itself: it reaches none of its neighbours there, the director included.", remove, d.start())
			complained = true
		case quiet:
			serve = append(serve, p)
		case d.masterOf(vip, p.on.Name):
		default:
			d.wrong(fmt.Sprintf("the virtual address %v is on %s, an interface on the network", vip, p.on.Name),
				"This machine answers for it there, in competition with the director.", remove, d.start())
			complained = true
		}
	}
	return serve, complained
}

// masterOf tells whether this machine, as a director, may have the address there.
func (d *diagnosis) masterOf(vip netip.Addr, ifname string) bool {
	return d.self != "" && slices.ContainsFunc(d.cfg.VirtualRouters, func(vr conf.VirtualRouter) bool {
		return vr.Interface == ifname && slices.ContainsFunc(slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses),
			func(p netip.Prefix) bool { return p.Addr() == vip })
	})
}

func (d *diagnosis) directVIP(vip netip.Addr) {
	serve, complained := d.elsewhere(vip)
	for _, p := range serve {
		if !isTunnel(p.on) {
			d.fine("the virtual address %v is on %s", p.Prefix, p.on.Name)
			return
		}
	}
	if !complained {
		d.wrong(fmt.Sprintf("the virtual address %v is not on lo", vip),
			"The director sends clients' packets here unchanged (forward = \"dr\"), and this machine drops them as meant for another one.", d.start())
	}
}

// wayBack looks whether the answers of a real server behind nat pass through a director.
func (d *diagnosis) wayBack(own netip.Addr) {
	const why = "The director must turn the answers back (forward = \"nat\"); clients discard what comes from this machine's own address."
	good := d.moving()
	if len(d.cfg.Directors) < 2 {
		for _, dir := range d.cfg.Directors {
			good = include(good, dir.Address)
		}
	}
	way, ok := d.RealServerFacts.Answers[own]
	if ok && slices.Contains(good, way.Gateway) {
		d.fine("answers from %v go back through the director, by %v", own, way.Gateway)
		return
	}
	what := fmt.Sprintf("answers from %v to clients go past the director, ", own)
	switch i := slices.IndexFunc(d.cfg.Directors, func(dir conf.Director) bool { return dir.Address == way.Gateway }); {
	case !ok:
		what = fmt.Sprintf("answers from %v have no way to clients: there is no default route", own)
	case i >= 0:
		what = fmt.Sprintf("answers from %v go by %v, which belongs to director %s alone", own, way.Gateway, d.cfg.Directors[i].Name)
	case way.Gateway.IsValid():
		what += "by " + way.Gateway.String()
	default:
		what += "straight out of " + way.Interface
	}
	// A gateway has to be on the network of the real server.
	for _, p := range d.places(own) {
		for _, gateway := range good {
			if p.Prefix.Masked().Contains(gateway) && !d.isLocal(gateway) {
				d.wrong(what, why, fmt.Sprintf("%s route replace default via %v dev %s", ip(own), gateway, quote(p.on.Name)))
				return
			}
		}
	}
	d.advise(Wrong, what, why, "Give the directors a virtual address on this machine's network, and this machine a default route through it.")
}

// moving are the addresses that the Master has, those for clients last.
func (d *diagnosis) moving() []netip.Addr {
	var list, forClients []netip.Addr
	for _, vr := range d.cfg.VirtualRouters {
		for _, p := range slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses) {
			if slices.ContainsFunc(d.cfg.VirtualServers, func(vs conf.VirtualServer) bool { return slices.Contains(vs.VIPs(), p.Addr()) }) {
				forClients = include(forClients, p.Addr())
			} else {
				list = include(list, p.Addr())
			}
		}
	}
	return append(list, forClients...)
}

// most is how many ports of a range are looked at.
const most = 16

// listens looks whether a program takes what the director sends.
func (d *diagnosis) listens(s served) {
	if d.RealServerFacts.NoListeners {
		return
	}
	own := s.rs.Address.Addr()
	for _, to := range s.vs.Ports() {
		if to.First == 0 {
			continue // every port
		}
		for port := int(to.First); port <= int(to.Last) && port < int(to.First)+most; port++ {
			at := netip.AddrPortFrom(to.Addr, uint16(port))
			if s.rs.Forward == ipvs.ForwardMasq || s.rs.Forward == ipvs.ForwardFullNAT {
				if s.rs.Address.Port() == 0 {
					at = netip.AddrPortFrom(own, uint16(port))
				} else {
					at = s.rs.Address
				}
			}
			d.listensAt(s, at, own)
		}
	}
}

func (d *diagnosis) listensAt(s served, at netip.AddrPort, own netip.Addr) {
	protocol := s.vs.Service.Key.Protocol
	if len(s.vs.Marked) > 0 {
		protocol = s.vs.Marked[0].Protocol
	}
	if protocol != ipvs.TCP && protocol != ipvs.UDP {
		return
	}
	takes := func(to netip.AddrPort) bool {
		return slices.ContainsFunc(d.RealServerFacts.Listeners, func(l Listener) bool { return l.takes(protocol, to) })
	}
	anywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	if at.Addr().Is6() {
		anywhere = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	}
	name := fmt.Sprintf("virtual server %s", s.vs.Name)
	switch {
	case takes(at):
		d.add(Finding{Severity: Fine, What: fmt.Sprintf("a program listens on %s %v, for %s", protocol, at, name)})
	case takes(netip.AddrPortFrom(own, at.Port())):
		d.add(Finding{Severity: Wrong, What: fmt.Sprintf("the program that listens on %s %v does not listen on %v, for %s", protocol, netip.AddrPortFrom(own, at.Port()), at, name),
			Why:    "Clients' packets keep the virtual address as their destination, so every connection is refused, although a check of the own address may succeed.",
			Advice: fmt.Sprintf("Have it listen on %v or on %v, and restart it.", anywhere, at)})
	default:
		d.add(Finding{Severity: Wrong, What: fmt.Sprintf("no program listens on %s %v, for %s", protocol, at, name),
			Why:    "Clients get no service from this machine.",
			Advice: fmt.Sprintf("Start the service, and have it listen on %v or on %v.", anywhere, at)})
	}
}
