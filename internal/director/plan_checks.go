package director

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// checkSteps say what becomes of the checks: "check alive: asks 10.0.0.23:80 too".
func checkSteps(before, after map[healthcheck.Target]healthcheck.Spec) []Step {
	var list []Step
	was, is := byCheck(before), byCheck(after)
	for _, name := range namesOf(was, is) {
		say := func(format string, args ...any) {
			list = append(list, Step{Comment: "check " + name + ": " + fmt.Sprintf(format, args...)})
		}
		switch {
		case len(was[name]) == 0:
			say("new, asks %s", few(is[name]))
			continue
		case len(is[name]) == 0:
			say("ends")
			continue
		}
		if before[was[name][0]] != after[is[name][0]] {
			say("changed")
		}
		if more := without(is[name], was[name]); len(more) > 0 {
			say("asks %s too", few(more))
		}
		if gone := without(was[name], is[name]); len(gone) > 0 {
			say("asks %s no longer", few(gone))
		}
	}
	return list
}

// byCheck are the targets of each check, in the order of their addresses.
func byCheck(targets map[healthcheck.Target]healthcheck.Spec) map[string][]healthcheck.Target {
	lists := make(map[string][]healthcheck.Target)
	for t := range targets {
		lists[t.Check] = append(lists[t.Check], t)
	}
	for _, list := range lists {
		slices.SortFunc(list, func(a, b healthcheck.Target) int {
			return cmp.Or(a.Addr.Compare(b.Addr), a.Path.VIP.Compare(b.Path.VIP), cmp.Compare(a.Path.Mark, b.Path.Mark))
		})
	}
	return lists
}

// few names the first targets and counts the others.
func few(targets []healthcheck.Target) string {
	const most = 3
	var list []string
	for _, t := range targets[:min(most, len(targets))] {
		list = append(list, t.Where())
	}
	if len(targets) > most {
		list = append(list, fmt.Sprintf("%d more", len(targets)-most))
	}
	return strings.Join(list, ", ")
}

// trackSteps say what becomes of the tracks.
func trackSteps(before, after *conf.Config) []Step {
	index := func(cfg *conf.Config) map[string]conf.Track {
		tracks := make(map[string]conf.Track)
		for _, t := range cfg.Tracks {
			tracks[t.Name] = t
		}
		return tracks
	}
	var list []Step
	was, is := index(before), index(after)
	for _, name := range namesOf(was, is) {
		old, had := was[name]
		t, has := is[name]
		text := "changed"
		switch {
		case !had:
			text = "new"
		case !has:
			text = "ends"
		case old == t:
			continue
		}
		list = append(list, Step{Comment: "track " + name + ": " + text})
	}
	return list
}

// namesOf are the keys of both, in their order.
func namesOf[K cmp.Ordered, V any](a, b map[K]V) []K {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

// without returns the elements of a that are not in b, in their order.
func without[T comparable](a, b []T) []T {
	in := make(map[T]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return in[v] })
}
