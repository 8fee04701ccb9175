package conf

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// String returns the effective configuration: the text, in TOML, that says the same
// as the file with nothing left to defaults. Everything is in the order of the file.
// Parse makes an equal Config of it, except that it refuses passwords and keys: the text
// is printed and told to the other directors, so a check value stands in their place.
func (c *Config) String() string {
	w := &writer{}
	for _, d := range c.Directors {
		w.director(d)
	}
	for _, vr := range c.VirtualRouters {
		w.virtualRouter(vr, c.Directors)
	}
	for _, vs := range c.VirtualServers {
		w.virtualServer(vs, c.Directors)
	}
	for _, s := range c.Checks {
		w.check(s)
	}
	for _, t := range c.Tracks {
		w.track(t)
	}
	w.table("ipvs")
	onStop := stopRelease
	if c.IPVS.KeepOnStop {
		onStop = stopKeep
	}
	w.text("on_stop", onStop)
	w.probeMarks(c.IPVS.ProbeMarks)
	w.parameters(c.IPVS.Parameters)
	if c.Sync != nil {
		w.sync(*c.Sync)
	}
	w.table("admin")
	w.text("socket", c.Admin.Socket)
	if c.Admin.Metrics.IsValid() {
		w.text("metrics", c.Admin.Metrics.String())
	}
	w.table("log")
	w.text("level", logLevelName(c.Log.Level))
	w.text("format", c.Log.Format)
	return w.b.String()
}

func logLevelName(l slog.Level) string {
	for name, level := range logLevels {
		if level == l {
			return name
		}
	}
	return "info"
}

// writer writes TOML.
type writer struct{ b strings.Builder }

func (w *writer) table(keys ...string) {
	if w.b.Len() > 0 {
		w.b.WriteByte('\n')
	}
	w.b.WriteByte('[')
	for i, k := range keys {
		if i > 0 {
			w.b.WriteByte('.')
		}
		w.b.WriteString(bareOrQuoted(k))
	}
	w.b.WriteString("]\n")
}

func (w *writer) value(key, value string) { fmt.Fprintf(&w.b, "%s = %s\n", bareOrQuoted(key), value) }

func (w *writer) text(key, value string) { w.value(key, quoted(value)) }

// quoted is a string of TOML, which does not know all that package strconv escapes.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (w *writer) boolean(key string, value bool) { w.value(key, strconv.FormatBool(value)) }

func (w *writer) duration(key string, value time.Duration) { w.text(key, formatDuration(value)) }

// list writes an array of strings, unless it is empty.
func list[T fmt.Stringer](w *writer, key string, values []T) {
	if len(values) > 0 {
		w.value(key, "["+join(values, func(v T) string { return strconv.Quote(v.String()) })+"]")
	}
}

func (w *writer) integer(key string, value int64) { w.value(key, strconv.FormatInt(value, 10)) }

func (w *writer) director(d Director) {
	w.table("director", d.Name)
	w.text("address", d.Address.String())
	w.integer("priority", int64(d.Priority))
	list(w, "sync_addresses", d.SyncAddresses)
}

func (w *writer) virtualServer(vs VirtualServer, ds []Director) {
	w.table("virtual_server", vs.Name)
	w.serviceAddress(vs)
	w.text("scheduler", vs.Service.Scheduler)
	if names := schedulerFlagNames(vs.Service); names != "" {
		w.value("scheduler_flags", "["+names+"]")
	}
	w.text("forward", forwardName(vs.Forward))
	for _, setting := range vs.Tunnel.settings(vs.Forward) {
		w.value(setting[0], setting[1])
	}
	w.sourceAddress(vs.SourceAddress, ds)
	if len(vs.Checks) > 0 {
		w.value("check", oneOrMore(vs.Checks))
	}
	if vs.Service.Flags&ipvs.FlagPersistent != 0 {
		w.text("persistence", formatDuration(vs.Service.Persistence))
		w.integer("persistence_netmask", int64(vs.Service.PersistenceBits))
		if vs.Service.Engine != "" {
			w.text("persistence_engine", vs.Service.Engine)
		}
	}
	w.poolKeys(vs)
	if s := vs.SorryServer; s != nil {
		w.value("sorry_server", fmt.Sprintf("{ address = %q, %s }", s.Address, forwarding(*s)))
	}
	w.duration("drain_timeout", vs.DrainTimeout)
	w.text("sync", vs.Sync.String())
	if len(vs.RealServers) == 0 {
		return
	}
	w.table("virtual_server", vs.Name, "real_server")
	for _, rs := range vs.RealServers {
		check := ""
		if len(rs.Checks) > 0 {
			check = ", check = " + oneOrMore(rs.Checks)
		}
		if rs.Backup {
			check += ", backup = true"
		}
		w.value(rs.Name, fmt.Sprintf("{ address = %q, weight = %d%s, %s%s }", rs.Address, rs.Weight, connections(rs), forwarding(rs), check))
	}
}

// forwarding is how a real server is reached.
func forwarding(rs RealServer) string {
	text := fmt.Sprintf("forward = %q", forwardName(rs.Forward))
	for _, setting := range rs.Tunnel.settings(rs.Forward) {
		text += ", " + setting[0] + " = " + setting[1]
	}
	return text
}

// connections are the bounds of a real server's connections, if it has any.
func connections(rs RealServer) string {
	text := ""
	if rs.ConnectionsMax != 0 {
		text = fmt.Sprintf(", connections_max = %d", rs.ConnectionsMax)
	}
	if rs.ConnectionsMin != 0 {
		text += fmt.Sprintf(", connections_min = %d", rs.ConnectionsMin)
	}
	return text
}

// serviceAddress writes where a virtual server's packets come to.
func (w *writer) serviceAddress(vs VirtualServer) {
	if key := vs.Service.Key; key.FWMark != 0 {
		w.integer("fwmark", int64(key.FWMark))
		w.text("family", familyWord(key.IPv6))
		list(w, "mark", vs.Ports())
	} else if len(vs.Addresses) == 1 {
		w.text("address", vs.Addresses[0].String())
	} else {
		list(w, "address", vs.Addresses)
	}
	protocol := vs.protocol()
	if protocol != 0 {
		w.text("protocol", protocol.String())
	}
	if protocol == 0 || protocol == ipvs.UDP {
		w.boolean("one_packet", vs.Service.Flags&ipvs.FlagOnePacket != 0)
	}
}

// oneOrMore writes a string, or an array of several.
func oneOrMore(list []string) string {
	if len(list) == 1 {
		return strconv.Quote(list[0])
	}
	return "[" + join(list, strconv.Quote) + "]"
}

func join[T any](list []T, text func(T) string) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = text(v)
	}
	return strings.Join(parts, ", ")
}
