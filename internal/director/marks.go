package director

import (
	"slices"

	"github.com/hadirector/hadirector/ipvs"
)

// mark has packets marked as they should be. The operations are told in nft's words, as
// far as they go.
func (r *reconciler) mark(want []ipvs.Marking) {
	p := &r.next
	wrote, repaired, err := r.marker.Ensure(want)
	if r.marked = err == nil; !r.marked {
		p.Errs = append(p.Errs, err)
		return
	}
	if !wrote {
		return
	}
	r.marks = want
	ops := markOps(want)
	p.Done = append(p.Done, ops...)
	if repaired {
		p.Drift = append(p.Drift, ops...)
	}
}

// markOps are what writing the marks is called.
func markOps(want []ipvs.Marking) []string {
	if len(want) == 0 {
		return []string{"nft: no firewall marks"}
	}
	var ops []string
	for _, m := range want {
		ops = append(ops, "nft: "+m.String())
	}
	return ops
}

// union is a with what b has beside it.
func union(a, b []ipvs.Marking) []ipvs.Marking {
	all := slices.Clone(a)
	for _, m := range b {
		if !slices.Contains(a, m) {
			all = append(all, m)
		}
	}
	return all
}
