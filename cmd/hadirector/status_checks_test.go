package main

import (
	"bytes"
	"testing"

	"github.com/hadirector/hadirector/internal/director"
)

func TestWriteChecks(t *testing.T) {
	up := director.CheckStatus{Name: "alive", Status: "up"}
	for _, tt := range []struct {
		name string
		r    director.RealStatus
		want string
	}{
		{"one that passes", director.RealStatus{Status: "up", Checks: []director.CheckStatus{up}}, ""},
		{"one that fails", director.RealStatus{Status: "down", Cause: "connect refused", Checks: []director.CheckStatus{{Name: "alive", Status: "down", Cause: "connect refused"}}},
			"  web-1: connect refused\n"},
		{"several that pass", director.RealStatus{Status: "up", Checks: []director.CheckStatus{up, up}}, ""},
		{"one of several that fails", director.RealStatus{Status: "down", Cause: "check load: connect refused", Checks: []director.CheckStatus{up, {Name: "load", Status: "down", Cause: "connect refused"}}},
			"  web-1: checks alive up; load down: connect refused\n"},
		{"a weight", director.RealStatus{Status: "up", Weight: 5, ConfiguredWeight: 10, WeightBy: "load", Checks: []director.CheckStatus{up, {Name: "load", Status: "up", Value: "50%"}}},
			"  web-1: weight 5, configured 10: check load says 50%\n"},
		{"a warning", director.RealStatus{Status: "up", Checks: []director.CheckStatus{up, {Name: "page", Status: "up", Warning: "certificate expires 2026-12-01"}}},
			"  web-1: check page warns: certificate expires 2026-12-01\n"},
		{"slow start", director.RealStatus{Status: "up", Weight: 4, ConfiguredWeight: 10, SlowStart: 40}, "  web-1: weight 4, configured 10: slow start, 40 %\n"},
		{"backup", director.RealStatus{Status: "up", Backup: true}, "  web-1: backup\n"},
		{"held by a panic", director.RealStatus{Status: "down", Cause: "connect refused", Held: true}, "  web-1: connect refused\n  web-1: stays in all the same (panic_threshold)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Name = "web-1"
			var b bytes.Buffer
			writeChecks(&b, tt.r)
			if b.String() != tt.want {
				t.Errorf("got\n%swant\n%s", b.String(), tt.want)
			}
		})
	}
}
