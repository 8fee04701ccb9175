package vrrp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The routing tables that have a name (linux/rtnetlink.h).
const (
	tableDefault = 253
	tableMain    = 254
	tableLocal   = 255
)

// ParseRoute reads a route in the words of ip-route(8):
//
//	[unicast|blackhole|unreachable|prohibit] PREFIX|default [via ADDR] [dev IF]
//	[src ADDR] [scope global|link|host] [table N|main|local|default] [metric N] [mtu N]
//	[nexthop [via ADDR] [dev IF] [weight N]]...
//
// A default route is of the family of its addresses, or of the given one if it has
// none. An error names the word that is wrong.
func ParseRoute(s string, family Family) (Route, error) {
	var r Route
	w := newWords(s)
	switch w.peek() {
	case "unicast":
		w.next()
	case "blackhole", "unreachable", "prohibit":
		r.Type = w.next()
	}
	to := w.next()
	if to == "" {
		return Route{}, fmt.Errorf("no destination")
	}
	var families familyOf
	if to != "default" {
		p, err := parseNetwork(to)
		if err != nil {
			return Route{}, fmt.Errorf("destination %q: %w", to, err)
		}
		r.To = p
		families.see(to, p.Addr())
	}
	for !w.done() && w.peek() != "nexthop" {
		word := w.next()
		var err error
		switch word {
		case "via":
			r.Via, err = w.addr(&families)
		case "dev", "oif":
			word = "dev"
			r.Dev, err = w.ifname()
		case "src":
			r.Source, err = w.addr(&families)
		case "scope":
			r.Scope, err = w.oneOf("global", "link", "host")
		case "table":
			if r.Table, err = w.table(); r.Table == tableMain {
				r.Table = 0
			}
		case "metric", "priority", "preference":
			word = "metric"
			r.Metric, err = w.number(1, 1<<32-1)
		case "mtu":
			r.MTU, err = w.number(68, 65535)
		default:
			return Route{}, fmt.Errorf("%q is no word of a route", word)
		}
		if err == nil {
			err = w.once(word)
		}
		if err != nil {
			return Route{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	for !w.done() {
		h, err := parseHop(w, &families)
		if err != nil {
			return Route{}, fmt.Errorf("nexthop %d: %w", len(r.Hops)+1, err)
		}
		r.Hops = append(r.Hops, h)
	}
	if families.err != nil {
		return Route{}, families.err
	}
	if families.is != 0 {
		family = families.is
	}
	if to == "default" {
		r.To = anywhere(family)
	}
	if err := r.check(family); err != nil {
		return Route{}, err
	}
	return r, nil
}

func parseHop(w *words, families *familyOf) (Hop, error) {
	var h Hop
	w.next()
	w.seen = nil
	for !w.done() && w.peek() != "nexthop" {
		word := w.next()
		var err error
		switch word {
		case "via":
			h.Via, err = w.addr(families)
		case "dev", "oif":
			word = "dev"
			h.Dev, err = w.ifname()
		case "weight":
			var n uint32
			if n, err = w.number(1, 256); n > 1 {
				h.Weight = int(n)
			}
		default:
			return Hop{}, fmt.Errorf("%q is no word of a next hop", word)
		}
		if err == nil {
			err = w.once(word)
		}
		if err != nil {
			return Hop{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	if !h.Via.IsValid() && h.Dev == "" {
		return Hop{}, fmt.Errorf("neither via nor dev")
	}
	return h, nil
}

// check finds words that are good alone and contradict each other.
func (r Route) check(family Family) error {
	one := r.Via.IsValid() || r.Dev != ""
	switch {
	case len(r.Hops) > 0 && one:
		return fmt.Errorf("nexthop: the route has via or dev as well")
	case r.Type != "" && (one || len(r.Hops) > 0):
		return fmt.Errorf("%s: such a route leads nowhere, it takes neither via, dev nor nexthop", r.Type)
	case r.Scope != "" && family == IPv6:
		return fmt.Errorf("scope: IPv6 routes have none")
	}
	return nil
}

// String is the route as ip-route(8) takes it; [ParseRoute] reads it.
func (r Route) String() string {
	var b strings.Builder
	if r.Type != "" {
		b.WriteString(r.Type + " ")
	}
	tells := r.Via.IsValid() || r.Source.IsValid()
	for _, h := range r.Hops {
		tells = tells || h.Via.IsValid()
	}
	if tells && r.To.Bits() == 0 {
		b.WriteString("default")
	} else {
		b.WriteString(r.To.String())
	}
	writeVia(&b, r.Via, r.Dev)
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %v", r.Source)
	}
	if r.Scope != "" {
		b.WriteString(" scope " + r.Scope)
	}
	if r.Table != 0 {
		b.WriteString(" table " + tableName(r.Table))
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", r.MTU)
	}
	for _, h := range r.Hops {
		b.WriteString(" nexthop")
		writeVia(&b, h.Via, h.Dev)
		if h.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", h.Weight)
		}
	}
	return b.String()
}

func writeVia(b *strings.Builder, via netip.Addr, dev string) {
	if via.IsValid() {
		fmt.Fprintf(b, " via %v", via)
	}
	if dev != "" {
		b.WriteString(" dev " + dev)
	}
}

func tableName(n uint32) string {
	switch n {
	case tableDefault:
		return "default"
	case tableMain:
		return "main"
	case tableLocal:
		return "local"
	}
	return strconv.FormatUint(uint64(n), 10)
}

func anywhere(f Family) netip.Prefix {
	if f == IPv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
