package netif

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

// ownProtocol marks the daemon's own routes and rules in the kernel: "proto 112" in
// what ip prints, after VRRP's protocol number. What carries it is ours to change and
// to delete, and nothing else is.
const ownProtocol = 112

const (
	// metric6 is what the kernel gives an IPv6 route without a metric (IP6_RT_PRIO_USER).
	metric6 = 1024
	// maxMTU is the highest that the kernel keeps (ip_metrics_convert).
	maxMTU = 65535 - 15
)

// routeKey is what no two routes may share: the kernel refuses the second.
type routeKey struct {
	to     netip.Prefix
	table  uint32
	metric uint32
}

// kernelRoute is a route in the kernel's values. Two routes that do the same are
// equal, whatever their words.
type kernelRoute struct {
	routeKey
	kind   uint8 // RTN_UNICAST, RTN_BLACKHOLE, ...
	via    netip.Addr
	link   int // index; 0 of a wanted route: as the kernel finds
	source netip.Addr
	scope  uint8
	mtu    uint32
	hops   []kernelHop
}

type kernelHop struct {
	via    netip.Addr
	link   int
	weight int
}

// routeKinds are the kernel's numbers of a route's or a rule's kind: those of rules
// (FR_ACT_BLACKHOLE, ...) are the same.
var routeKinds = map[string]uint8{
	"":            unix.RTN_UNICAST,
	"blackhole":   unix.RTN_BLACKHOLE,
	"unreachable": unix.RTN_UNREACHABLE,
	"prohibit":    unix.RTN_PROHIBIT,
}

var routeScopes = map[string]uint8{
	"global": unix.RT_SCOPE_UNIVERSE,
	"link":   unix.RT_SCOPE_LINK,
	"host":   unix.RT_SCOPE_HOST,
}

func keyOf(r vrrp.Route) routeKey {
	k := routeKey{to: r.To.Masked(), table: r.Table, metric: r.Metric}
	if k.table == 0 {
		k.table = unix.RT_TABLE_MAIN
	}
	if k.metric == 0 && k.to.Addr().Is6() {
		k.metric = metric6
	}
	return k
}

// kernelRouteOf translates a route. A route that names no interface goes over ifname,
// unless the kernel can find the interface by the next hop's address; a link-local one
// is on every interface.
func kernelRouteOf(r vrrp.Route, ifname string, indexOf func(string) (int, error)) (kernelRoute, error) {
	k := kernelRoute{
		routeKey: keyOf(r), kind: routeKinds[r.Type],
		via: r.Via, source: r.Source, mtu: min(r.MTU, maxMTU),
	}
	linkOf := func(via netip.Addr, dev string) (int, error) {
		if dev == "" && via.IsValid() && !via.IsLinkLocalUnicast() {
			return 0, nil
		}
		return indexOf(cmp.Or(dev, ifname))
	}
	for _, h := range r.Hops {
		link, err := linkOf(h.Via, h.Dev)
		if err != nil {
			return kernelRoute{}, err
		}
		k.hops = append(k.hops, kernelHop{h.Via, link, max(h.Weight, 1)})
	}
	if r.Type == "" && len(r.Hops) == 0 {
		var err error
		if k.link, err = linkOf(r.Via, r.Dev); err != nil {
			return kernelRoute{}, err
		}
	}
	if k.to.Addr().Is4() {
		k.scope = routeScopes[r.Scope]
		if r.Scope == "" && r.Type == "" && !r.Via.IsValid() && len(r.Hops) == 0 {
			k.scope = unix.RT_SCOPE_LINK // as ip(8) does
		}
	}
	return k, nil
}

// route is the way back, for messages.
func (k kernelRoute) route(nameOf func(int) string) vrrp.Route {
	r := vrrp.Route{To: k.to, Via: k.via, Source: k.source, Table: k.table, Metric: k.metric, MTU: k.mtu}
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	for word, kind := range routeKinds {
		if kind == k.kind {
			r.Type = word
		}
	}
	if k.link != 0 {
		r.Dev = nameOf(k.link)
	}
	for _, h := range k.hops {
		hop := vrrp.Hop{Via: h.via, Weight: h.weight}
		if h.link != 0 {
			hop.Dev = nameOf(h.link)
		}
		r.Hops = append(r.Hops, hop)
	}
	return r
}

