package conf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/vrrp"
)

// byDirector hands over the entries of a table whose keys are directors' names, such
// as priority and source. values are those of an example, more says where else to look.
func (p *parser) byDirector(n *node, ds []Director, values [2]string, more string, entry func(name string, k *node)) {
	if n == nil {
		return
	}
	if n.array {
		p.keyErrorf(n, "an array of tables has no place here: write %s once", n.path())
		return
	}
	names := make([]string, len(ds))
	for i, d := range ds {
		names[i] = d.Name
	}
	if _, ok := read[map[string]any](p, n, "a table of directors, such as "+entries(ds, values)+more); !ok {
		return
	}
	for _, k := range n.kids {
		switch {
		case slices.Contains(names, k.name):
			entry(k.name, k)
		case p.root.kid("director").kid(k.name) != nil:
			// Refused where it is defined.
		default:
			p.keyErrorf(k, "no director is named %q%s", shorten(k.name), didYouMean(p.suggest(k.name, names)))
		}
	}
}

// priorities reads the priorities of one instance, and takes those that are not
// there from the directors.
func (p *parser) priorities(n *node, ds []Director) map[string]vrrp.Priority {
	all := make(map[string]vrrp.Priority, len(ds))
	for _, d := range ds {
		all[d.Name] = d.Priority
	}
	p.byDirector(n, ds, [2]string{"150", "100"}, "; one priority for every instance stands in [director.NAME]", func(name string, k *node) {
		all[name] = p.priority(k, all[name])
	})
	return all
}

// sources reads the addresses that directors advertise from. Only those that are given
// are in the result. An instance has an interface, so link-local is well here.
func (p *parser) sources(n *node, ds []Director) map[string]netip.Addr {
	var all map[string]netip.Addr
	p.byDirector(n, ds, [2]string{`"10.0.0.11"`, `"10.0.0.12"`}, "", func(name string, k *node) {
		if a := p.addressOnLink(k); a.IsValid() {
			if all == nil {
				all = map[string]netip.Addr{}
			}
			all[name] = a
		}
	})
	return all
}

// entries writes an example with two values, for the first directors there are.
func entries(ds []Director, values [2]string) string {
	names := []string{"lb-a", "lb-b"}
	if len(ds) > 0 {
		names = names[:0]
		for _, d := range ds[:min(len(ds), len(values))] {
			names = append(names, d.Name)
		}
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = bareOrQuoted(name) + " = " + values[i]
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}
