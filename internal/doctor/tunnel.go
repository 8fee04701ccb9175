package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

// tunnelUse is a virtual address whose packets come through a tunnel to an own address.
type tunnelUse struct {
	vip, own netip.Addr
	conf.Tunnel
}

// tunnelKinds are the kinds of interfaces at which the directors' tunnels end, with the
// kernel's modules and the interface that comes with each module.
var tunnelKinds = map[string]struct{ module, fallback string }{
	"ipip": {"ipip", "tunl0"}, "ip6tnl": {"ip6_tunnel", "ip6tnl0"}, "gre": {"ip_gre", "gre0"}, "ip6gre": {"ip6_gre", "ip6gre0"},
}

// isTunnel tells whether an interface is of a kind at which tunnels end.
func isTunnel(i netif.Interface) bool {
	_, ok := tunnelKinds[i.Kind]
	return ok
}

// kind is that of the interface at which the tunnel ends. What comes in GUE leaves it at
// one for IP in IP.
func (t tunnelUse) kind() string {
	gre := t.Type == ipvs.TunnelGRE
	switch {
	case gre && t.own.Is6():
		return "ip6gre"
	case gre:
		return "gre"
	case t.own.Is6():
		return "ip6tnl"
	}
	return "ipip"
}

// modules are the kernel modules that it needs.
func (t tunnelUse) modules() []string {
	list := []string{tunnelKinds[t.kind()].module}
	if t.Type == ipvs.TunnelGUE {
		list = append(list, "fou")
	}
	return list
}

// overhead is how many bytes the tunnel adds to a packet.
func (t tunnelUse) overhead() int {
	n := 20
	if t.own.Is6() {
		n = 40
	}
	switch {
	case t.Type == ipvs.TunnelGRE && t.checksum():
		return n + 8
	case t.Type == ipvs.TunnelGRE:
		return n + 4
	case t.Type == ipvs.TunnelGUE && t.Flags&ipvs.TunnelRemoteChecksum != 0:
		return n + 20
	case t.Type == ipvs.TunnelGUE:
		return n + 12
	}
	return n
}

// checksum tells whether the end has to be one for GRE checksums.
func (t tunnelUse) checksum() bool {
	return t.Type == ipvs.TunnelGRE && t.Flags&ipvs.TunnelChecksum != 0
}

// noTunnel is why a missing end matters.
const noTunnel = "The director sends clients' packets here in a tunnel (forward = \"tun\"), and nobody unpacks them."

func (d *diagnosis) tunnelVIP(t tunnelUse) {
	if d.RealServerFacts.NoTunnels {
		return
	}
	serve, complained := d.elsewhere(t.vip)
	i, ok := d.tunnelEnd(t)
	if !ok {
		return
	}
	if i.Up {
		d.add(Finding{Severity: Fine, What: fmt.Sprintf("the tunnel interface %s is up", i.Name)})
	} else {
		d.add(Finding{Severity: Wrong, What: fmt.Sprintf("the tunnel interface %s is down", i.Name),
			Why: "What the director sends through the tunnel is dropped.", Commands: []string{d.start()}})
	}
	if slices.ContainsFunc(serve, func(p place) bool { return p.on.Name == i.Name }) {
		d.add(Finding{Severity: Fine, What: fmt.Sprintf("the virtual address %v is on %s", t.vip, i.Name)})
	} else if !complained {
		d.add(Finding{Severity: Wrong, What: fmt.Sprintf("the virtual address %v is not on the tunnel interface %s", t.vip, i.Name),
			Why: "The packets come out of the tunnel, and this machine drops them.", Commands: []string{d.start()}})
	}
	d.strict(t, i.Name)
	d.port(t)
}

// obstacle looks for an interface that the kernel takes for the tunnel's end and that drops
// its packets. As long as it is there, the right one cannot be made.
func (d *diagnosis) obstacle(t tunnelUse) {
	with := map[bool]string{true: "with", false: "without"}
	for _, end := range d.RealServerFacts.Tunnels {
		if end.Kind == t.kind() && end.Local == t.own && end.Checksum != t.checksum() {
			d.wrong(fmt.Sprintf("the tunnel interface %s is for packets %s a GRE checksum, and those of the director are %s", end.Name, with[end.Checksum], with[t.checksum()]),
				"It drops them.", "ip link del "+quote(end.Name), d.start())
		}
	}
}

