package realserver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/internal/sysctl"
)

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
func status(virtuals []Virtual, f facts, s state) []Item {
	var items []Item
	w := want(virtuals, f)
	if w.ipv4 {
		for _, p := range params {
			items = append(items, p.item(f.sysctls[p.name]))
		}
	}
	for _, a := range w.direct {
		items = append(items, present(fmt.Sprintf("address %v on %s", host(a), loopback), f.hasAddress(place{a, loopback})))
		if a.Is4() {
			items = append(items, present(fmt.Sprintf("route to %v over %s", host(a), loopback), f.hasRoute(a)))
		}
	}
	for _, t := range w.tunnels {
		items = append(items, f.tunnelItems(t)...)
	}
	for _, p := range w.places {
		items = append(items, present(fmt.Sprintf("address %v on %s", host(p.Addr), p.Device), f.hasAddress(p)))
	}
	for _, p := range w.ports {
		items = append(items, present("port "+portText(p), f.hasPort(p)))
	}
	_, stale := split(s, w)
	items = append(items, w.misplaced(f, stale)...)
	for _, st := range planStop(stale, f) {
		items = append(items, leftover(st, f))
	}
	return items
}

// tunnelItems tell of a tunnel's interface.
func (f facts) tunnelItems(t namedTunnel) []Item {
	now, there := f.tunnels[t.Name]
	i := present(fmt.Sprintf("interface %s, %s", t.Name, t.end), there && now.up)
	if !there {
		return []Item{i}
	}
	if !now.up {
		i.Found = "it is down"
	}
	items := []Item{i}
	if t.Local.Is4() {
		own := f.sysctls[rpFilter(t.Name)]
		i := present(sysctl.Dotted(rpFilter(t.Name))+" = "+loose, f.looseAt(t.Name))
		switch {
		case i.OK:
			i.What = sysctl.Dotted(rpFilter(t.Name)) + " = " + own
		case own == "1":
			i.Found = "it is 1"
		default:
			i.Found = "it is " + own + ", and 1 for all"
		}
		items = append(items, i)
	}
	return items
}

// misplaced are the virtual addresses where they must not be, but for those that Start
// takes away.
func (w wanted) misplaced(f facts, stale state) []Item {
	at := map[netip.Addr][]string{}
	var vips []netip.Addr
	for _, a := range w.direct {
		vips = include(vips, a)
		at[a] = append(at[a], loopback)
	}
	for _, p := range w.places {
		vips = include(vips, p.Addr)
		at[p.Addr] = append(at[p.Addr], p.Device)
	}
	var items []Item
	for _, v := range vips {
		for _, ifname := range slices.Sorted(maps.Keys(f.addresses)) {
			for _, p := range f.addresses[ifname] {
				// On lo it does no harm beside a tunnel: ARP does not tell of it.
				harmless := p == host(v) && (ifname == loopback || slices.Contains(at[v], ifname) || slices.Contains(stale.Places, place{v, ifname}))
				if p.Addr() == v && !harmless {
					items = append(items, Item{What: fmt.Sprintf("address %v on %s", p, ifname), Found: fmt.Sprintf("the virtual address may be on %s as %v alone", strings.Join(at[v], " and "), host(v)), Surplus: true, ByHand: true})
				}
			}
		}
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
		i.What = fmt.Sprintf("route to %v over %s", host(s.Addr), s.Device)
	case DeleteAddress:
		i.What = fmt.Sprintf("address %v on %s", host(s.Addr), s.Device)
	case DeleteTunnel:
		i.What = fmt.Sprintf("interface %s, %s", s.Device, f.tunnels[s.Device].end)
		i.Found = "an earlier start added it, and no virtual address needs it now"
	case SetDown:
		i.What = fmt.Sprintf("interface %s, up", s.Device)
		i.Found = "it was down before an earlier start, and no virtual address needs it now"
	case DeletePort:
		i.What = "port " + portText(s.Port)
		i.Found = "an earlier start added it, and no virtual address needs it now"
	default:
		i.What = sysctl.Dotted(s.Param) + " = " + f.sysctls[s.Param]
		i.Found = "it was " + s.Value + " before an earlier start, and no virtual IPv4 address is left"
		if _, ok := rpFilterDevice(s.Param); ok {
			i.Found = "it was " + s.Value + " before an earlier start, and no virtual address needs it now"
		}
	}
	return i
}
