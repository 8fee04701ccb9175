package telemetry

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

// status is that of a Master with one real server down.
func status() director.Status {
	return director.Status{
		Director: "lb-a", Version: "v1", Ready: true,
		Config:      director.ConfigStatus{Hash: "abc", LoadedAt: time.Unix(1000, 0), LastReload: director.ReloadStatus{OK: false}},
		VRRPProcess: &director.ProcessStatus{Up: true, Restarts: 2},
		VirtualRouters: []director.RouterStatus{{
			Name: "web", State: "master", Interface: "eth0", VRID: 51, Family: "ipv4", Priority: 90, BasePriority: 150,
			Counters:       vrrp.Counters{AdvertsSent: 7, Transitions: 2, LateTimers: 9, MaxLate: 1500 * time.Millisecond, Discarded: map[string]uint64{"ttl": 3, "checksum": 4}},
			AdvertsBlocked: true,
			Witness: &director.WitnessStatus{
				Rounds: 8, Failed: 1, Changes: map[vrrp.Verdict]uint64{vrrp.VerdictNoOwner: 2},
				Addresses: []director.WitnessedStatus{{Address: netip.MustParseAddr("10.0.0.100"), Verdict: vrrp.VerdictStranger}},
			},
		}},
		Tracks: []director.TrackStatus{{Name: "uplink", Status: "down"}, {Name: "notch", Status: "up", Value: new(-3)}, {Name: "gateway", Status: "unknown"}},
		VirtualServers: []director.VirtualStatus{{Name: "web", RealServers: []director.RealStatus{
			{Name: "web-1", Status: "up", Checks: []director.CheckStatus{{Name: "page", CertificateExpires: time.UnixMilli(3500)}}, InTable: true, Active: 5, Inactive: 6, Weight: 4, Override: &director.OverrideStatus{Override: director.Override{Kind: director.OverrideWeight, Weight: 4}}},
			{Name: `we"b`, Status: "down", Views: []director.ViewStatus{{Director: "lb-b", Status: "up"}}},
		}}},
		Probes: healthcheck.Load{Running: 3, Waiting: 4, Probes: 500, Late: 5, MaxLate: 250 * time.Millisecond, Standstills: 2},
		IPVS:   director.IPVSStatus{InSync: true, ReadAt: time.UnixMilli(2500), Applied: 3, Refused: 1, Repaired: 2},
		Parameters: []director.ParameterStatus{
			{Parameter: "net.ipv4.ip_forward", OK: true}, {Parameter: "net.ipv4.conf.eth0/5.send_redirects"},
		},
		ParametersRepaired: 4,
		Sync: &director.SyncStatus{Daemons: []director.DaemonStatus{{Role: "master"}}, RelayStatus: &director.RelayStatus{
			Connections: 41000, Templates: 233, MaxConnections: 1048576, Evicted: 1, Refused: 2,
			Capture:   director.CaptureStatus{Running: true, Datagrams: 90000, Lost: 3, Malformed: 4, Withheld: 5},
			Inject:    director.InjectStatus{Connections: 6, Datagrams: 7, Dropped: 8, Again: 9, Missing: 10, Restarts: 11},
			Strangers: map[string]uint64{"key": 12, "address": 13},
			Peers: []director.SyncPeerStatus{{
				Name: "lb-b", State: "in sync", Complete: true, Here: 41233, There: 41230, LagMS: 12.5, AckMS: 180,
				Links: []director.SyncLinkStatus{{From: "10.1.0.11", To: "10.1.0.12", Connected: true}, {From: "10.0.0.11", To: "10.0.0.12"}},
				Sent:  50000, Acked: 49990, Resent: 20, Received: 30, Dropped: map[string]uint64{"overflow": 40, "gap": 0},
				FullSyncsSent: 2, FullSyncs: 1, LastFullSync: time.UnixMilli(4500), QueuedRecords: 10, QueuedBytes: 640,
			}, {Name: "lb-c", State: "resyncing"}},
		}},
		Peers: []director.PeerStatus{{Name: "lb-b", Alive: true}},
	}
}