// is tells whether a route of the kernel is the wanted one.
func (k kernelRoute) is(want kernelRoute) bool {
	link := func(have, want int) bool { return want == 0 || have == want }
	if k.routeKey != want.routeKey || k.kind != want.kind || k.source != want.source || k.mtu != want.mtu ||
		k.to.Addr().Is4() && k.scope != want.scope || len(k.hops) != len(want.hops) {
		return false
	}
	if k.kind != unix.RTN_UNICAST {
		return true // IPv6 shows such a route on lo
	}
	if k.via != want.via || !link(k.link, want.link) {
		return false
	}
	// The kernel may list the next hops in another order.
	order := func(hops []kernelHop) []kernelHop {
		return slices.SortedFunc(slices.Values(hops), func(a, b kernelHop) int {
			return cmp.Or(a.via.Compare(b.via), cmp.Compare(a.weight, b.weight), cmp.Compare(a.link, b.link))
		})
	}
	return slices.EqualFunc(order(k.hops), order(want.hops), func(have, want kernelHop) bool {
		return have.via == want.via && have.weight == want.weight && link(have.link, want.link)
	})
}

// routeStep is one change to the routes.
type routeStep struct {
	verb routeVerb
	// route is what to add, or what to delete as the kernel has it.
	route kernelRoute
}

type routeVerb string

const (
	addRoute     routeVerb = "add"
	replaceRoute routeVerb = "replace" // one of ours with the same key is there
	deleteRoute  routeVerb = "del"
)

// planAcquireRoutes gives the steps after which all wanted routes are there, in their
// order: the address of a next hop may be reachable by an earlier one. have are our own
// routes alone.
func planAcquireRoutes(have, want []kernelRoute) []routeStep {
	var steps []routeStep
	for _, w := range want {
		switch {
		case slices.ContainsFunc(have, func(h kernelRoute) bool { return h.is(w) }):
		case slices.ContainsFunc(have, func(h kernelRoute) bool { return h.routeKey == w.routeKey }):
			steps = append(steps, routeStep{replaceRoute, w})
		default:
			steps = append(steps, routeStep{addRoute, w})
		}
	}
	return steps
}

// planReleaseRoutes gives the steps after which none of our own routes has one of the
// keys, last first.
func planReleaseRoutes(have []kernelRoute, gone []routeKey) []routeStep {
	var steps []routeStep
	for _, h := range slices.Backward(have) {
		if slices.Contains(gone, h.routeKey) {
			steps = append(steps, routeStep{deleteRoute, h})
		}
	}
	return steps
}

// kernelRule is a policy rule of the kernel.
type kernelRule struct {
	vrrp.Rule // Mask and Priority are what the kernel has, never 0 for a default
	ours      bool
}

// is tells whether a rule of the kernel is the wanted one. Without a priority in want,
// any will do.
func (k kernelRule) is(want vrrp.Rule) bool {
	if want.Mark != 0 && want.Mask == 0 {
		want.Mask = 1<<32 - 1
	}
	if want.Priority == 0 {
		want.Priority = k.Priority
	}
	return k.Rule == want
}

// planAcquireRules gives the rules to add. One that somebody else has made serves as
// well as ours.
func planAcquireRules(have []kernelRule, want []vrrp.Rule) []vrrp.Rule {
	var add []vrrp.Rule
	for _, w := range want {
		if !slices.ContainsFunc(have, func(k kernelRule) bool { return k.is(w) }) {
			add = append(add, w)
		}
	}
	return add
}

// planReleaseRules gives the rules to delete: our own that are one of gone and none of
// keep.
func planReleaseRules(have []kernelRule, gone, keep []vrrp.Rule) []vrrp.Rule {
	var del []vrrp.Rule
	for _, k := range have {
		if k.ours && slices.ContainsFunc(gone, k.is) && !slices.ContainsFunc(keep, k.is) {
			del = append(del, k.Rule)
		}
	}
	return del
}
