package conf

import (
	"fmt"

	"github.com/hadirector/hadirector/vrrp"
)

// routing reads the routes and rules that a Master has. What is not of a family by its
// own words is of the virtual addresses'.
func (p *parser) routing(t *node, vr VirtualRouter) ([]vrrp.Route, []vrrp.Rule) {
	of := vrrp.IPv4
	if len(vr.VirtualAddresses) > 0 {
		of = vr.family()
	}
	return texts(p, t.kid("virtual_routes"), "route", `["192.0.2.0/24 via 10.0.0.1"]`,
			func(s string) (vrrp.Route, error) { return vrrp.ParseRoute(s, of) }),
		texts(p, t.kid("virtual_rules"), "rule", `["from 10.0.0.100 lookup 100"]`,
			func(s string) (vrrp.Rule, error) { return vrrp.ParseRule(s, of) })
}

// texts reads an array of what the parser given understands, each of them once.
func texts[T fmt.Stringer](p *parser, n *node, what, example string, parse func(string) (T, error)) []T {
	if n == nil || !p.array(n, "an array of "+what+"s, such as "+example) {
		return nil
	}
	var all []T
	first := map[string]int{}
	for _, e := range n.elems {
		s, ok := read[string](p, e, "a "+what+", a string")
		if !ok {
			continue
		}
		v, err := parse(s)
		if err != nil {
			p.errorf(e, "%q is not a %s: %v", shorten(s), what, err)
			continue
		}
		if line, ok := first[v.String()]; ok {
			p.errorf(e, "%q is there already (line %d)", shorten(v.String()), line)
			continue
		}
		first[v.String()] = p.line(e)
		all = append(all, v)
	}
	return all
}

// routingContradictions reports routes and rules that two virtual routers have: when one
// of these ceases to be Master, it takes away the other's.
func (p *parser) routingContradictions(c *Config) {
	owner := map[string]string{}
	check := func(vr VirtualRouter, key, identity string, i int) {
		n := p.root.at("vrrp", vr.Name, key)
		if other, ok := owner[identity]; ok && other != vr.Name && i < len(n.elems) {
			p.errorf(n.elems[i], "%s has this one too: when one of them is no longer Master, it takes away the other's", other)
		}
		owner[identity] = vr.Name
	}
	for _, vr := range c.VirtualRouters {
		for i, r := range vr.Routes {
			// What the kernel tells routes apart by.
			check(vr, "virtual_routes", fmt.Sprint("route ", r.To, r.Table, r.Metric), i)
		}
		for i, r := range vr.Rules {
			check(vr, "virtual_rules", "rule "+r.String(), i)
		}
	}
}
