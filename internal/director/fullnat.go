package director

import (
	"slices"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
)

// addTranslations adds what nftables has to do for the real servers of the configuration
// that are forwarded to by full NAT, and for those that are leaving. A real server that is
// down keeps its own: it takes none until the table has it again.
func (d *Desired) addTranslations(cfg *conf.Config, self string, leaving map[identity]Leaving) {
	named := make(map[identity]bool)
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		if !vs.FullNAT() {
			continue
		}
		for p := range places(vs) {
			if t, ok := vs.Translation(p.of.Key, p.rs, self); ok {
				d.Translations = append(d.Translations, t)
				named[p.identity] = true
			}
		}
	}
	for id, l := range leaving {
		if l.Translation != nil && !named[id] {
			d.Translations = append(d.Translations, *l.Translation)
		}
	}
	slices.SortFunc(d.Translations, ipvs.Translation.Compare)
}

// translate has connections translated as they should be. Told is only what differs from
// what was written last, or all of it if somebody else had changed it.
func (r *reconciler) translate(want []ipvs.Translation) {
	p := &r.next
	wrote, repaired, err := r.translator.Ensure(want)
	if r.translated = err == nil; !r.translated {
		p.Errs = append(p.Errs, err)
		return
	}
	if !wrote {
		return
	}
	ops := translationOps(r.translations, want, repaired)
	r.translations = want
	p.Done = append(p.Done, ops...)
	if repaired {
		p.Drift = append(p.Drift, ops...)
	}
}

// translationOps says what is done to have want, in nft's words as far as they go: what
// differs from what there was, or all of it if somebody else had changed that.
func translationOps(was, want []ipvs.Translation, repaired bool) []string {
	var ops []string
	add := func(verb string, list, without []ipvs.Translation) {
		skip := make(map[ipvs.Translation]bool, len(without))
		for _, t := range without {
			skip[t] = true
		}
		for _, t := range list {
			if !skip[t] {
				ops = append(ops, "nft: "+verb+t.String())
			}
		}
	}
	if repaired {
		add("", want, nil)
	} else {
		add("no ", was, want)
		add("", want, was)
	}
	switch {
	case len(ops) > 0:
		return ops
	case len(want) > 0:
		return []string{"nft: fullnat"}
	}
	return []string{"nft: no fullnat"}
}

// withOld is what is wanted and what was there before, except where both speak of one
// connection: then what is wanted counts.
func withOld(want, old []ipvs.Translation) []ipvs.Translation {
	if slices.Equal(want, old) {
		return want
	}
	type connection struct {
		service ipvs.ServiceKey
		server  ipvs.DestinationKey
	}
	newer := make(map[connection]bool, len(want))
	for _, t := range want {
		newer[connection{t.Service, t.Server}] = true
	}
	all := slices.Clone(want)
	for _, t := range old {
		if !newer[connection{t.Service, t.Server}] {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, ipvs.Translation.Compare)
	return all
}
