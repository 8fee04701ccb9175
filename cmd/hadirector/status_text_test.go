package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

var at = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return at.Add(-d) }

func TestStatusText(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status director.Status
		want   string
	}{
		{"a master with everything right", director.Status{
			Director: "lb-a", Version: "v1.2.3", At: at, Started: ago(50 * time.Hour), Ready: true,
			Config: director.ConfigStatus{Hash: "bae15c3f8e2b", LastReload: director.ReloadStatus{OK: true}},
			VirtualRouters: []director.RouterStatus{{
				Name: "web", State: "master", Since: ago(90 * time.Minute), Priority: 150, Master: "lb-a", Interface: "eth0", VRID: 51,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
			}},
			VirtualServers: []director.VirtualStatus{{
				Name: "web", Address: "10.0.0.100:80", Protocol: "tcp", Scheduler: "wrr", Up: 2, Quorum: 1,
				RealServers: []director.RealStatus{
					{Name: "web-1", Address: "10.0.0.21:80", Forward: "dr", Weight: 1, Status: "up", Since: ago(time.Hour), InTable: true, Active: 1234, Inactive: 56789},
					{Name: "web-2", Address: "10.0.0.22:80", Forward: "dr", Weight: 2, Status: "up", Since: ago(5 * time.Second), InTable: true},
				},
			}},
			IPVS:  director.IPVSStatus{InSync: true, ReadAt: ago(400 * time.Millisecond)},
			Sync:  &director.SyncStatus{Known: true, Daemons: []director.DaemonStatus{{Role: "master", Interface: "eth1", SyncID: 7}}},
			Peers: []director.PeerStatus{{Name: "lb-b", Address: "10.0.0.12", Alive: true, Since: ago(time.Hour), Version: "v1.2.3", SameConfig: true, Roles: map[string]string{"web": "backup"}}},
		}, `
lb-a  ready, up 2d2h, version v1.2.3, configuration bae15c3f8e2b

VIRTUAL ROUTER  STATE   FOR    PRIO  MASTER  INTERFACE  VRID  ADDRESSES
web             master  1h30m  150   lb-a    eth0       51    10.0.0.100/24

virtual server web  tcp 10.0.0.100:80 wrr, 2 of 2 up
  REAL SERVER  ADDRESS       FWD  WEIGHT  STATUS  FOR   ACTIVE  INACT
  web-1        10.0.0.21:80  dr   1       up      1h0m  1234    56789
  web-2        10.0.0.22:80  dr   2       up      5s    0       0

ipvs   as configured, read 400ms ago
sync   master on eth1, sync id 7
peer   lb-b 10.0.0.12 alive for 1h0m, version v1.2.3, backup of web
       same configuration
`},
		{"a director in trouble", director.Status{
			Director: "lb-b", Version: "v1", At: at, Started: ago(time.Minute), NotReady: []string{"1 check has no verdict yet"},
			Config: director.ConfigStatus{Hash: "49fadc74a699", LastReload: director.ReloadStatus{At: ago(30 * time.Second), Error: "hadirector.toml:3:1: vrrp.web.vird: unknown key"}},
			VirtualRouters: []director.RouterStatus{{
				Name: "six", State: "backup", Reason: "group", Detail: "with web", Since: ago(20 * time.Second), Priority: 100, Interface: "eth0", VRID: 51,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("fe80::100/64")},
				HoldsBack:        "leaves the Master alone, whose priority 90 is lower: not ready",
				Failures:         []string{"release routes on eth0: operation not permitted"},
			}, {
				Name: "web", State: "fault", Detail: "link eth0 is down", Since: ago(20 * time.Second), Priority: 100, Interface: "eth0", VRID: 51,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24"), netip.MustParsePrefix("10.0.0.101/24")},
				Counters:         vrrp.Counters{Discarded: map[string]uint64{"ttl": 3, "checksum": 4, "short": 0, "vrid": 52}},
			}},
			VirtualServers: []director.VirtualStatus{{
				Name: "web", Address: "10.0.0.100:80", Protocol: "tcp", Scheduler: "wrr", Quorum: 1, SorryActive: true, Serves: "sorry-server",
				RealServers: []director.RealStatus{
					{Name: "web-1", Address: "10.0.0.21:80", Forward: "dr", Weight: 1, Status: "down", Cause: "connect refused", Since: ago(10 * time.Second)},
					{Name: "sorry", Address: "10.0.0.9:80", Forward: "dr", Weight: 1, Status: "unchecked", SorryServer: true, InPool: true},
				},
			}},
			IPVS:  director.IPVSStatus{Errors: []string{"ipvsadm -A -t 10.0.0.100:80 -s wrr: operation not permitted"}},
			Sync:  &director.SyncStatus{Known: true, PeersError: "cluster.key: no such file"},
			Peers: []director.PeerStatus{{Name: "lb-a", Address: "10.0.0.11", Since: ago(time.Minute), Why: "no answer"}},
		}, `
lb-b  not ready, up 1m0s, version v1, configuration 49fadc74a699
       not ready: 1 check has no verdict yet
last reload failed 30s ago: hadirector.toml:3:1: vrrp.web.vird: unknown key

VIRTUAL ROUTER  STATE   FOR  PRIO  MASTER  INTERFACE  VRID  ADDRESSES
six             backup  20s  100   -       eth0       51    fe80::100/64
web             fault   20s  100   -       eth0       51    10.0.0.100/24
                                                            10.0.0.101/24
  six: backup with web, of the same sync group
  six: leaves the Master alone, whose priority 90 is lower: not ready
  six: FAILS: release routes on eth0: operation not permitted
  web: link eth0 is down
  web: 7 adverts discarded (checksum 4, ttl 3)

virtual server web  tcp 10.0.0.100:80 wrr, 0 of 1 up, SORRY SERVER SERVES
  REAL SERVER  ADDRESS       FWD  WEIGHT  STATUS  FOR  ACTIVE  INACT
  web-1        10.0.0.21:80  dr   1       down    10s  0       0
  sorry        10.0.0.9:80   dr   1       sorry   -    0       0
  web-1: connect refused
  sorry: NOT IN THE KERNEL'S TABLE

ipvs   NOT as configured
       ipvsadm -A -t 10.0.0.100:80 -s wrr: operation not permitted
sync   no daemon runs
peers  cluster.key: no such file
peer   lb-a 10.0.0.11 never seen: no answer
`},
		{"kernel parameters", director.Status{
			Director: "lb-a", Version: "v1", At: at, Started: ago(time.Hour), Ready: true,
			Config: director.ConfigStatus{Hash: "bae15c3f8e2b", LastReload: director.ReloadStatus{OK: true}},
			Parameters: []director.ParameterStatus{
				{Parameter: "net.ipv4.ip_forward", Value: "1", Wanted: "1", Was: "0", OK: true, Reason: "nat of virtual server web"},
				{Parameter: "net.ipv4.conf.all.send_redirects", Value: "1", Wanted: "0", Reason: "a redirect", Error: "read-only file system"},
				{Parameter: "net.ipv4.vs.schedule_icmp", Wanted: "1", Reason: "[ipvs] schedule_icmp", Error: "no such parameter"},
			},
			ParametersRepaired: 2,
			IPVS:               director.IPVSStatus{InSync: true},
		}, `
lb-a  ready, up 1h0m, version v1, configuration bae15c3f8e2b

KERNEL PARAMETER                  VALUE  WANTED  WAS
net.ipv4.ip_forward               1      1       0
net.ipv4.conf.all.send_redirects  1      0       -
net.ipv4.vs.schedule_icmp         -      1       -
  net.ipv4.ip_forward: nat of virtual server web
  net.ipv4.conf.all.send_redirects: NOT SET: read-only file system
  net.ipv4.conf.all.send_redirects: a redirect
  net.ipv4.vs.schedule_icmp: NOT SET: no such parameter
  net.ipv4.vs.schedule_icmp: [ipvs] schedule_icmp
  2 foreign changes repaired

ipvs   no virtual servers
`},
		{"tracks", director.Status{
			Director: "lb-a", Version: "v1", At: at, Started: ago(time.Hour), Ready: true,
			Config: director.ConfigStatus{Hash: "bae15c3f8e2b", LastReload: director.ReloadStatus{OK: true}},
			VirtualRouters: []director.RouterStatus{{
				Name: "web", State: "backup", Since: ago(time.Minute), Priority: 80, BasePriority: 150, Master: "lb-b", Interface: "eth0", VRID: 51,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
				Tracks: []director.TrackEffectStatus{
					{Track: "uplink", Weight: -60, Why: "down: link eth1 has no carrier"},
					{Track: "notch", Weight: -20, Why: "says -20"},
					{Track: "pool", Weight: 10, Why: "up"},
				},
			}, {
				Name: "api", State: "fault", Since: ago(time.Minute), Detail: "track gateway down: no route to host",
				Priority: 150, BasePriority: 150, Interface: "eth0", VRID: 52,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.101/24")},
				Tracks:           []director.TrackEffectStatus{{Track: "gateway", Fault: true, Why: "down: no route to host"}},
			}, {
				Name: "old", State: "fault", Since: ago(time.Minute), Detail: "link eth2 is down",
				Priority: 150, BasePriority: 150, Interface: "eth2", VRID: 53,
				VirtualAddresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.102/24")},
				Tracks:           []director.TrackEffectStatus{{Track: "gateway", Fault: true, Why: "down: no route to host"}},
			}},
			Tracks: []director.TrackStatus{
				{Name: "uplink", Type: "interface", Status: "down", Since: ago(time.Minute), Cause: "link eth1 has no carrier"},
				{Name: "notch", Type: "file", Status: "up", Since: ago(time.Hour), Value: new(-20)},
				{Name: "pool", Type: "virtual_server", Status: "up", Since: ago(time.Hour)},
				{Name: "gateway", Type: "ping", Status: "down", Since: ago(2 * time.Minute), Cause: "no route to host"},
				{Name: "spare", Type: "script", Status: "unknown"},
			},
			IPVS: director.IPVSStatus{InSync: true},
		}, `
lb-a  ready, up 1h0m, version v1, configuration bae15c3f8e2b

VIRTUAL ROUTER  STATE   FOR   PRIO  MASTER  INTERFACE  VRID  ADDRESSES
web             backup  1m0s  80    lb-b    eth0       51    10.0.0.100/24
api             fault   1m0s  150   -       eth0       52    10.0.0.101/24
old             fault   1m0s  150   -       eth2       53    10.0.0.102/24
  web: priority 150, -60: track uplink down: link eth1 has no carrier
  web: priority 150, -20: track notch says -20
  web: priority 150, +10: track pool up
  api: track gateway down: no route to host
  old: link eth2 is down
  old: does not take part: track gateway down: no route to host

TRACK    TYPE            STATUS   FOR   VALUE
uplink   interface       down     1m0s  -
notch    file            up       1h0m  -20
pool     virtual_server  up       1h0m  -
gateway  ping            down     2m0s  -
spare    script          unknown  -     -
  uplink: link eth1 has no carrier
  gateway: no route to host

ipvs   no virtual servers
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := writeStatus(&b, tt.status); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for line := range strings.Lines(b.String()) {
				if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
		})
	}
}

func TestAge(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{1234 * time.Millisecond, "1.2s"}, {12345 * time.Millisecond, "12s"}, {95 * time.Second, "1m35s"},
		{3*time.Hour + 5*time.Minute, "3h5m"}, {49 * time.Hour, "2d1h"},
	} {
		if got := age(at, ago(tt.d)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.d, got, tt.want)
		}
	}
	if got := age(at, time.Time{}); got != "-" {
		t.Errorf("never: %s", got)
	}
}

func TestStatusTextNamesWhatAMarkIsFor(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    director.VirtualStatus
		want string
	}{
		{"one address", director.VirtualStatus{Address: "10.0.0.100:80", Addresses: []string{"10.0.0.100:80"}}, "10.0.0.100:80"},
		{"several", director.VirtualStatus{Address: "10.0.0.100:80, 10.0.0.101:80-90", Addresses: []string{"10.0.0.100:80", "10.0.0.101:80-90"}}, "10.0.0.100:80, 10.0.0.101:80-90"},
		{"a mark that somebody else sets", director.VirtualStatus{Address: "10"}, "10"},
		{"a mark", director.VirtualStatus{Address: "10", Addresses: []string{"10.0.0.100:80", "10.0.0.100:443"}}, "10 (10.0.0.100:80, 10.0.0.100:443)"},
	} {
		if got := where(tt.v); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
