package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

func TestStatusTextOfOverrides(t *testing.T) {
	override := func(kind director.OverrideKind, weight uint32, safe bool) *director.OverrideStatus {
		return &director.OverrideStatus{SafeToStop: safe, Override: director.Override{
			Kind: kind, Weight: weight, By: "root", At: ago(3 * time.Minute), Until: at.Add(2 * time.Hour), Reason: "kernel update",
		}}
	}
	var b strings.Builder
	err := writeStatus(&b, director.Status{
		At: at, IPVS: director.IPVSStatus{InSync: true},
		VirtualServers: []director.VirtualStatus{{Name: "web", Address: "10.0.0.100:80", Protocol: "tcp", Scheduler: "wrr", Up: 4, RealServers: []director.RealStatus{
			{Name: "web-1", Address: "10.0.0.21:80", Forward: "dr", Status: "up", InTable: true, Active: 10, Persistent: 2, ConfiguredWeight: 1, Override: override(director.OverrideDrain, 0, false)},
			{Name: "web-2", Address: "10.0.0.22:80", Forward: "dr", Status: "up", InTable: true, ConfiguredWeight: 1, Override: override(director.OverrideDrain, 0, true)},
			{Name: "web-3", Address: "10.0.0.23:80", Forward: "dr", Status: "up", Weight: 1, ConfiguredWeight: 1, Override: override(director.OverrideDisable, 0, true)},
			{Name: "web-4", Address: "10.0.0.24:80", Forward: "dr", Status: "up", InTable: true, Weight: 5, ConfiguredWeight: 1, Override: override(director.OverrideWeight, 5, false)},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `virtual server web  tcp 10.0.0.100:80 wrr, 4 of 4 up
  REAL SERVER  ADDRESS       FWD  WEIGHT  STATUS  FOR  ACTIVE  INACT
  web-1        10.0.0.21:80  dr   0       up      -    10      0
  web-2        10.0.0.22:80  dr   0       up      -    0       0
  web-3        10.0.0.23:80  dr   -       up      -    0       0
  web-4        10.0.0.24:80  dr   5       up      -    0       0
  web-1: drain by root 3m0s ago, ends in 2h0m (kernel update): connections left: 10 active, 2 to come back
  web-2: drain by root 3m0s ago, ends in 2h0m (kernel update): SAFE TO STOP
  web-3: disable by root 3m0s ago, ends in 2h0m (kernel update): SAFE TO STOP
  web-4: weight 5 (configured 1) by root 3m0s ago, ends in 2h0m (kernel update)
`
	if !strings.Contains(b.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestOverrideCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"drain", "hadirector drain takes one VS/RS, such as web/web-1", exitUsage},
		{"weight web/web-1", "hadirector weight takes a VS/RS and a weight, such as web/web-1 5", exitUsage},
		{"weight web/web-1 heavy", `weight "heavy": want a number from 0 to 2147483647`, exitUsage},
		{"weight web/web-1 2147483648", `weight "2147483648": want a number from 0 to 2147483647`, exitUsage},
		{"disable --everywhere web/web-1", `--everywhere takes a real server's name, not "web/web-1"`, exitUsage},
		{"enable web --for 2h", "unknown flag: --for", exitUsage},
		{"drain web --for soon", `invalid argument "soon"`, exitUsage},
		{"drain web --socket /nonexistent", "no hadirector is running", exitFailed},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var out, errs strings.Builder
			if code := execute(strings.Fields(tt.args), &out, &errs); code != tt.code || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit %d: %s\nwant %d: %s", code, errs.String(), tt.code, tt.want)
			}
		})
	}
}

func TestStatusTextOfLeaving(t *testing.T) {
	var b strings.Builder
	if err := writeStatus(&b, director.Status{At: at, Leaving: []director.LeavingStatus{
		{VirtualServer: "web", RealServer: "web-2", Address: "10.0.0.22:80", Service: "tcp 10.0.0.100:80", Until: at.Add(21 * time.Second), Active: 3, Inactive: 40},
	}}); err != nil {
		t.Fatal(err)
	}
	const want = `
removed from the configuration, until their connections have ended
  REAL SERVER  ADDRESS       OF                 ENDS IN  ACTIVE  INACT
  web/web-2    10.0.0.22:80  tcp 10.0.0.100:80  21s      3       40
`
	if !strings.Contains(b.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
