package director

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// Need is a kernel parameter that a configuration asks for. In the name of one that
// interfaces have of their own, "*" stands for the interface.
type Need struct {
	ipvs.Parameter
	// On are the interfaces that are meant: those with a subnet that one of these is in;
	// none: all of them.
	On []netip.Addr
	// OrAll has all of them meant where one of On is in no subnet: it is behind a router, by
	// whichever interface.
	OrAll bool
}

// Needs returns the kernel parameters that a configuration asks for, in the order in
// which they are to be set.
//
// With direct routing and tunnels the kernel sends packets on from where a local process
// would get them, which needs no parameter of the director's. With nat the answers of
// real servers have to pass through it as through a router: the kernel turns them back
// in its forwarding path. So have those with fullnat, once nftables has turned them back.
func Needs(cfg *conf.Config, leaving map[identity]Leaving) []Need {
	var needs needList
	if four := natted(cfg, leaving, netip.Addr.Is4); len(four.servers) > 0 {
		needs.add(needed("net.ipv4.ip_forward", "1", four.by+through))
		// An interface sends redirects if its own parameter or that of all is set
		// (include/linux/inetdevice.h IN_DEV_TX_REDIRECTS). IPv6 has none for it.
		needs.add(need("net.ipv4.conf.all.send_redirects", "0", four.by+past))
		each := need("net.ipv4.conf.*.send_redirects", "0", four.by+past)
		each.On = four.servers
		needs.add(each)
	}
	if six := natted(cfg, leaving, netip.Addr.Is6); len(six.servers) > 0 {
		// Before forwarding is switched on, which deletes the routes of router
		// advertisements (net/ipv6/addrconf.c addrconf_fixup_forwarding).
		const forwarding = "net.ipv6.conf.all.forwarding"
		each := need("net.ipv6.conf.*.accept_ra", "2", "a machine that forwards ignores router advertisements otherwise, and loses the routes from them")
		each.From, each.With = "1", forwarding
		needs.add(each)
		needs.add(needed(forwarding, "1", six.by+through))
	}
	if by := fullNATed(cfg, leaving); by != "" {
		needs.add(needed("net.ipv4.vs.conntrack", "1", by+": nftables translates the connections that it is told of"))
		if cfg.Sync != nil {
			// The window that it has seen of a connection is old by then.
			needs.add(need("net.netfilter.nf_conntrack_tcp_be_liberal", "1", by+": connections come back from another director"))
		}
	}
	for _, n := range slices.Concat(probeNeeds(cfg), relayNeeds(cfg)) {
		needs.add(n)
	}
	if len(cfg.VirtualServers) > 0 { // without any there is no IPVS that has parameters
		for _, name := range slices.Sorted(maps.Keys(cfg.IPVS.Parameters)) {
			needs.add(need("net.ipv4.vs."+name, fmt.Sprint(cfg.IPVS.Parameters[name]), "[ipvs] "+name))
		}
	}
	return needs
}

// The reasons for what nat needs, after whose nat it is.
const (
	through = ": the real servers' answers pass through this machine"
	past    = ": a redirect would send real servers past this machine to clients on their network"
)

// needList is what is asked for, each parameter once.
type needList []Need

// add adds a parameter. One that is there already gets one more reason: that two reasons
// want the same value is the configuration's part.
func (l *needList) add(n Need) {
	i := slices.IndexFunc(*l, func(other Need) bool { return other.Name == n.Name })
	if i < 0 {
		*l = append(*l, n)
		return
	}
	same := &(*l)[i]
	same.Reason += "; " + n.Reason
	same.Needed = same.Needed || n.Needed
}

func need(name, value, reason string) Need {
	return Need{Parameter: ipvs.Parameter{Name: name, Value: value, Reason: reason}}
}

// needed is a parameter without which clients are not served.
func needed(name, value, reason string) Need {
	n := need(name, value, reason)
	n.Needed = true
	return n
}

// natUse is what is forwarded by nat.
type natUse struct {
	servers []netip.Addr // sorted
	by      string       // whose they are, for a reason
}

// natted finds the real servers of one family that packets are forwarded to by nat,
// whether they are in the table just now or not.
func natted(cfg *conf.Config, leaving map[identity]Leaving, family func(netip.Addr) bool) natUse {
	found, names := make(map[netip.Addr]bool), []string(nil)
	add := func(name string, to netip.Addr, forward ipvs.ForwardMethod) {
		if forward.Kernel() != ipvs.ForwardMasq || !family(to) {
			return
		}
		found[to] = true
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		for _, rs := range vs.RealServers {
			add(vs.Name, rs.Address.Addr(), rs.Forward)
		}
		if s := vs.SorryServer; s != nil {
			add(vs.Name, s.Address.Addr(), s.Forward)
		}
	}
	for _, id := range (Facts{Leaving: leaving}).sortedLeaving() {
		l := leaving[id]
		add(l.Server.VirtualServer, l.Destination.Key.Addr(), l.Destination.Forward)
	}
	return natUse{servers: slices.SortedFunc(maps.Keys(found), netip.Addr.Compare), by: whose("nat", names)}
}

