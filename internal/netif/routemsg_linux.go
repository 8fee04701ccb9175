package netif

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

// writer makes changes over a socket of its own for each. Unlike one that was opened
// with sockets, it can ask for the kernel's own words about a refusal (extended
// acknowledgements).
var writer = &netlink.Handle{}

// The library has one switch for the whole program, which must be set before anybody
// reads it.
func init() { nl.EnableErrorMessageReporting = true }

// newRoute is a route of ours as the library wants it.
func newRoute(k kernelRoute) *netlink.Route {
	r := &netlink.Route{
		Dst:       &net.IPNet{IP: k.to.Addr().AsSlice(), Mask: net.CIDRMask(k.to.Bits(), k.to.Addr().BitLen())},
		Table:     int(k.table),
		Priority:  int(k.metric),
		Type:      int(k.kind),
		Gw:        k.via.AsSlice(),
		LinkIndex: k.link,
		Src:       k.source.AsSlice(),
		Scope:     netlink.Scope(k.scope),
		MTU:       int(k.mtu),
		Protocol:  ownProtocol,
	}
	for _, h := range k.hops {
		r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: h.via.AsSlice(), LinkIndex: h.link, Hops: h.weight - 1})
	}
	return r
}

// readRoute reads what newRoute can write. A route that has more than that is not one
// of ours.
func readRoute(r netlink.Route) (kernelRoute, bool) {
	to, ok := prefixOf(r.Dst)
	if !ok || r.Tos != 0 {
		return kernelRoute{}, false
	}
	addr := func(ip net.IP) netip.Addr {
		a, _ := netip.AddrFromSlice(ip)
		return a
	}
	k := kernelRoute{
		routeKey: routeKey{to: to, table: uint32(r.Table), metric: uint32(r.Priority)},
		kind:     uint8(r.Type), via: addr(r.Gw), link: r.LinkIndex, source: addr(r.Src),
		scope: uint8(r.Scope), mtu: uint32(r.MTU),
	}
	for _, h := range r.MultiPath {
		k.hops = append(k.hops, kernelHop{addr(h.Gw), h.LinkIndex, h.Hops + 1})
	}
	return k, true
}

func newRule(r vrrp.Rule) *netlink.Rule {
	network := func(p netip.Prefix) *net.IPNet {
		if !p.IsValid() {
			return nil
		}
		return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	n := netlink.NewRule()
	n.Family = netlink.FAMILY_V4
	if r.Family == vrrp.IPv6 {
		n.Family = netlink.FAMILY_V6
	}
	n.Invert = r.Not
	n.Src, n.Dst = network(r.From), network(r.To)
	n.IifName, n.OifName = r.In, r.Out
	n.Mark = r.Mark
	if r.Mask != 0 {
		n.Mask = &r.Mask
	}
	if r.Priority != 0 {
		n.Priority = int(r.Priority)
	}
	n.Table = int(r.Table)
	n.Type = routeKinds[r.Action]
	n.Protocol = ownProtocol
	return n
}

// listRules reads the rules of the families of the given ones. The library's own
// listing leaves the action out.
func listRules(of []vrrp.Rule) ([]kernelRule, error) {
	var rules []kernelRule
	for _, family := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		if !slices.ContainsFunc(of, func(r vrrp.Rule) bool { return r.Family == family }) {
			continue
		}
		req := nl.NewNetlinkRequest(unix.RTM_GETRULE, unix.NLM_F_DUMP)
		msg := nl.NewRtMsg()
		msg.Family = netlink.FAMILY_V4
		if family == vrrp.IPv6 {
			msg.Family = netlink.FAMILY_V6
		}
		req.AddData(msg)
		list, err := dump(func() ([][]byte, error) { return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWRULE) })
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		for _, m := range list {
			r, ok, err := parseRule(m)
			if err != nil {
				return nil, fmt.Errorf("list rules: %w", err)
			}
			if ok {
				rules = append(rules, r)
			}
		}
	}
	return rules, nil
}

// parseRule reads what newRule can write (linux/fib_rules.h). A rule that selects by
// anything else is not one of ours.
func parseRule(m []byte) (rule kernelRule, ok bool, err error) {
	if len(m) < unix.SizeofRtMsg {
		return kernelRule{}, false, fmt.Errorf("message of %d bytes", len(m))
	}
	msg := nl.DeserializeRtMsg(m)
	attrs, err := nl.ParseRouteAttr(m[msg.Len():])
	if err != nil {
		return kernelRule{}, false, err
	}
	r := kernelRule{Rule: vrrp.Rule{Family: vrrp.IPv4, Not: msg.Flags&netlink.FibRuleInvert != 0}}
	if msg.Family == netlink.FAMILY_V6 {
		r.Family = vrrp.IPv6
	}
	known := false
	for word, kind := range routeKinds {
		if kind == msg.Type {
			known, r.Action = true, word
		}
	}
	ok = known && msg.Tos == 0
	for _, a := range attrs {
		number := func() uint32 {
			if len(a.Value) < 4 {
				ok = false
				return 0
			}
			return nl.NativeEndian().Uint32(a.Value)
		}
		network := func(bits uint8) netip.Prefix {
			addr, isAddr := netip.AddrFromSlice(a.Value)
			if !isAddr {
				ok = false
			}
			return netip.PrefixFrom(addr, int(bits))
		}
		switch a.Attr.Type {
		case nl.FRA_SRC:
			r.From = network(msg.Src_len)
		case nl.FRA_DST:
			r.To = network(msg.Dst_len)
		case nl.FRA_IIFNAME:
			r.In = unix.ByteSliceToString(a.Value)
		case nl.FRA_OIFNAME:
			r.Out = unix.ByteSliceToString(a.Value)
		case nl.FRA_FWMARK:
			r.Mark = number()
		case nl.FRA_FWMASK:
			r.Mask = number()
		case nl.FRA_PRIORITY:
			r.Priority = number()
		case nl.FRA_TABLE:
			r.Table = number()
		case nl.FRA_PROTOCOL:
			r.ours = len(a.Value) > 0 && a.Value[0] == ownProtocol
		case nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP:
			ok = ok && number() == 1<<32-1
		case nl.FRA_TUN_ID, nl.FRA_FLOW, nl.FRA_GOTO, nl.FRA_IP_PROTO, nl.FRA_SPORT_RANGE, nl.FRA_DPORT_RANGE, nl.FRA_UID_RANGE:
			ok = false
		}
	}
	if r.Action != "" {
		r.Table = 0
	}
	return r, ok, nil
}