func TestMetrics(t *testing.T) {
	var b strings.Builder
	WriteMetrics(&b, status())
	for _, line := range []string{
		`hadirector_build_info{version="v1",director="lb-a"} 1`,
		`hadirector_config_last_reload_successful 0`,
		`hadirector_config_last_reload_success_timestamp_seconds 1000`,
		`hadirector_kernel_parameter_ok{parameter="net.ipv4.ip_forward"} 1`,
		`hadirector_kernel_parameter_ok{parameter="net.ipv4.conf.eth0/5.send_redirects"} 0`,
		`hadirector_kernel_parameters_repaired_total 4`,
		`hadirector_vrrp_state{virtual_router="web",interface="eth0",vrid="51",family="ipv4",state="master"} 1`,
		`hadirector_vrrp_state{virtual_router="web",interface="eth0",vrid="51",family="ipv4",state="backup"} 0`,
		`hadirector_vrrp_adverts_discarded_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4",reason="checksum"} 4`,
		`hadirector_vrrp_transitions_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 2`,
		`hadirector_vrrp_priority{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 90`,
		`hadirector_vrrp_base_priority{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 150`,
		`hadirector_real_server_override{virtual_server="web",real_server="web-1",override="weight"} 1`,
		`hadirector_real_server_disagreement{virtual_server="web",real_server="we\"b",peer="lb-b"} 1`,
		`hadirector_real_server_weight{virtual_server="web",real_server="web-1"} 4`,
		`hadirector_track_up{track="uplink"} 0`,
		`hadirector_track_up{track="notch"} 1`,
		`hadirector_track_up{track="gateway"} 1`,
		`hadirector_track_value{track="notch"} -3`,
		`hadirector_vrrp_process_up 1`,
		`hadirector_vrrp_process_restarts_total 2`,
		`hadirector_vrrp_timer_late_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 9`,
		`hadirector_vrrp_timer_lateness_max_seconds{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 1.5`,
		`hadirector_vrrp_adverts_blocked{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 1`,
		`hadirector_vrrp_split_brain{virtual_router="web",interface="eth0",vrid="51",family="ipv4"} 0`,
		`hadirector_vrrp_witness{virtual_router="web",interface="eth0",vrid="51",family="ipv4",address="10.0.0.100",verdict="stranger"} 1`,
		`hadirector_vrrp_witness{virtual_router="web",interface="eth0",vrid="51",family="ipv4",address="10.0.0.100",verdict="owner-ok"} 0`,
		`hadirector_vrrp_witness_changes_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4",verdict="no-owner"} 2`,
		`hadirector_vrrp_witness_rounds_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4",result="ok"} 8`,
		`hadirector_vrrp_witness_rounds_total{virtual_router="web",interface="eth0",vrid="51",family="ipv4",result="error"} 1`,
		`hadirector_healthcheck_up{virtual_server="web",real_server="web-1"} 1`,
		`hadirector_healthcheck_up{virtual_server="web",real_server="we\"b"} 0`,
		`hadirector_healthcheck_certificate_expiry_timestamp_seconds{virtual_server="web",real_server="web-1",check="page"} 3.5`,
		`hadirector_real_server_connections{virtual_server="web",real_server="web-1",state="inactive"} 6`,
		`hadirector_healthcheck_probes{state="running"} 3`,
		`hadirector_healthcheck_probes{state="waiting"} 4`,
		`hadirector_healthcheck_begun_total 500`,
		`hadirector_healthcheck_late_total 5`,
		`hadirector_healthcheck_lateness_max_seconds 0.25`,
		`hadirector_healthcheck_standstills_total 2`,
		`hadirector_ipvs_operations_total{result="error"} 1`,
		`hadirector_ipvs_last_reconcile_timestamp_seconds 2.5`,
		`hadirector_sync_daemon_running{role="master"} 1`,
		`hadirector_sync_daemon_running{role="backup"} 0`,
		`hadirector_peer_same_config{peer="lb-b"} 0`,
		`hadirector_sync_ready{peer="lb-b"} 1`,
		`hadirector_sync_ready{peer="lb-c"} 0`,
		`hadirector_sync_complete{peer="lb-b"} 1`,
		`hadirector_sync_complete{peer="lb-c"} 0`,
		`hadirector_sync_lag_seconds{peer="lb-b"} 0.0125`,
		`hadirector_sync_acknowledgement_seconds{peer="lb-b"} 0.18`,
		`hadirector_sync_connections{peer="lb-b",side="here"} 41233`,
		`hadirector_sync_connections{peer="lb-b",side="there"} 41230`,
		`hadirector_sync_queued_messages{peer="lb-b"} 10`,
		`hadirector_sync_queued_bytes{peer="lb-b"} 640`,
		`hadirector_sync_messages_sent_total{peer="lb-b"} 50000`,
		`hadirector_sync_messages_acked_total{peer="lb-b"} 49990`,
		`hadirector_sync_messages_resent_total{peer="lb-b"} 20`,
		`hadirector_sync_messages_received_total{peer="lb-b"} 30`,
		`hadirector_sync_messages_dropped_total{peer="lb-b",reason="overflow"} 40`,
		`hadirector_sync_messages_dropped_total{peer="lb-b",reason="gap"} 0`,
		`hadirector_sync_full_resyncs_total{peer="lb-b",direction="sent"} 2`,
		`hadirector_sync_full_resyncs_total{peer="lb-b",direction="received"} 1`,
		`hadirector_sync_last_full_resync_timestamp_seconds{peer="lb-b",direction="sent"} 4.5`,
		`hadirector_sync_last_full_resync_timestamp_seconds{peer="lb-b",direction="received"} 0`,
		`hadirector_sync_link_connected{peer="lb-b",from="10.1.0.11",to="10.1.0.12"} 1`,
		`hadirector_sync_link_connected{peer="lb-b",from="10.0.0.11",to="10.0.0.12"} 0`,
		`hadirector_sync_table_entries{kind="connection"} 41000`,
		`hadirector_sync_table_entries{kind="template"} 233`,
		`hadirector_sync_table_limit 1.048576e+06`,
		`hadirector_sync_table_evicted_total 1`,
		`hadirector_sync_table_refused_total 2`,
		`hadirector_sync_capture_running 1`,
		`hadirector_sync_capture_datagrams_total 90000`,
		`hadirector_sync_capture_lost_total 3`,
		`hadirector_sync_capture_malformed_total 4`,
		`hadirector_sync_capture_withheld_total 5`,
		`hadirector_sync_inject_running 0`,
		`hadirector_sync_inject_up_to_date 0`,
		`hadirector_sync_inject_connections_total 6`,
		`hadirector_sync_inject_datagrams_total 7`,
		`hadirector_sync_inject_dropped_total 8`,
		`hadirector_sync_inject_again_total 9`,
		`hadirector_sync_inject_missing_total 10`,
		`hadirector_sync_inject_restarts_total 11`,
		`hadirector_sync_strangers_refused_total{reason="key"} 12`,
		`hadirector_sync_strangers_refused_total{reason="address"} 13`,
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestExpositionFormat holds the output against the text format's rules: one head for
// each family, before its samples, and every sample under the head of its own name.
func TestExpositionFormat(t *testing.T) {
	var b strings.Builder
	WriteMetrics(&b, status())
	sample := regexp.MustCompile(`^([a-z_]+)(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? -?[0-9.e+]+$`)
	heads, series, family := map[string]bool{}, map[string]bool{}, ""
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(name, " ")
			if heads[family] {
				t.Errorf("a second head for %s", family)
			}
			heads[family] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a sample: %s", line)
			continue
		}
		if m[1] != family {
			t.Errorf("%s under the head of %s", m[1], family)
		}
		if key := m[1] + m[2]; series[key] {
			t.Errorf("twice: %s", key)
		} else {
			series[key] = true
		}
	}
	for name := range heads {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(series)), func(s string) bool { return s == name || strings.HasPrefix(s, name+"{") }) {
			t.Errorf("no sample of %s", name)
		}
	}
}

func TestHealthz(t *testing.T) {
	for _, tt := range []struct {
		inSync bool
		code   int
	}{{true, http.StatusOK}, {false, http.StatusServiceUnavailable}} {
		w := httptest.NewRecorder()
		handler(status, func() bool { return tt.inSync }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if w.Code != tt.code {
			t.Errorf("in sync %v: status %d, want %d", tt.inSync, w.Code, tt.code)
		}
	}
}

func TestServerWaitsForItsAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log strings.Builder
	s := New(netip.MustParseAddrPort(taken.Addr().String()), status, func() bool { return true }, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("with the address taken: %v", err)
	}
	if !strings.Contains(log.String(), "metrics are not served, trying again") {
		t.Errorf("log %q", log.String())
	}
}

func BenchmarkMetricsOf10000RealServers(b *testing.B) {
	s := status()
	for range 10000 {
		s.VirtualServers[0].RealServers = append(s.VirtualServers[0].RealServers, director.RealStatus{Name: "web-1", Status: "up"})
	}
	for b.Loop() {
		WriteMetrics(io.Discard, s)
	}
}
