package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

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

func TestStatusTextOfDisagreements(t *testing.T) {
	var b strings.Builder
	err := writeStatus(&b, director.Status{
		Director: "lb-a", At: at, IPVS: director.IPVSStatus{InSync: true},
		VirtualServers: []director.VirtualStatus{{Name: "web", Address: "10.0.0.100:80", Protocol: "tcp", Scheduler: "wrr", Up: 1, RealServers: []director.RealStatus{
			{Name: "web-1", Address: "10.0.0.21:80", Forward: "dr", Status: "up", InTable: true, Weight: 1, Views: []director.ViewStatus{
				{Director: "lb-b", Status: "down", Cause: "connect refused", Since: ago(64 * time.Second)}, {Director: "lb-c", Status: "unknown"},
			}},
			{Name: "web-2", Address: "10.0.0.22:80", Forward: "dr", Status: "down", Cause: "no route to host", Views: []director.ViewStatus{{Director: "lb-b", Status: "up"}}},
		}}},
		Peers: []director.PeerStatus{
			{Name: "lb-b", Address: "10.0.0.12", Alive: true, Since: ago(time.Hour), SameConfig: true, Views: director.ViewsCompared},
			{Name: "lb-c", Address: "10.0.0.13", Alive: true, Since: ago(time.Hour), SameConfig: true, Views: director.ViewsOther},
			{Name: "lb-d", Address: "10.0.0.14", Alive: true, Since: ago(time.Hour), SameConfig: true, Views: director.ViewsUnreadable},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`  web-2        10.0.0.22:80  dr   0       down    -    0       0
  web-1: lb-b SAYS down for 1m4s: connect refused
  web-1: lb-c SAYS nothing, it has no verdict
  web-2: no route to host
  web-2: lb-b SAYS up
`,
		`peer   lb-b 10.0.0.12 alive for 1h0m, version 
       same configuration
peer   lb-c 10.0.0.13 alive for 1h0m, version 
       checks other real servers: its verdicts are not compared
       same configuration
peer   lb-d 10.0.0.14 alive for 1h0m, version 
       its verdicts on real servers cannot be read
       same configuration
`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
	}
}
