package telemetry

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/hadirector/hadirector/internal/director"
)

// WriteMetrics writes a director's status in Prometheus text format.
func WriteMetrics(out io.Writer, s director.Status) {
	w := writer{&family{out: out}}
	w.gauge("hadirector_build_info", "The running program.")
	w.set(1, "version", s.Version, "director", s.Director)
	w.gauge("hadirector_ready", "Whether this director would be as good a Master as its peer.")
	w.set(flag(s.Ready))

	w.gauge("hadirector_config_last_reload_successful", "Whether the last attempt to load the configuration succeeded.")
	w.set(flag(s.Config.LastReload.OK))
	w.gauge("hadirector_config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded.")
	w.set(seconds(s.Config.LoadedAt))
	w.gauge("hadirector_config_hash", "The configuration in force, as a label.")
	w.set(1, "config_hash", s.Config.Hash)

	w.process(s)
	w.routers(s)
	w.tracks(s)
	w.servers(s)

	w.gauge("hadirector_ipvs_in_sync", "Whether the kernel's table is as configured.")
	w.set(flag(s.IPVS.InSync))
	w.gauge("hadirector_ipvs_last_reconcile_timestamp_seconds", "When the kernel's table was last read.")
	w.set(seconds(s.IPVS.ReadAt))
	w.counter("hadirector_ipvs_operations_total", "Changes to the kernel's table, by result.")
	w.count(s.IPVS.Applied, "result", "ok")
	w.count(s.IPVS.Refused, "result", "error")
	w.counter("hadirector_ipvs_drift_repaired_total", "Changes that undid what another program had changed.")
	w.count(s.IPVS.Repaired)
	w.gauge("hadirector_kernel_parameter_ok", "Whether the kernel parameter has the value that the configuration asks for.")
	for _, p := range s.Parameters {
		w.set(flag(p.OK), "parameter", p.Parameter)
	}
	w.counter("hadirector_kernel_parameters_repaired_total", "Changes of kernel parameters that undid what another program had changed.")
	w.count(s.ParametersRepaired)
	w.sync(s)
}

func (w writer) process(s director.Status) {
	p := s.VRRPProcess
	if p == nil {
		return
	}
	w.gauge("hadirector_vrrp_process_up", "Whether the virtual routers' process runs.")
	w.set(flag(p.Up))
	w.counter("hadirector_vrrp_process_restarts_total", "Starts of the virtual routers' process after the first.")
	w.count(p.Restarts)
}

