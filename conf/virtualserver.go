package conf

import (
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

var virtualServerGrammar = grammar{
	keys: []string{"address", "fwmark", "family", "mark", "protocol", "one_packet", "scheduler", "scheduler_flags",
		"forward", "tunnel", "tunnel_port", "tunnel_checksum", "source_address", "check",
		"persistence", "persistence_netmask", "persistence_engine", "quorum", "quorum_hysteresis", "sorry_server",
		"on_down", "panic_threshold", "slow_start", "on_quorum_up", "on_quorum_down", "drain_timeout", "sync",
		"real_server"},
	others: map[string]string{
		"ip": "address", "vip": "address", "mode": "forward", "method": "forward",
		"lb_kind": "forward", "lvs_method": "forward", "lb_algo": "scheduler", "lvs_sched": "scheduler", "algorithm": "scheduler",
		"ops": "one_packet", "persistence_timeout": "persistence", "persistence_granularity": "persistence_netmask", "pe": "persistence_engine",
		"hysteresis": "quorum_hysteresis", "quorum_up": "on_quorum_up", "quorum_down": "on_quorum_down",
	},
}

// virtualServers reads [virtual_server.NAME].
func (p *parser) virtualServers(n *node, ds []Director) []VirtualServer {
	var vss []VirtualServer
	for name, t := range p.named(n, virtualServerGrammar, "[virtual_server.NAME]") {
		p.table(t, virtualServerGrammar)
		vs := VirtualServer{
			Name:    name,
			Forward: p.forward(t.kid("forward"), forwardMethods[defaultForward]),
			Checks:  p.checkNames(t.kid("check"), nil),
		}
		p.poolKeys(t, &vs)
		vs.Tunnel = p.tunnel(t, vs.Forward, Tunnel{})
		p.serviceAddress(t, &vs)
		vs.Service.Scheduler, vs.Service.Flags = p.scheduler(t)
		p.onePacket(t.kid("one_packet"), &vs)
		p.persistence(t, &vs)
		vs.DrainTimeout = p.duration(t.kid("drain_timeout"), defaultDrainTimeout, 0, maxDrainTimeout, time.Millisecond)
		vs.Sync = p.syncScope(t)
		vs.RealServers = p.realServers(t.kid("real_server"), vs)
		vs.SorryServer = p.sorryServer(t.kid("sorry_server"), vs)
		p.sourceAddress(t, &vs, ds)
		p.checkVirtualServer(t, vs)
		p.astray(t, vs)
		p.checkPool(t, vs)
		vss = append(vss, vs)
	}
	return vss
}

// The forwarding methods by their names in the file, and what ipvsadm and keepalived
// call them.
var (
	forwardMethods = map[string]ipvs.ForwardMethod{
		"dr": ipvs.ForwardDirect, "nat": ipvs.ForwardMasq, "tun": ipvs.ForwardTunnel,
		"fullnat": ipvs.ForwardFullNAT,
	}
	forwardNames = []string{"dr", "nat", "tun", "fullnat"}
	forwardOther = map[string]string{
		"direct": "dr", "gatewaying": "dr", "gateway": "dr", "route": "dr", "dsr": "dr",
		"masq": "nat", "masquerading": "nat", "masquerade": "nat", "snat": "nat", "dnat": "nat",
		"tunnel": "tun", "ipip": "tun", "tunneling": "tun",
	}
)

func (p *parser) forward(n *node, def ipvs.ForwardMethod) ipvs.ForwardMethod {
	if n == nil {
		return def
	}
	name := p.choice(n, "a forwarding method", "", forwardNames, forwardOther)
	if f, ok := forwardMethods[name]; ok {
		return f
	}
	return def
}

func forwardName(f ipvs.ForwardMethod) string {
	for name, method := range forwardMethods {
		if method == f {
			return name
		}
	}
	return ""
}

// checkNames reads the name of a check, or an array of names.
func (p *parser) checkNames(n *node, def []string) []string {
	const want = "the name of a check, or an array of names"
	if n == nil {
		return def
	}
	if _, many := n.value.([]any); !many {
		if name := p.checkName(n, want); name != "" {
			return []string{name}
		}
		return def
	}
	if len(n.elems) == 0 {
		p.errorf(n, "want %s, found an empty array", want)
		return def
	}
	var names []string
	for _, e := range n.elems {
		switch name := p.checkName(e, "the name of a check"); {
		case slices.Contains(names, name):
			p.errorf(e, "%s is named twice", name)
		case name != "":
			names = append(names, name)
		}
	}
	return names
}

// checkName reads the name of a check, which has to be there; empty: it is not.
func (p *parser) checkName(n *node, want string) string {
	name, ok := read[string](p, n, want)
	if !ok {
		return ""
	}
	checks := p.root.kid("check")
	if checks.kid(name) != nil {
		p.usedChecks[name] = true
		return name
	}
	var names []string
	if checks != nil {
		for _, k := range checks.kids {
			names = append(names, k.name)
		}
	}
	hint := didYouMean(p.suggest(name, names))
	switch {
	case hint != "":
	case len(names) == 0:
		hint = ": the file has no [check.NAME]"
	case len(names) <= 5:
		hint = ": want one of " + strings.Join(names, ", ")
	}
	p.errorf(n, "no check is named %q%s", shorten(name), hint)
	return ""
}

// checkVirtualServer looks for contradictions within one virtual server.
func (p *parser) checkVirtualServer(t *node, vs VirtualServer) {
	if len(vs.Addresses) > 0 && vs.Addresses[0].First == 0 && t.kid("persistence") == nil {
		p.errorf(t.at("address"), "port 0 needs persistence: without it the kernel balances no port at all")
	}
	servers := len(vs.RealServers)
	checked, weighted := len(vs.Checks) > 0, false
	for _, rs := range vs.RealServers {
		checked = checked || len(rs.Checks) > 0
		weighted = weighted || rs.Weight > 0
	}
	if servers > 0 && !weighted {
		p.warnf(t, "every real server has weight 0: no connection is accepted")
	}
	if servers > 0 && !checked && !p.asksForCheck(t) {
		p.warnf(t, "has no check: its real servers count as up, whatever happens to them")
	}
}

// asksForCheck tells whether a table or one of its real servers names a check, even
// one that was refused.
func (p *parser) asksForCheck(t *node) bool {
	if t.kid("check") != nil {
		return true
	}
	if rs := t.kid("real_server"); rs != nil {
		for _, k := range rs.kids {
			if k.kid("check") != nil {
				return true
			}
		}
	}
	return false
}