// tunnelEnd finds the interface at which the tunnel ends, or says what there is instead.
func (d *diagnosis) tunnelEnd(t tunnelUse) (i netif.Interface, ok bool) {
	kind := t.kind()
	for _, end := range d.RealServerFacts.Tunnels {
		if end.Kind != kind || end.Local != t.own {
			continue
		}
		if end.Checksum == t.checksum() {
			return d.named(end.Name)
		}
		// See obstacle.
		return netif.Interface{}, false
	}
	// The one of the module takes what comes to any address.
	if i, ok = d.named(tunnelKinds[kind].fallback); ok && i.Up && !t.checksum() &&
		slices.ContainsFunc(d.places(t.vip), func(p place) bool { return p.on.Name == i.Name }) {
		return i, true
	}
	for _, module := range t.modules() {
		if d.RealServerFacts.Modules[module] == Absent {
			d.add(Finding{Severity: Wrong, What: fmt.Sprintf("this kernel has no %s tunnels: it lacks the module %s", t.Type, module), Why: noTunnel,
				Advice: "Install the package with the module " + module + ", which some distributions have apart from the kernel (linux-modules-extra), or another kernel."})
			return netif.Interface{}, false
		}
	}
	d.wrong(fmt.Sprintf("no %s interface takes the tunnels to %v, for the virtual address %v", kind, t.own, t.vip), noTunnel, d.start())
	return netif.Interface{}, false
}

// strict looks at the filter that drops what comes from a source to which the way is
// another one: all that leaves a tunnel.
func (d *diagnosis) strict(t tunnelUse, ifname string) {
	if !t.vip.Is4() {
		return
	}
	if d.inForce(ifname, "rp_filter") == 1 {
		d.add(Finding{Severity: Wrong, What: "rp_filter is strict on " + ifname,
			Why:      "Clients' packets leave the tunnel there and their answers take another way, so the kernel drops them.",
			Commands: []string{"sysctl -w net.ipv4.conf." + dotted(ifname) + ".rp_filter=2"}})
		return
	}
	d.add(Finding{Severity: Fine, What: "rp_filter is not strict on " + ifname})
}

// port looks at the UDP port for GUE.
func (d *diagnosis) port(t tunnelUse) {
	if t.Type != ipvs.TunnelGUE {
		return
	}
	if slices.Contains(d.RealServerFacts.Ports, netif.Port{Number: t.Port, IPv6: t.own.Is6()}) {
		d.add(Finding{Severity: Fine, What: fmt.Sprintf("the kernel takes gue at UDP port %d", t.Port)})
		return
	}
	d.add(Finding{Severity: Wrong, What: fmt.Sprintf("the kernel does not take gue at UDP port %d", t.Port), Why: noTunnel, Commands: []string{d.start()}})
}

// widest are, for each own address, the tunnel to it that adds the most.
func widest(tunnels []tunnelUse) []tunnelUse {
	var list []tunnelUse
	for _, t := range tunnels {
		i := slices.IndexFunc(list, func(other tunnelUse) bool { return other.own == t.own })
		switch {
		case i < 0:
			list = append(list, t)
		case list[i].overhead() < t.overhead():
			list[i] = t
		}
	}
	return list
}

// segments looks whether clients are asked for TCP segments that fit into the tunnel.
func (d *diagnosis) segments(t tunnelUse) {
	ps := d.places(t.own)
	way, ok := d.RealServerFacts.Answers[t.own]
	if len(ps) == 0 || !ok || !way.Gateway.IsValid() {
		return // no clients but those on the link
	}
	headers := 40 // of IPv4 and TCP, without options
	if t.own.Is6() {
		headers = 60
	}
	out, _ := d.named(way.Interface)
	asked := way.AdvMSS
	if asked == 0 {
		mtu := out.MTU
		if way.MTU != 0 {
			mtu = way.MTU
		}
		asked = mtu - headers
	}
	fits := ps[0].on.MTU - t.overhead() - headers
	if asked <= fits {
		d.add(Finding{Severity: Fine, What: fmt.Sprintf("TCP segments of clients fit into the %s tunnel to %v", t.Type, t.own)})
		return
	}
	d.add(Finding{Severity: Warning, What: fmt.Sprintf("clients are asked for TCP segments of %d bytes, and %d fit into the %s tunnel to %v", asked, fits, t.Type, t.own),
		Why: "The director refuses the first large packets of each client, which has to learn the smaller size by ICMP; where that is filtered, uploads hang. " +
			"If the network between director and real server has room for more, leave it.",
		Commands: []string{fmt.Sprintf("%s route replace default via %v dev %s advmss %d", ip(t.own), way.Gateway, quote(way.Interface), fits)}})
}
