package realserver

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/internal/netif"
)

// planStart gives the steps after which the machine has what is wanted. ARP is silenced
// before there is an address that it could answer for, and a port for GUE comes when what
// it leads to is there.
func planStart(w wanted, f facts) []Step {
	var steps []Step
	if w.ipv4 {
		for _, p := range params {
			if !p.ok(f.sysctls[p.name]) {
				steps = append(steps, Step{Kind: SetSysctl, Param: p.name, Value: p.want})
			}
		}
	}
	for _, a := range w.direct {
		if p := (place{a, loopback}); !f.hasAddress(p) {
			steps = append(steps, Step{Kind: AddAddress, Device: loopback, Addr: a})
		}
		if a.Is4() && !f.hasRoute(a) {
			steps = append(steps, Step{Kind: AddRoute, Device: loopback, Addr: a})
		}
	}
	for _, t := range w.tunnels {
		now, there := f.tunnels[t.Name]
		if !there {
			steps = append(steps, Step{Kind: AddTunnel, Device: t.Name, Addr: t.Local, end: t.end})
		}
		if t.Local.Is4() && !f.looseAt(t.Name) {
			steps = append(steps, Step{Kind: SetSysctl, Param: rpFilter(t.Name), Value: loose})
		}
		if !now.up {
			steps = append(steps, Step{Kind: SetUp, Device: t.Name})
		}
	}
	for _, p := range w.places {
		if !f.hasAddress(p) {
			steps = append(steps, Step{Kind: AddAddress, Device: p.Device, Addr: p.Addr})
		}
	}
	fou := f.fou
	for _, p := range w.ports {
		if !fou {
			steps = append(steps, Step{Kind: LoadModule, Device: "fou"})
			fou = true
		}
		if !f.hasPort(p) {
			steps = append(steps, Step{Kind: AddPort, Port: p})
		}
	}
	return steps
}

// split parts what is remembered into what is still wanted and what nobody wants any
// more. Without an IPv4 address that is the parameters too.
func split(s state, w wanted) (kept, stale state) {
	kept.Addresses, stale.Addresses = part(s.Addresses, func(a netip.Addr) bool { return slices.Contains(w.direct, a) })
	kept.Routes, stale.Routes = part(s.Routes, func(a netip.Addr) bool { return slices.Contains(w.direct, a) })
	kept.Tunnels, stale.Tunnels = part(s.Tunnels, func(t namedTunnel) bool { return slices.Contains(w.tunnels, t) })
	kept.Places, stale.Places = part(s.Places, func(p place) bool { return slices.Contains(w.places, p) })
	kept.Ports, stale.Ports = part(s.Ports, func(p netif.Port) bool { return slices.Contains(w.ports, p) })
	used := func(name string) bool {
		return slices.ContainsFunc(w.tunnels, func(t namedTunnel) bool { return t.Name == name })
	}
	kept.Raised, stale.Raised = part(s.Raised, used)
	kept.Sysctls, stale.Sysctls = map[string]string{}, map[string]string{}
	for name, before := range s.Sysctls {
		device, isRPFilter := rpFilterDevice(name)
		if isRPFilter && used(device) || !isRPFilter && w.ipv4 {
			kept.Sysctls[name] = before
		} else {
			stale.Sysctls[name] = before
		}
	}
	return kept, stale
}

// part splits a list.
func part[T any](list []T, match func(T) bool) (in, out []T) {
	for _, x := range list {
		if match(x) {
			in = append(in, x)
		} else {
			out = append(out, x)
		}
	}
	return in, out
}

func (s state) empty() bool {
	return len(s.Sysctls)+len(s.Addresses)+len(s.Routes)+len(s.Tunnels)+len(s.Places)+len(s.Ports)+len(s.Raised) == 0
}

// inTheWay tells whether something that is remembered has to go before what is wanted can
// come: a tunnel that the kernel takes for another one.
func (s state) inTheWay(w wanted) bool {
	return slices.ContainsFunc(s.Tunnels, func(old namedTunnel) bool {
		return slices.ContainsFunc(w.tunnels, func(t namedTunnel) bool { return t.same(old.end) })
	})
}

// remember adds to what is remembered how things are that the steps are about to
// change. What is remembered already stays: it is from before an earlier Start.
func remember(s state, f facts, steps []Step) state {
	s = state{
		Sysctls: maps.Clone(s.Sysctls), Addresses: slices.Clone(s.Addresses), Routes: slices.Clone(s.Routes),
		Tunnels: slices.Clone(s.Tunnels), Places: slices.Clone(s.Places), Ports: slices.Clone(s.Ports), Raised: slices.Clone(s.Raised),
	}
	if s.Sysctls == nil {
		s.Sysctls = map[string]string{}
	}
	for _, st := range steps {
		switch st.Kind {
		case SetSysctl:
			_, known := s.Sysctls[st.Param]
			if before, there := f.sysctls[st.Param]; there && !known {
				s.Sysctls[st.Param] = before
			}
		case AddAddress:
			if st.Device == loopback {
				s.Addresses = include(s.Addresses, st.Addr)
			} else {
				s.Places = include(s.Places, place{st.Addr, st.Device})
			}
		case AddRoute:
			s.Routes = include(s.Routes, st.Addr)
		case AddTunnel:
			s.Tunnels = include(s.Tunnels, namedTunnel{st.Device, st.end})
		case SetUp:
			if _, there := f.tunnels[st.Device]; there {
				s.Raised = include(s.Raised, st.Device)
			}
		case AddPort:
			s.Ports = include(s.Ports, st.Port)
		}
	}
	return s
}

func include[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(list, x)
}

// planStop gives the steps that take back what is remembered, in the opposite order
// of planStart. A parameter that somebody else has set meanwhile is left alone.
func planStop(s state, f facts) []Step {
	var steps []Step
	for _, p := range slices.Backward(s.Ports) {
		if f.hasPort(p) {
			steps = append(steps, Step{Kind: DeletePort, Port: p})
		}
	}
	for _, p := range slices.Backward(s.Places) {
		if f.hasAddress(p) {
			steps = append(steps, Step{Kind: DeleteAddress, Device: p.Device, Addr: p.Addr})
		}
	}
	for _, name := range slices.Backward(s.Raised) {
		if f.tunnels[name].up {
			steps = append(steps, Step{Kind: SetDown, Device: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sysctls)) {
		before := s.Sysctls[name]
		if _, ok := rpFilterDevice(name); ok && f.sysctls[name] == loose && before != loose {
			steps = append(steps, Step{Kind: SetSysctl, Param: name, Value: before})
		}
	}
	for _, t := range slices.Backward(s.Tunnels) {
		if f.hasTunnel(t) {
			steps = append(steps, Step{Kind: DeleteTunnel, Device: t.Name})
		}
	}
	for _, a := range slices.Backward(s.Routes) {
		if f.hasRoute(a) {
			steps = append(steps, Step{Kind: DeleteRoute, Device: loopback, Addr: a})
		}
	}
	for _, a := range slices.Backward(s.Addresses) {
		if p := (place{a, loopback}); f.hasAddress(p) {
			steps = append(steps, Step{Kind: DeleteAddress, Device: loopback, Addr: a})
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
