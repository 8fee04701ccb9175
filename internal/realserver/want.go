package realserver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

// wanted is what a real server for some virtual addresses has.
type wanted struct {
	ipv4    bool          // there is an IPv4 address among them
	direct  []netip.Addr  // of direct routing
	tunnels []namedTunnel // in the order of their first addresses
	places  []place       // the addresses at the tunnels
	ports   []netif.Port
}

// want is what a real server for the virtual addresses has on a machine that looks so. A
// tunnel whose interface is there keeps its name, whoever has given it.
func want(virtuals []Virtual, f facts) wanted {
	var w wanted
	for _, v := range virtuals {
		w.ipv4 = w.ipv4 || v.Addr.Is4()
		if v.Forward != ipvs.ForwardTunnel {
			w.direct = append(w.direct, v.Addr)
			continue
		}
		p := place{v.Addr, w.nameOf(v.Tunnel.end(), f)}
		w.places = include(w.places, p)
		if v.Tunnel.Type == ipvs.TunnelGUE {
			w.ports = include(w.ports, netif.Port{Number: v.Tunnel.Port, IPv6: v.Addr.Is6()})
		}
	}
	return w
}

// nameOf is the name of the tunnel's interface, which it includes among the wanted ones.
func (w *wanted) nameOf(e end, f facts) string {
	for _, t := range w.tunnels {
		if t.end == e {
			return t.Name
		}
	}
	name := ""
	for _, other := range slices.Sorted(maps.Keys(f.tunnels)) {
		if f.tunnels[other].end == e {
			name = other
			break
		}
	}
	for n := 1; name == ""; n++ {
		free := newName(e.Kind, n)
		_, there := f.tunnels[free]
		if !there && !slices.ContainsFunc(w.tunnels, func(t namedTunnel) bool { return t.Name == free }) {
			name = free
		}
	}
	w.tunnels = append(w.tunnels, namedTunnel{name, e})
	return name
}

// newName is the name of the nth interface of a kind: "ha-ipip", "ha-ipip-2".
func newName(kind string, n int) string {
	if n == 1 {
		return "ha-" + kind
	}
	return "ha-" + kind + "-" + strconv.Itoa(n)
}

// check looks for what stands in the way of the tunnels and is not ours to take away.
func (w wanted) check(f facts, stale state) error {
	for _, t := range w.tunnels {
		if !slices.ContainsFunc(slices.Collect(maps.Values(f.addresses)), func(list []netip.Prefix) bool {
			return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr() == t.Local })
		}) {
			return fmt.Errorf("the %s tunnel cannot end at %v: it is no address of this machine", t.Kind, t.Local)
		}
		for _, name := range slices.Sorted(maps.Keys(f.tunnels)) {
			other := namedTunnel{name, f.tunnels[name].end}
			if other.same(t.end) && other.end != t.end && !slices.Contains(stale.Tunnels, other) {
				return fmt.Errorf("the interface %s, %s, which was not made here, is in the way of %s", name, other.end, t.end)
			}
		}
	}
	return nil
}

// state is what Start has changed, and how it was before.
type state struct {
	// Sysctls are the former values of the parameters that Start has set. Those of
	// tunnels that Start has added go with them.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Addresses and Routes are those that Start has added to the loopback interface.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Routes    []netip.Addr `json:"routes,omitempty"`
	// Tunnels, their addresses and Ports are those that Start has added; Raised are the
	// tunnels that were there and down.
	Tunnels []namedTunnel `json:"tunnels,omitempty"`
	Places  []place       `json:"tunnel_addresses,omitempty"`
	Ports   []netif.Port  `json:"ports,omitempty"`
	Raised  []string      `json:"raised,omitempty"`
}
