package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

func TestStatusTextOfOverrides(t *testing.T) {
	override := func(kind director.OverrideKind, weight uint32, safe bool) *director.OverrideStatus {
		return &director.OverrideStatus{SafeToStop: safe, CountedOn: []string{"lb-a"}, Override: director.Override{
			Kind: kind, Weight: weight, By: "root", Director: "lb-b", At: ago(3 * time.Minute), Until: at.Add(2 * time.Hour), Reason: "kernel update",
		}}
	}
	var b strings.Builder
	elsewhere, nowhere := override(director.OverrideDrain, 0, false), override(director.OverrideDrain, 0, false)
	elsewhere.CountedOn, nowhere.CountedOn = []string{"lb-b"}, nil
	err := writeStatus(&b, director.Status{
		Director: "lb-a", At: at, IPVS: director.IPVSStatus{InSync: true},
		VirtualServers: []director.VirtualStatus{{Name: "web", Address: "10.0.0.100:80", Protocol: "tcp", Scheduler: "wrr", Up: 6, RealServers: []director.RealStatus{
			{Name: "web-1", Address: "10.0.0.21:80", Forward: "dr", Status: "up", InTable: true, Active: 10, Persistent: 2, ConfiguredWeight: 1, Override: override(director.OverrideDrain, 0, false)},
			{Name: "web-2", Address: "10.0.0.22:80", Forward: "dr", Status: "up", InTable: true, ConfiguredWeight: 1, Override: override(director.OverrideDrain, 0, true)},
			{Name: "web-3", Address: "10.0.0.23:80", Forward: "dr", Status: "up", Weight: 1, ConfiguredWeight: 1, Override: override(director.OverrideDisable, 0, true)},
			{Name: "web-4", Address: "10.0.0.24:80", Forward: "dr", Status: "up", InTable: true, Weight: 5, ConfiguredWeight: 1, Override: override(director.OverrideWeight, 5, false)},
			{Name: "web-5", Address: "10.0.0.25:80", Forward: "dr", Status: "up", InTable: true, ConfiguredWeight: 1, Active: 3, Override: elsewhere},
			{Name: "web-6", Address: "10.0.0.26:80", Forward: "dr", Status: "up", InTable: true, ConfiguredWeight: 1, Override: nowhere},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `virtual server web  tcp 10.0.0.100:80 wrr, 6 of 6 up
  REAL SERVER  ADDRESS       FWD  WEIGHT  STATUS  FOR  ACTIVE  INACT
  web-1        10.0.0.21:80  dr   0       up      -    10      0
  web-2        10.0.0.22:80  dr   0       up      -    0       0
  web-3        10.0.0.23:80  dr   -       up      -    0       0
  web-4        10.0.0.24:80  dr   5       up      -    0       0
  web-5        10.0.0.25:80  dr   0       up      -    3       0
  web-6        10.0.0.26:80  dr   0       up      -    0       0
  web-1: drain by root on lb-b 3m0s ago, ends in 2h0m (kernel update): connections left: 10 active, 2 to come back
  web-2: drain by root on lb-b 3m0s ago, ends in 2h0m (kernel update): SAFE TO STOP
  web-3: disable by root on lb-b 3m0s ago, ends in 2h0m (kernel update): SAFE TO STOP
  web-4: weight 5 (configured 1) by root on lb-b 3m0s ago, ends in 2h0m (kernel update)
  web-5: drain by root on lb-b 3m0s ago, ends in 2h0m (kernel update): its connections are counted on lb-b, the Master
  web-6: drain by root on lb-b 3m0s ago, ends in 2h0m (kernel update): no Master is known, who would count its connections
`
	if !strings.Contains(b.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestStatusTextOfLiveChangesElsewhere(t *testing.T) {
	var b strings.Builder
	if err := writeStatus(&b, director.Status{
		At: at,
		Unnamed: []director.UnnamedStatus{{VirtualServer: "web", RealServer: "web-9", Override: director.Override{
			Kind: director.OverrideWeight, Weight: 3, By: "root", Director: "lb-b", At: ago(time.Minute)}}},
		Peers: []director.PeerStatus{
			{Name: "lb-b", Address: "10.0.0.12", Alive: true, Since: ago(time.Hour), Version: "v1", SameConfig: true, LiveChanges: director.LiveChangesSame},
			{Name: "lb-c", Address: "10.0.0.13", Alive: true, Since: ago(time.Hour), Version: "v1", SameConfig: true, LiveChanges: director.LiveChangesOnTheWay},
			{Name: "lb-d", Address: "10.0.0.14", Alive: true, Since: ago(time.Hour), Version: "v0", SameConfig: true, LiveChanges: director.LiveChangesNotShared},
		},
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`
live changes without effect here: this configuration does not name the real server
  web/web-9: weight 3 by root on lb-b 1m0s ago
`, `
peer   lb-b 10.0.0.12 alive for 1h0m, version v1
       same configuration
peer   lb-c 10.0.0.13 alive for 1h0m, version v1
       live changes are on their way
       same configuration
peer   lb-d 10.0.0.14 alive for 1h0m, version v0
       DOES NOT SHARE LIVE CHANGES: make them there too
       same configuration
`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
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
