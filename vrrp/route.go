package vrrp

import (
	"net/netip"
	"slices"
)

// Route is a route that a Master has, in the words of ip-route(8).
type Route struct {
	Type   string       // "" is unicast; or blackhole, unreachable, prohibit
	To     netip.Prefix // the default route has length 0
	Via    netip.Addr
	Dev    string // empty: the virtual router's interface, unless Via or Hops tell
	Source netip.Addr
	Scope  string // "", global, link or host
	Table  uint32 // 0: main
	Metric uint32
	MTU    uint32
	Hops   []Hop // several next hops instead of Via and Dev
}

// Hop is one next hop of a Route.
type Hop struct {
	Via    netip.Addr
	Dev    string
	Weight int // 1 to 256; 0: 1
}

// Equal tells whether two Routes are the same value.
func (r Route) Equal(s Route) bool {
	return r.Type == s.Type && r.To == s.To && r.Via == s.Via && r.Dev == s.Dev &&
		r.Source == s.Source && r.Scope == s.Scope && r.Table == s.Table &&
		r.Metric == s.Metric && r.MTU == s.MTU && slices.Equal(r.Hops, s.Hops)
}

// Rule is a policy rule that a Master has, in the words of ip-rule(8).
type Rule struct {
	Family   Family
	Not      bool
	From, To netip.Prefix // invalid: all
	In, Out  string       // interfaces
	Mark     uint32
	Mask     uint32 // 0: all bits, if Mark is not 0
	Table    uint32
	Priority uint32 // 0: the kernel chooses
	Action   string // "" is the lookup of Table; or blackhole, unreachable, prohibit
}