func (w writer) routers(s director.Status) {
	labels := func(r director.RouterStatus, more ...string) []string {
		return append([]string{"virtual_router", r.Name, "interface", r.Interface, "vrid", fmt.Sprint(r.VRID), "family", r.Family}, more...)
	}
	w.gauge("hadirector_vrrp_state", "The virtual router's state: 1 for the one it is in.")
	for _, r := range s.VirtualRouters {
		for _, state := range []string{"master", "backup", "fault"} {
			w.set(flag(r.State == state), labels(r, "state", state)...)
		}
	}
	w.gauge("hadirector_vrrp_priority", "The effective priority.")
	for _, r := range s.VirtualRouters {
		w.set(float64(r.Priority), labels(r)...)
	}
	w.gauge("hadirector_vrrp_base_priority", "The configured priority.")
	for _, r := range s.VirtualRouters {
		w.set(float64(r.BasePriority), labels(r)...)
	}
	for _, m := range []struct {
		name, help string
		value      func(director.RouterStatus) uint64
	}{
		{"hadirector_vrrp_transitions_total", "Changes of state.", func(r director.RouterStatus) uint64 { return r.Counters.Transitions }},
		{"hadirector_vrrp_adverts_sent_total", "Advertisements sent.", func(r director.RouterStatus) uint64 { return r.Counters.AdvertsSent }},
		{"hadirector_vrrp_adverts_received_total", "Advertisements accepted.", func(r director.RouterStatus) uint64 { return r.Counters.AdvertsReceived }},
		{"hadirector_vrrp_send_errors_total", "Advertisements that could not be sent.", func(r director.RouterStatus) uint64 { return r.Counters.SendErrors }},
		{"hadirector_vrrp_announcements_total", "Rounds of gratuitous ARP over all virtual addresses.", func(r director.RouterStatus) uint64 { return r.Counters.Announcements }},
		{"hadirector_vrrp_announce_errors_total", "Rounds that could not be sent in full.", func(r director.RouterStatus) uint64 { return r.Counters.AnnounceErrors }},
		{"hadirector_vrrp_timer_late_total", "Timers that ran out more than 10 ms late.", func(r director.RouterStatus) uint64 { return r.Counters.LateTimers }},
		{"hadirector_vrrp_address_errors_total", "Failed changes of virtual addresses.", func(r director.RouterStatus) uint64 { return r.Counters.AddressErrors }},
	} {
		w.counter(m.name, m.help)
		for _, r := range s.VirtualRouters {
			w.count(m.value(r), labels(r)...)
		}
	}
	w.gauge("hadirector_vrrp_timer_lateness_max_seconds", "How late the latest of all timers ran out.")
	for _, r := range s.VirtualRouters {
		w.set(r.Counters.MaxLate.Seconds(), labels(r)...)
	}
	w.counter("hadirector_vrrp_adverts_discarded_total", "Datagrams that were not accepted, by reason.")
	for _, r := range s.VirtualRouters {
		for _, reason := range sortedKeys(r.Counters.Discarded) {
			w.count(r.Counters.Discarded[reason], labels(r, "reason", reason)...)
		}
	}
	w.witness(s, labels)
}

func (w writer) tracks(s director.Status) {
	w.gauge("hadirector_track_up", "Whether the track is up; without a verdict it counts as up.")
	for _, t := range s.Tracks {
		w.set(flag(t.Status != "down"), "track", t.Name)
	}
	w.gauge("hadirector_track_value", "The number in the file that is tracked, as long as it can be read.")
	for _, t := range s.Tracks {
		if t.Value != nil {
			w.set(float64(*t.Value), "track", t.Name)
		}
	}
}

func (w writer) servers(s director.Status) {
	w.gauge("hadirector_healthcheck_up", "Whether the real server passes its checks; without a verdict it counts as up.")
	each := func(f func(v director.VirtualStatus, r director.RealStatus, labels []string)) {
		for _, v := range s.VirtualServers {
			for _, r := range v.RealServers {
				f(v, r, []string{"virtual_server", v.Name, "real_server", r.Name})
			}
		}
	}
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		if !r.SorryServer {
			w.set(flag(r.Status != "down"), labels...)
		}
	})
	w.gauge("hadirector_healthcheck_certificate_expiry_timestamp_seconds", "When the certificate that the real server has shown ends to be good, as long as the check succeeds.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		for _, c := range r.Checks {
			if !c.CertificateExpires.IsZero() {
				w.set(seconds(c.CertificateExpires), append(labels, "check", c.Name)...)
			}
		}
	})
	w.probes(s)
	w.gauge("hadirector_real_server_in_table", "Whether the kernel's table holds the real server.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		w.set(flag(r.InTable), labels...)
	})
	w.gauge("hadirector_real_server_disagreement", "Whether the peer's verdict on the real server has been another than this director's for longer than checks take, as long as that is so.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		for _, v := range r.Views {
			w.set(1, append(labels, "peer", v.Director)...)
		}
	})
	w.gauge("hadirector_real_server_override", "What an operator wants of the real server instead of the configuration, as long as that is so.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		if r.Override != nil {
			w.set(1, append(labels, "override", string(r.Override.Kind))...)
		}
	})
	w.gauge("hadirector_real_server_weight", "The weight, as configured or as its checks or an operator want it; 0 takes no new connections.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		w.set(float64(r.Weight), labels...)
	})
	w.gauge("hadirector_real_server_connections", "Connections in the kernel's table, by state.")
	each(func(_ director.VirtualStatus, r director.RealStatus, labels []string) {
		w.set(float64(r.Active), append(labels, "state", "active")...)
		w.set(float64(r.Inactive), append(labels, "state", "inactive")...)
	})
	w.gauge("hadirector_virtual_server_sorry_active", "Whether the sorry server serves.")
	for _, v := range s.VirtualServers {
		w.set(flag(v.SorryActive), "virtual_server", v.Name)
	}
	w.gauge("hadirector_virtual_server_backup_active", "Whether the backups serve, with what is left of the others.")
	for _, v := range s.VirtualServers {
		w.set(flag(v.Serves == "backup-servers"), "virtual_server", v.Name)
	}
	w.gauge("hadirector_virtual_server_panic", "Whether too many real servers fail their checks, so that the last good ones stay in.")
	for _, v := range s.VirtualServers {
		w.set(flag(v.Panic), "virtual_server", v.Name)
	}
}

