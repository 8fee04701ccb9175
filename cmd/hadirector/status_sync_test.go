package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
)

// relayed is the status of a relay that works.
func relayed(peers ...director.SyncPeerStatus) *director.SyncStatus {
	return &director.SyncStatus{
		Mode: "relay", Known: true,
		Daemons: []director.DaemonStatus{{Role: "master", Interface: "hasync0", SyncID: 7}, {Role: "backup", Interface: "hasync0", SyncID: 7}},
		RelayStatus: &director.RelayStatus{
			Connections: 41000, Templates: 233, MaxConnections: 1 << 20,
			Capture: director.CaptureStatus{Running: true}, Inject: director.InjectStatus{Running: true, UpToDate: true}, Peers: peers,
		},
	}
}

func link(from, to, err string) director.SyncLinkStatus {
	return director.SyncLinkStatus{From: from, To: to, Connected: err == "", Error: err}
}

func TestStatusTextOfConnectionSync(t *testing.T) {
	full := time.Date(2026, 1, 2, 12, 3, 11, 0, time.Local)
	inSync := director.SyncPeerStatus{
		Name: "lb-b", State: "in sync", Since: ago(time.Hour), Complete: true, Here: 41233, There: 41233, LagMS: 0, AckMS: 179.6, LastFullSync: full,
		Links: []director.SyncLinkStatus{link("10.0.0.11", "10.0.0.12", "")},
	}
	with := func(p director.SyncPeerStatus, do func(*director.SyncPeerStatus)) director.SyncPeerStatus {
		do(&p)
		return p
	}
	for _, tt := range []struct {
		name string
		s    *director.SyncStatus
		do   func(*director.SyncStatus)
		want string
	}{
		{"all is well", relayed(inSync), nil, `
sync   lb-b in sync, 41233/41233, lag 180 ms, last full sync 12:03:11
`},
		{"a change waits for longer than the last one took", relayed(with(inSync, func(p *director.SyncPeerStatus) { p.LagMS = 1234 })), nil, `
sync   lb-b in sync, 41233/41233, lag 1234 ms, last full sync 12:03:11
`},
		{"nothing has changed since the stream began", relayed(director.SyncPeerStatus{Name: "lb-b", State: "in sync"}), nil, `
sync   lb-b in sync, 0/0, lag 0 ms
`},
		{"one of two ways is down", relayed(with(inSync, func(p *director.SyncPeerStatus) {
			p.Links = []director.SyncLinkStatus{link("10.1.0.11", "10.1.0.12", "no answer"), link("10.0.0.11", "10.0.0.12", "")}
		})), nil, `
sync   lb-b in sync, 41233/41233, lag 180 ms, last full sync 12:03:11
       10.1.0.11 to 10.1.0.12: no answer
`},
		{"no connection", relayed(director.SyncPeerStatus{
			Name: "lb-b", State: "connecting", Since: ago(12 * time.Second), Why: "no answer; connection refused: no director listens there", Here: 41233,
			LastFullSync: full,
			Links: []director.SyncLinkStatus{
				link("10.1.0.11", "10.1.0.12", "no answer"),
				link("2001:db8::11", "2001:db8::12", "it hung up: its configuration does not name this director, or not at this address"),
				{From: "10.2.0.11", To: "10.2.0.12"},
			},
		}), nil, `
sync   lb-b connecting for 12s, last full sync 12:03:11
       10.1.0.11 to 10.1.0.12: no answer
       2001:db8::11 to 2001:db8::12: it hung up: its configuration does not name
         this director, or not at this address
       10.2.0.11 to 10.2.0.12: not connected yet
`},
		{"connected, and not greeted yet", relayed(director.SyncPeerStatus{
			Name: "lb-b", State: "connecting", Since: ago(time.Second), Why: "waiting for a connection", Links: []director.SyncLinkStatus{link("10.1.0.11", "10.1.0.12", "")},
		}), nil, `
sync   lb-b connecting for 1s
       waiting for a connection
`},
		{"on the way", relayed(
			director.SyncPeerStatus{Name: "lb-b", State: "resyncing", Since: ago(3 * time.Second), Why: "being told its connections", Here: 1200, There: 41233},
			director.SyncPeerStatus{Name: "lb-c", State: "resyncing", Since: ago(70 * time.Second), Why: "telling it the connections", Here: 1200, There: 0},
		), nil, `
sync   lb-b resyncing for 3s, 41233/1200
       being told its connections
sync   lb-c resyncing for 1m10s, 0/1200
       telling it the connections
`},
		{"other connections there", relayed(with(inSync, func(p *director.SyncPeerStatus) {
			p.State, p.Since, p.There = "differs", ago(20*time.Second), 41231
			p.Why = "different connections of TCP 10.0.0.100:80 (12 here, 9 there)"
			p.Differs = []director.SyncDifference{
				{Name: "ports", VirtualServer: "TCP 10.0.0.100:80", Here: 12, There: 9},
				{VirtualServer: "UDP 10.0.0.9:53", Here: 1},
				{Name: "ports", VirtualServer: "TCP 10.0.0.100:81", Here: 0, There: 1},
				{Name: "api", VirtualServer: "fwmark 10", Here: 3, There: 3},
			}
		})), nil, `
sync   lb-b differs for 20s, 41231/41233, lag 180 ms, last full sync 12:03:11
       ports: 12 here, 10 there
       UDP 10.0.0.9:53: 1 here, 0 there
       api: 3 on both, but not the same ones
`},
		{"many others there", relayed(director.SyncPeerStatus{Name: "lb-b", State: "differs", Since: ago(20 * time.Second), Differs: []director.SyncDifference{
			{Name: "a", Here: 1}, {Name: "b", Here: 1}, {Name: "c", Here: 1}, {Name: "d", Here: 1}, {Name: "e", Here: 1}, {Name: "f", Here: 1}, {Name: "g", Here: 1},
		}}), nil, `
sync   lb-b differs for 20s, 0/0, lag 0 ms
       a: 1 here, 0 there
       b: 1 here, 0 there
       c: 1 here, 0 there
       d: 1 here, 0 there
       e: 1 here, 0 there
       and 2 more virtual servers
`},
		{"what the kernel refuses is said once for all peers", relayed(
			director.SyncPeerStatus{Name: "lb-b", State: "resyncing", Since: ago(time.Minute), Why: "no backup sync daemon listens on the interface", Here: 5, There: 5},
			director.SyncPeerStatus{Name: "lb-c", State: "resyncing", Since: ago(time.Minute), Why: "no backup sync daemon listens on the interface", Here: 5, There: 5},
		), func(s *director.SyncStatus) {
			s.Errors = []string{"ipvsadm --start-daemon backup: operation not permitted", "the tick service: operation not permitted"}
			s.Inject.Error = "no backup sync daemon listens on the interface"
			s.Capture.Error = "nothing was heard of the master sync daemon for 5 s: it does not run, or a firewall drops what it sends"
			s.Capture.TickError = "the tick service: operation not permitted"
			s.Capture.ListError = "open /proc/net/ip_vs_conn: no such file or directory"
		}, `
sync   lb-b resyncing for 1m0s, 5/5
sync   lb-c resyncing for 1m0s, 5/5
       REFUSED: ipvsadm --start-daemon backup: operation not permitted
       REFUSED: the tick service: operation not permitted
       the kernel's connections are not heard: nothing was heard of the master
         sync daemon for 5 s: it does not run, or a firewall drops what it sends
       the kernel's connections cannot be listed: open /proc/net/ip_vs_conn: no
         such file or directory
       the kernel is not told the peers' connections: no backup sync daemon
         listens on the interface
`},
		{"a full table, and strangers", relayed(inSync), func(s *director.SyncStatus) {
			s.MaxConnections = 41233
			s.Strangers = map[string]uint64{"key": 3, "handshake": 14}
		}, `
sync   lb-b in sync, 41233/41233, lag 180 ms, last full sync 12:03:11
       max_connections = 41233 is reached: a director that comes later is not
         told of all
       17 connections of strangers refused (handshake 14, key 3)
`},
		{"no key", &director.SyncStatus{
			Mode: "relay", Known: true, Daemons: relayed().Daemons,
			PeersError: "read cluster key k: no such file", RelayError: "read cluster key k: no such file",
		}, nil, `
sync   no relay
peers  read cluster key k: no such file
`},
		{"no relay", &director.SyncStatus{
			Mode: "relay", Known: true, Daemons: relayed().Daemons, RelayError: "make the streams to the other directors: the port is in use",
		}, nil, `
sync   no relay: make the streams to the other directors: the port is in use
`},
		{"the kernel cannot be asked", relayed(inSync), func(s *director.SyncStatus) { s.Known = false }, `
sync   the kernel's daemons are not known
sync   lb-b in sync, 41233/41233, lag 180 ms, last full sync 12:03:11
`},
		{"the kernel's own sync", &director.SyncStatus{Mode: "kernel", Known: true, Daemons: []director.DaemonStatus{
			{Role: "master", Interface: "eth1", SyncID: 7}, {Role: "backup", Interface: "eth1", SyncID: 7},
		}}, nil, `
sync   master on eth1, sync id 7
sync   backup on eth1, sync id 7
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.do != nil {
				tt.do(tt.s)
			}
			var b bytes.Buffer
			writeSync(&b, at, tt.s)
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
