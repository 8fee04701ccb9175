package director

import (
	"log/slog"
	"maps"
	"slices"
)

// splitNews says what has begun and ended between the directors, and tells the virtual
// routers whether to hold.
func (d *Director) splitNews(n splitNews) {
	for _, name := range slices.Sorted(maps.Keys(n.changes)) {
		if _, ok := virtualRouter(d.force.cfg, name); !ok {
			continue // a reload has taken it away
		}
		for _, c := range n.changes[name] {
			d.logSplit(name, c)
		}
	}
	if !maps.Equal(n.hold, d.hold) {
		d.hold = n.hold
		if d.instancesAt == 0 {
			d.applyInstances()
		}
	}
}

// logSplit says the beginning or the end of one problem once.
func (d *Director) logSplit(instance string, c splitChange) {
	vr, _ := virtualRouter(d.force.cfg, instance)
	attrs := []any{"virtual_router", instance, "interface", vr.Interface, "vrid", vr.VRID}
	said := []struct {
		begun, over   EventKind
		begins, overs string
	}{
		advertsBlocked:  {EventAdvertsBlocked, EventAdvertsArrive, "advertisements are blocked", "advertisements are no longer blocked"},
		splitBrain:      {EventSplitBrain, EventSplitHealed, "two directors are master", "one director is master again"},
		equalPriorities: {EventEqualPriorities, EventPrioritiesDiffer, "directors have the same priority", "directors have different priorities again"},
	}[c.kind]
	level, msg, kind := slog.LevelWarn, said.begins, said.begun
	if c.over {
		level, msg, kind = slog.LevelInfo, said.overs, said.over
	}
	d.log(level, msg, append(attrs, "reason", c.text)...)
	d.record(Event{Kind: kind, Object: instance, Text: c.text})
}
