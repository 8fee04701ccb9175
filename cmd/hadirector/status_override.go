package main

import (
	"bytes"
	"fmt"
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
func overrideText(at time.Time, r director.RealStatus) string {
	o := r.Override
	text := o.String()
	if o.Kind == director.OverrideWeight {
		text += fmt.Sprintf(" (configured %d)", r.ConfiguredWeight)
	}
	text += fmt.Sprintf(" by %s %s ago", o.By, age(at, o.At))
	if !o.Until.IsZero() {
		text += fmt.Sprintf(", ends in %s", age(o.Until, at))
	}
	if o.Reason != "" {
		text += fmt.Sprintf(" (%s)", o.Reason)
	}
	switch {
	case o.SafeToStop:
		return text + ": SAFE TO STOP"
	case r.Weight > 0 && !disabled(r):
		return text
	}
	return text + ": " + remaining(r)
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
