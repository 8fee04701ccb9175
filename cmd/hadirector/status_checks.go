package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// writeChecks says what the checks of a real server have found, where it is not simply up.
func writeChecks(b *bytes.Buffer, r director.RealStatus) {
	switch {
	case len(r.Checks) > 1 && r.Status != "up":
		list := make([]string, len(r.Checks))
		for i, c := range r.Checks {
			list[i] = c.Name + " " + c.Status
			if c.Cause != "" {
				list[i] += ": " + c.Cause
			}
		}
		fmt.Fprintf(b, "  %s: checks %s\n", r.Name, strings.Join(list, "; "))
	case r.Cause != "":
		fmt.Fprintf(b, "  %s: %s\n", r.Name, r.Cause)
	}
	switch {
	case r.Held:
		fmt.Fprintf(b, "  %s: stays in all the same (panic_threshold)\n", r.Name)
	case r.Backup:
		fmt.Fprintf(b, "  %s: backup\n", r.Name)
	}
	if r.SlowStart > 0 && r.Override == nil {
		fmt.Fprintf(b, "  %s: weight %d, configured %d: slow start, %d %%\n", r.Name, r.Weight, r.ConfiguredWeight, r.SlowStart)
	}
	for _, c := range r.Checks {
		if c.Warning != "" {
			fmt.Fprintf(b, "  %s: check %s warns: %s\n", r.Name, c.Name, c.Warning)
		}
		if c.Name == r.WeightBy {
			fmt.Fprintf(b, "  %s: weight %d, configured %d: check %s says %s\n", r.Name, r.Weight, r.ConfiguredWeight, c.Name, c.Value)
		}
	}
}

// writeViews says which other directors see a real server otherwise.
func writeViews(b *bytes.Buffer, at time.Time, r director.RealStatus) {
	for _, v := range r.Views {
		verdict := v.Status
		if v.Status == "unknown" {
			verdict = "nothing, it has no verdict"
		}
		if !v.Since.IsZero() {
			verdict += " for " + age(at, v.Since)
		}
		fmt.Fprintf(b, "  %s: %s SAYS %s%s\n", r.Name, v.Director, verdict, because(v.Cause))
	}
}