// fullNATed says whose connections full NAT forwards; nothing: nobody's.
func fullNATed(cfg *conf.Config, leaving map[identity]Leaving) string {
	var names []string
	for i := range cfg.VirtualServers {
		if vs := &cfg.VirtualServers[i]; vs.FullNAT() {
			names = append(names, vs.Name)
		}
	}
	for _, id := range (Facts{Leaving: leaving}).sortedLeaving() {
		if l := leaving[id]; l.Translation != nil && !slices.Contains(names, l.Server.VirtualServer) {
			names = append(names, l.Server.VirtualServer)
		}
	}
	return whose("fullnat", names)
}

// whose names the first of the virtual servers that have a forwarding method.
func whose(method string, names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return method + " of virtual server " + names[0]
	}
	return fmt.Sprintf("%s of virtual server %s and %d more", method, names[0], len(names)-1)
}

// Spread names the parameters that are meant on a machine with these interfaces.
func Spread(needs []Need, interfaces map[string][]netip.Prefix) []ipvs.Parameter {
	var list []ipvs.Parameter
	for _, n := range needs {
		if !strings.Contains(n.Name, "*") {
			list = append(list, n.Parameter)
			continue
		}
		far := n.OrAll && n.far(interfaces)
		for _, ifname := range slices.Sorted(maps.Keys(interfaces)) {
			if ifname == "lo" || ifname == syncd.PrivateInterface || ifname == syncd.PrivatePeer || !far && !n.means(interfaces[ifname]) {
				continue
			}
			p := n.Parameter
			p.Name = strings.Replace(n.Name, "*", strings.ReplaceAll(ifname, ".", "/"), 1)
			list = append(list, p)
		}
	}
	return list
}

// means tells whether an interface with these subnets is meant.
func (n Need) means(subnets []netip.Prefix) bool {
	return len(n.On) == 0 || slices.ContainsFunc(subnets, func(subnet netip.Prefix) bool {
		return slices.ContainsFunc(n.On, subnet.Masked().Contains)
	})
}

// far tells whether one of On is in none of these subnets.
func (n Need) far(interfaces map[string][]netip.Prefix) bool {
	return slices.ContainsFunc(n.On, func(a netip.Addr) bool {
		for _, subnets := range interfaces {
			if slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Masked().Contains(a) }) {
				return false
			}
		}
		return true
	})
}

func (n Need) equal(o Need) bool {
	return n.Parameter == o.Parameter && n.OrAll == o.OrAll && slices.Equal(n.On, o.On)
}

// unmet says which parameters that clients cannot be served without are not as needed.
func (p Pass) unmet() []string {
	var list []string
	for _, s := range p.Parameters {
		if s.Needed && !s.OK() {
			list = append(list, fmt.Sprintf("kernel parameter %s is not %s", s.Name, s.Value))
		}
	}
	return list
}

func (p Pass) parameterStatus() []ParameterStatus {
	plain := ipvs.PlainParameter
	list := []ParameterStatus{}
	for _, s := range p.Parameters {
		list = append(list, ParameterStatus{
			Parameter: s.Name, Value: plain(s.Now), Wanted: plain(s.Value), Was: plain(s.Was), Reason: s.Reason, OK: s.OK(), Error: errText(s.Err),
		})
	}
	return list
}

// logParameters says once what was set and put back, what is refused, and what somebody
// else changed.
func (d *Director) logParameters(p Pass) {
	plain := ipvs.PlainParameter
	var drifted []string
	refused := make(map[string]string)
	for _, s := range slices.Concat(p.Parameters, p.Released) {
		attrs := []any{"parameter", s.Name, "value", plain(s.Value), "was", plain(s.Was)}
		switch s.Change {
		case ipvs.ParameterSet:
			d.o.Logger.Info("kernel parameter set", append(attrs, "reason", s.Reason)...)
		case ipvs.ParameterPutBack:
			d.o.Logger.Info("kernel parameter put back", attrs...)
		case ipvs.ParameterLeft:
			d.o.Logger.Info("kernel parameter was set by another program, not put back", "parameter", s.Name, "value", plain(s.Now), "was", plain(s.Value))
		case ipvs.ParameterRepaired:
			d.said.parametersRepaired++
			drifted = append(drifted, fmt.Sprintf("%s=%s, was %s", s.Name, plain(s.Value), plain(s.Found)))
		}
		if s.Err == nil {
			continue
		}
		text := errText(s.Err)
		if refused[s.Name] = text; d.said.parameters[s.Name] != text {
			level := slog.LevelWarn
			if s.Needed {
				level = slog.LevelError
			}
			d.log(level, "kernel parameter refused, trying again", append(attrs, "reason", s.Reason, "err", text)...)
			d.record(Event{At: p.At, Kind: EventParameterRefused, Object: s.Name, To: plain(s.Value), Reason: s.Reason, Text: text})
		}
	}
	d.said.parameters = refused
	if text := d.said.parameterDrift.observe(p.At, drifted); text != "" {
		d.o.Logger.Warn("kernel parameter was changed by another program, repaired", "parameter", text)
		d.record(Event{At: p.At, Kind: EventParameterRepair, Object: "parameters", Text: "changed by another program, repaired: " + text})
	}
	if text := errText(p.ParameterErr); text != d.said.parameterErr {
		d.said.parameterErr = text
		if text != "" {
			d.o.Logger.Warn("kernel parameters are not all kept", "err", text)
		}
	}
}
