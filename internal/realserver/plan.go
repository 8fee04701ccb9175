package realserver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/internal/sysctl"
)

// device is where the virtual addresses are.
const device = "lo"

// Kind is what a [Step] does.
type Kind uint8

// The kinds of steps.
const (
	SetSysctl Kind = iota
	AddAddress
	AddRoute
	DeleteRoute
	DeleteAddress
)

// Step is one change to the machine.
type Step struct {
	Kind Kind
	// Addr is the virtual address of all kinds but SetSysctl.
	Addr netip.Addr
	// Param, in the form of package sysctl, and Value are those of SetSysctl.
	Param, Value string
}

// String is the step as a command line.
func (s Step) String() string {
	switch s.Kind {
	case AddAddress:
		return fmt.Sprintf("ip addr add %v dev %s", host(s.Addr), device)
	case DeleteAddress:
		return fmt.Sprintf("ip addr del %v dev %s", host(s.Addr), device)
	case AddRoute:
		return fmt.Sprintf("ip route add %v dev %s", host(s.Addr), device)
	case DeleteRoute:
		return fmt.Sprintf("ip route del %v dev %s", host(s.Addr), device)
	}
	return fmt.Sprintf("sysctl -w %s=%s", sysctl.Dotted(s.Param), s.Value)
}

// host is the address with its full prefix length. With a shorter one on the
// loopback interface the whole subnet would be local.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// param is a kernel parameter that direct routing needs. The kernel takes the
// greater of the values for "all" and for the interface that a packet comes in on,
// so "all" decides; "lo" is what the classic scripts set as well.
type param struct {
	name string
	want string
	// also is a value that serves as well and is left alone.
	also string
}

// params are in the order in which they are set.
var params = []param{
	// 1: answer ARP only for addresses of the interface that it came in on.
	// 2 also wants the sender in the same subnet.
	{"net/ipv4/conf/all/arp_ignore", "1", "2"},
	{"net/ipv4/conf/lo/arp_ignore", "1", "2"},
	// 2: never name a virtual address as the sender of an ARP request, from which
	// the neighbours would learn it.
	{"net/ipv4/conf/all/arp_announce", "2", "2"},
	{"net/ipv4/conf/lo/arp_announce", "2", "2"},
}

// ok tells whether a value serves.
func (p param) ok(value string) bool { return value == p.want || value == p.also }

// facts are what the machine looks like.
type facts struct {
	// addresses are all addresses, by interface.
	addresses map[string][]netip.Prefix
	// routes are the destinations of the host routes over the loopback interface.
	routes []netip.Addr
	// sysctls are the values of params.
	sysctls map[string]string
}

func (f facts) hasAddress(a netip.Addr) bool { return slices.Contains(f.addresses[device], host(a)) }
func (f facts) hasRoute(a netip.Addr) bool   { return slices.Contains(f.routes, a) }

// state is what Start has changed, and how it was before.
type state struct {
	// Sysctls are the former values of the parameters that Start has set.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Addresses and Routes are those that Start has added.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Routes    []netip.Addr `json:"routes,omitempty"`
}

// planStart gives the steps after which the machine serves the virtual addresses.
// ARP is silenced before there is an address that it could answer for.
func planStart(vips []netip.Addr, f facts) []Step {
	var steps []Step
	if slices.ContainsFunc(vips, netip.Addr.Is4) {
		for _, p := range params {
			if !p.ok(f.sysctls[p.name]) {
				steps = append(steps, Step{Kind: SetSysctl, Param: p.name, Value: p.want})
			}
		}
	}
	for _, v := range vips {
		if !f.hasAddress(v) {
			steps = append(steps, Step{Kind: AddAddress, Addr: v})
		}
		if v.Is4() && !f.hasRoute(v) {
			steps = append(steps, Step{Kind: AddRoute, Addr: v})
		}
	}
	return steps
}

// split parts what is remembered into what the virtual addresses still need and
// what nobody needs any more. Without an IPv4 one among them that is the parameters
// too.
func split(s state, vips []netip.Addr) (kept, stale state) {
	wanted := func(a netip.Addr) bool { return slices.Contains(vips, a) }
	unwanted := func(a netip.Addr) bool { return !wanted(a) }
	kept.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), unwanted)
	kept.Routes = slices.DeleteFunc(slices.Clone(s.Routes), unwanted)
	stale.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), wanted)
	stale.Routes = slices.DeleteFunc(slices.Clone(s.Routes), wanted)
	if slices.ContainsFunc(vips, netip.Addr.Is4) {
		kept.Sysctls = s.Sysctls
	} else {
		stale.Sysctls = s.Sysctls
	}
	return kept, stale
}

func (s state) empty() bool { return len(s.Sysctls)+len(s.Addresses)+len(s.Routes) == 0 }