func (w writer) probes(s director.Status) {
	p := s.Probes
	w.gauge("hadirector_healthcheck_probes", "Probes of real servers that run, and those that are due and wait for a place.")
	w.set(float64(p.Running), "state", "running")
	w.set(float64(p.Waiting), "state", "waiting")
	w.counter("hadirector_healthcheck_begun_total", "Probes of real servers that have begun.")
	w.count(p.Probes)
	w.counter("hadirector_healthcheck_late_total", "Probes that began more than 100 ms after they were due.")
	w.count(p.Late)
	w.gauge("hadirector_healthcheck_lateness_max_seconds", "How late the latest of all probes began.")
	w.set(p.MaxLate.Seconds())
	w.counter("hadirector_healthcheck_standstills_total", "Times that this director stood still, so that failures of its checks did not count.")
	w.count(p.Standstills)
}

func (w writer) sync(s director.Status) {
	if s.Sync != nil {
		w.gauge("hadirector_sync_daemon_running", "Whether the kernel's sync daemon of the role runs.")
		for _, role := range []string{"master", "backup"} {
			running := false
			for _, d := range s.Sync.Daemons {
				running = running || d.Role == role
			}
			w.set(flag(running), "role", role)
		}
		w.relay(s.Sync.RelayStatus)
	}
	w.gauge("hadirector_peer_up", "Whether the other director answers on the membership protocol.")
	for _, p := range s.Peers {
		w.set(flag(p.Alive), "peer", p.Name)
	}
	w.gauge("hadirector_peer_same_config", "Whether the other director has the same configuration.")
	for _, p := range s.Peers {
		w.set(flag(p.SameConfig), "peer", p.Name)
	}
}

// writer writes families of series: a head and then its samples.
type writer struct{ *family }

// family is the metric whose samples are being written.
type family struct {
	out  io.Writer
	name string
}

func (f *family) head(name, kind, help string) {
	f.name = name
	fmt.Fprintf(f.out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (f *family) gauge(name, help string)   { f.head(name, "gauge", help) }
func (f *family) counter(name, help string) { f.head(name, "counter", help) }

// set and count write one sample; labels are names and values in turn.
func (f *family) set(v float64, labels ...string) {
	metrics.WriteGaugeFloat64(f.out, f.series(labels), v)
}

func (f *family) count(v uint64, labels ...string) {
	metrics.WriteCounterUint64(f.out, f.series(labels), v)
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (f *family) series(labels []string) string {
	if len(labels) == 0 {
		return f.name
	}
	var b strings.Builder
	b.WriteString(f.name)
	for i := 0; i < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&b, `%s="%s"`, labels[i], escape.Replace(labels[i+1]))
	}
	b.WriteByte('}')
	return b.String()
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a moment in Unix time; 0 if it has not come.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
