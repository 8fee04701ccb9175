package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// disabled tells whether an operator wants a real server nowhere.
func disabled(r director.RealStatus) bool {
	return r.Override != nil && r.Override.Kind == director.OverrideDisable
}

// overrideText is what an operator wants of a real server, since when and for how long,
// and what is left of its connections.
func overrideText(at time.Time, self string, r director.RealStatus) string {
	o := r.Override
	text := o.String()
	if o.Kind == director.OverrideWeight {
		text += fmt.Sprintf(" (configured %d)", r.ConfiguredWeight)
	}
	text += asked(at, o.Override)
	switch {
	case o.SafeToStop:
		return text + ": SAFE TO STOP"
	case r.Weight > 0 && !disabled(r):
		return text
	case len(o.CountedOn) == 0:
		return text + ": no Master is known, who would count its connections"
	case !slices.Contains(o.CountedOn, self):
		return text + ": its connections are counted on " + and(o.CountedOn) + ", the Master"
	case len(o.CountedOn) > 1:
		return text + ": its connections are counted on " + and(o.CountedOn) + "; here: " + remaining(r)
	}
	return text + ": " + remaining(r)
}

// asked is who asked for an override, where, when, until when and why.
func asked(at time.Time, o director.Override) string {
	text := " by " + o.By
	if o.Director != "" {
		text += " on " + o.Director
	}
	text += fmt.Sprintf(" %s ago", age(at, o.At))
	if !o.Until.IsZero() {
		text += fmt.Sprintf(", ends in %s", age(o.Until, at))
	}
	if o.Reason != "" {
		text += fmt.Sprintf(" (%s)", o.Reason)
	}
	return text
}

// remaining says what is left of a real server's connections.
func remaining(r director.RealStatus) string {
	var list []string
	for _, c := range []struct {
		n    uint32
		what string
	}{{r.Active, "active"}, {r.Inactive, "inactive"}, {r.Persistent, "to come back"}} {
		if c.n > 0 {
			list = append(list, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(list) == 0 {
		return "the kernel has not taken it yet"
	}
	return "connections left: " + strings.Join(list, ", ")
}

// writeUnnamed lists the overrides that have no effect here.
func writeUnnamed(b *bytes.Buffer, s director.Status) {
	if len(s.Unnamed) == 0 {
		return
	}
	fmt.Fprintln(b, "\nlive changes without effect here: this configuration does not name the real server")
	for _, u := range s.Unnamed {
		fmt.Fprintf(b, "  %s/%s: %s%s\n", u.VirtualServer, u.RealServer, u.Override, asked(s.At, u.Override))
	}
}

// writeLeaving lists what a reload has removed and the kernel's table still has.
func writeLeaving(b *bytes.Buffer, s director.Status) {
	if len(s.Leaving) == 0 {
		return
	}
	fmt.Fprintln(b, "\nremoved from the configuration, until their connections have ended")
	t := newTable(b, "  REAL SERVER", "ADDRESS", "OF", "ENDS IN", "ACTIVE", "INACT")
	for _, l := range s.Leaving {
		t.row("  "+l.VirtualServer+"/"+l.RealServer, l.Address, l.Service, age(l.Until, s.At), l.Active, l.Inactive)
	}
	t.flush()
}