// remember adds to what is remembered how things are that the steps are about to
// change. What is remembered already stays: it is from before an earlier Start.
func remember(s state, f facts, steps []Step) state {
	s = state{Sysctls: maps.Clone(s.Sysctls), Addresses: slices.Clone(s.Addresses), Routes: slices.Clone(s.Routes)}
	if s.Sysctls == nil {
		s.Sysctls = map[string]string{}
	}
	for _, st := range steps {
		switch st.Kind {
		case SetSysctl:
			if _, ok := s.Sysctls[st.Param]; !ok {
				s.Sysctls[st.Param] = f.sysctls[st.Param]
			}
		case AddAddress:
			s.Addresses = include(s.Addresses, st.Addr)
		case AddRoute:
			s.Routes = include(s.Routes, st.Addr)
		}
	}
	return s
}

func include(as []netip.Addr, a netip.Addr) []netip.Addr {
	if slices.Contains(as, a) {
		return as
	}
	return append(as, a)
}

// planStop gives the steps that take back what is remembered, in the opposite order
// of planStart. A parameter that somebody else has set meanwhile is left alone.
func planStop(s state, f facts) []Step {
	var steps []Step
	for _, a := range slices.Backward(s.Routes) {
		if f.hasRoute(a) {
			steps = append(steps, Step{Kind: DeleteRoute, Addr: a})
		}
	}
	for _, a := range slices.Backward(s.Addresses) {
		if f.hasAddress(a) {
			steps = append(steps, Step{Kind: DeleteAddress, Addr: a})
		}
	}
	for _, p := range slices.Backward(params) {
		before, ok := s.Sysctls[p.name]
		if now := f.sysctls[p.name]; ok && now == p.want && now != before {
			steps = append(steps, Step{Kind: SetSysctl, Param: p.name, Value: before})
		}
	}
	return steps
}

// Item is one thing that a real server needs, and whether it is so, or one that it
// must not have.
type Item struct {
	// What is the thing in an operator's words.
	What string
	OK   bool
	// Found says what is there instead, or why it must go, when OK is false, and may
	// add something when it is true.
	Found string
	// Surplus says that the thing is there and must go.
	Surplus bool
	// ByHand says that Start does not take away what is surplus, because it was not
	// Start that put it there.
	ByHand bool
}

// String is the item as a line for the operator.
func (i Item) String() string {
	switch {
	case i.OK && i.Found == "":
		return "ok       " + i.What
	case i.OK:
		return "ok       " + i.What + " (" + i.Found + ")"
	case i.Surplus:
		return "SURPLUS  " + i.What + " (" + i.Found + ")"
	}
	return "MISSING  " + i.What + " (" + i.Found + ")"
}

// status looks at everything that Start would put in place or take back, and for
// what would still make the machine take part wrongly: a virtual address on another
// interface, or with a shorter prefix, is answered for by ARP.
func status(vips []netip.Addr, f facts, s state) []Item {
	var items []Item
	if slices.ContainsFunc(vips, netip.Addr.Is4) {
		for _, p := range params {
			items = append(items, p.item(f.sysctls[p.name]))
		}
	}
	for _, v := range vips {
		items = append(items, present(fmt.Sprintf("address %v on %s", host(v), device), f.hasAddress(v)))
		if v.Is4() {
			items = append(items, present(fmt.Sprintf("route to %v over %s", host(v), device), f.hasRoute(v)))
		}
		for _, ifname := range slices.Sorted(maps.Keys(f.addresses)) {
			for _, p := range f.addresses[ifname] {
				if p.Addr() == v && !(ifname == device && p == host(v)) {
					items = append(items, Item{What: fmt.Sprintf("address %v on %s", p, ifname), Found: fmt.Sprintf("the virtual address may be on %s as %v alone", device, host(v)), Surplus: true, ByHand: true})
				}
			}
		}
	}
	_, stale := split(s, vips)
	for _, st := range planStop(stale, f) {
		items = append(items, leftover(st, f))
	}
	return items
}

// item tells of the parameter with the value that it has now.
func (p param) item(now string) Item {
	i := Item{What: sysctl.Dotted(p.name) + " = " + p.want, OK: p.ok(now), Found: "it is " + now}
	switch {
	case now == p.want:
		i.Found = ""
	case i.OK:
		i.What, i.Found = sysctl.Dotted(p.name)+" = "+now, "stricter than the "+p.want+" that is needed"
	}
	return i
}

func present(what string, ok bool) Item {
	if ok {
		return Item{What: what, OK: true}
	}
	return Item{What: what, Found: "it is not there"}
}

// leftover tells of something that the step takes back.
func leftover(s Step, f facts) Item {
	i := Item{Found: "an earlier start added it, and it is no virtual address now", Surplus: true}
	switch s.Kind {
	case DeleteRoute:
		i.What = fmt.Sprintf("route to %v over %s", host(s.Addr), device)
	case DeleteAddress:
		i.What = fmt.Sprintf("address %v on %s", host(s.Addr), device)
	default:
		i.What = sysctl.Dotted(s.Param) + " = " + f.sysctls[s.Param]
		i.Found = "it was " + s.Value + " before an earlier start, and no virtual IPv4 address is left"
	}
	return i
}
