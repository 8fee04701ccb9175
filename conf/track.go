package conf

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hadirector/hadirector/healthcheck"
)

// Track is [track.NAME]: something about this director, or that it sees, that changes
// the priority of virtual routers or takes them out.
type Track struct {
	Name string
	Type TrackType
	// Interface is what a TrackInterface looks at.
	Interface string
	// VirtualServer is the name of the one that a TrackVirtualServer looks at: it is well
	// as long as its quorum is met.
	VirtualServer string
	// Spec is the check of the other types.
	Spec healthcheck.Spec
}

// TrackType is the kind of a track. Those that are a check have that one's name.
type TrackType string

// The types of tracks.
const (
	TrackInterface     TrackType = "interface"
	TrackVirtualServer TrackType = "virtual_server"
	TrackScript                  = TrackType(healthcheck.Script)
	TrackFile                    = TrackType(healthcheck.File)
	TrackProcess                 = TrackType(healthcheck.Process)
	TrackPing                    = TrackType(healthcheck.Ping)
)

var (
	trackGrammar = grammar{keys: []string{"type", "interface", "virtual_server", "command", "user", "path", "process",
		"full_command", "quorum", "address", "interval", "timeout", "rise", "fall"}}
	trackTypes = []string{string(TrackInterface), string(TrackScript), string(TrackFile), string(TrackProcess), string(TrackPing),
		string(TrackVirtualServer)}
	// trackKeys are the keys of each type, beside the type itself.
	trackKeys = map[TrackType][]string{
		TrackInterface:     {"interface"},
		TrackVirtualServer: {"virtual_server"},
		TrackScript:        {"command", "user", "interval", "timeout", "rise", "fall"},
		TrackFile:          {"path", "interval"},
		TrackProcess:       {"process", "full_command", "quorum", "interval", "rise", "fall"},
		TrackPing:          {"address", "interface", "interval", "timeout", "rise", "fall"},
	}
)

// tracks reads [track.NAME].
func (p *parser) tracks(n *node) []Track {
	var all []Track
	for name, t := range p.named(n, trackGrammar, "[track.NAME]") {
		p.table(t, trackGrammar)
		kind := TrackType(p.choice(p.required(t, "type", strings.Join(trackTypes, ", ")), "a track's type", "", trackTypes,
			map[string]string{"icmp": "ping", "link": "interface", "vs": "virtual_server"}))
		tr := Track{Name: name, Type: kind}
		if kind != "" {
			p.foreignTrackKeys(t, kind)
			p.track(t, &tr)
		}
		all = append(all, tr)
	}
	return all
}

// foreignTrackKeys reports keys of other types.
func (p *parser) foreignTrackKeys(t *node, kind TrackType) {
	for _, k := range t.kids {
		if k.name == "type" || slices.Contains(trackKeys[kind], k.name) || !slices.Contains(trackGrammar.keys, k.name) {
			continue
		}
		var of []string
		for _, other := range trackTypes {
			if slices.Contains(trackKeys[TrackType(other)], k.name) {
				of = append(of, other)
			}
		}
		p.keyErrorf(k, "%s is for tracks of type %s, and this one has type %q", k.name, strings.Join(of, ", "), kind)
	}
}

// track reads what belongs to the type.
func (p *parser) track(t *node, tr *Track) {
	switch tr.Type {
	case TrackInterface:
		tr.Interface = p.interfaceName(p.required(t, "interface", `the interface's name, such as "eth1"`))
		return
	case TrackVirtualServer:
		tr.VirtualServer = p.virtualServerName(p.required(t, "virtual_server", "the name of a virtual server"))
		return
	}
	tr.Spec = healthcheck.Spec{
		Name:     tr.Name,
		Type:     healthcheck.Type(tr.Type),
		Interval: p.duration(t.kid("interval"), defaultTrackInterval, 100*time.Millisecond, 24*time.Hour, time.Millisecond),
		Jitter:   defaultJitter,
	}
	s := &tr.Spec
	rise, fall, timeout := int64(defaultTrackRise), int64(defaultTrackFall), s.Interval
	switch tr.Type {
	case TrackScript:
		s.Script = healthcheck.ScriptSpec{
			Command: p.command(p.required(t, "command", `the program and its arguments, such as ["/usr/lib/hadirector/check", "eth1"]`)),
			User:    p.user(t.kid("user")),
		}
	case TrackFile:
		s.File.Path = p.absolute(p.required(t, "path", "the file's path"), "")
	case TrackProcess:
		s.Process = p.processSpec(t)
	case TrackPing:
		rise, fall, timeout = defaultPingRise, defaultPingFall, defaultPingTimeout
		s.Ping = p.pingSpec(t)
	}
	if slices.Contains(trackKeys[tr.Type], "timeout") {
		timeout = p.duration(t.kid("timeout"), timeout, 10*time.Millisecond, 10*time.Minute, time.Millisecond)
	}
	s.Timeout = timeout
	if slices.Contains(trackKeys[tr.Type], "rise") {
		rise = p.integer(t.kid("rise"), rise, 1, 1000)
		fall = p.integer(t.kid("fall"), fall, 1, 1000)
	}
	s.Rise, s.Fall = int(rise), int(fall)
	if s.Timeout > s.Interval {
		p.warnf(t.at("timeout"), "the timeout %s is longer than the interval %s: what does not answer is asked every %s only",
			formatDuration(s.Timeout), formatDuration(s.Interval), formatDuration(s.Timeout))
	}
}

// command reads a program and its arguments. There is no shell, so nothing is split or
// expanded.
func (p *parser) command(n *node) string {
	const want = `an array of the program and its arguments, such as ["/usr/lib/hadirector/check", "eth1"]`
	if n == nil || !p.array(n, want) {
		return ""
	}
	if len(n.elems) == 0 {
		p.errorf(n, "want %s, found an empty array", want)
		return ""
	}
	words := make([]string, 0, len(n.elems))
	for i, e := range n.elems {
		if i == 0 {
			words = append(words, p.absolute(e, ""))
			continue
		}
		s, ok := read[string](p, e, "an argument, a string")
		if ok && strings.ContainsFunc(s, unicode.IsControl) {
			p.errorf(e, "%q has a control character", shorten(s))
		}
		words = append(words, s)
	}
	return strings.Join(words, "\x00")
}

// user reads whom a program runs as. Whether the machine knows it is not looked up: the
// file is for all directors.
func (p *parser) user(n *node) string {
	s := p.text(n, "a user's name or number", defaultScriptUser)
	if len(s) > 32 || strings.ContainsFunc(s, notInName) {
		p.errorf(n, "%q cannot be a user's name", shorten(s))
		return defaultScriptUser
	}
	return s
}

// maxComm is the kernel's TASK_COMM_LEN without the zero at its end.
const maxComm = 15

func (p *parser) processSpec(t *node) healthcheck.ProcessSpec {
	n := p.required(t, "process", `the name of a command, such as "named"`)
	s := healthcheck.ProcessSpec{
		Name:   p.text(n, `the name of a command, such as "named"`, ""),
		Full:   p.boolean(t.kid("full_command"), false),
		Quorum: int(p.integer(t.kid("quorum"), 1, 1, 1<<22)), // the kernel's most processes
	}
	switch {
	case s.Full:
	case strings.HasPrefix(s.Name, "/"):
		p.errorf(n, "%q is a path, and the kernel keeps a command's name alone: write %q, or set full_command = true for the command line",
			shorten(s.Name), shorten(s.Name[strings.LastIndexByte(s.Name, '/')+1:]))
	case len(s.Name) > maxComm:
		p.warnf(n, "the kernel keeps %d bytes of a command's name: every command that begins with %q counts", maxComm, s.Name[:maxComm])
	}
	return s
}

func (p *parser) pingSpec(t *node) healthcheck.PingSpec {
	n := p.required(t, "address", `the address to ask, such as "10.0.0.1"`)
	s := healthcheck.PingSpec{Interface: p.interfaceName(t.kid("interface")), Address: p.addressOnLink(n)}
	if s.Address.Is6() && s.Address.IsLinkLocalUnicast() && t.kid("interface") == nil {
		p.errorf(n, "%s is link-local: without an interface it leads nowhere", s.Address)
		s.Address = netip.Addr{}
	}
	return s
}

// virtualServerName reads the name of a virtual server, which has to be there.
func (p *parser) virtualServerName(n *node) string {
	name, ok := read[string](p, n, "the name of a virtual server")
	if !ok {
		return ""
	}
	servers := p.root.kid("virtual_server")
	if servers.kid(name) != nil {
		return name
	}
	var names []string
	if servers != nil {
		for _, k := range servers.kids {
			names = append(names, k.name)
		}
	}
	p.errorf(n, "no virtual server is named %q%s", shorten(name), didYouMean(p.suggest(name, names)))
	return ""
}

func trackIndex(ts []Track, name string) int {
	return slices.IndexFunc(ts, func(t Track) bool { return t.Name == name })
}

func (w *writer) track(t Track) {
	w.table("track", t.Name)
	w.text("type", string(t.Type))
	s := t.Spec
	switch t.Type {
	case TrackInterface:
		w.text("interface", t.Interface)
	case TrackVirtualServer:
		w.text("virtual_server", t.VirtualServer)
	case TrackScript:
		w.command(s.Script.Command)
		w.text("user", s.Script.User)
	case TrackFile:
		w.text("path", s.File.Path)
	case TrackProcess:
		w.text("process", s.Process.Name)
		w.boolean("full_command", s.Process.Full)
		w.integer("quorum", int64(s.Process.Quorum))
	case TrackPing:
		w.text("address", s.Ping.Address.String())
		if s.Ping.Interface != "" {
			w.text("interface", s.Ping.Interface)
		}
	}
	for _, key := range trackKeys[t.Type] {
		switch key {
		case "interval":
			w.duration(key, s.Interval)
		case "timeout":
			w.duration(key, s.Timeout)
		case "rise":
			w.integer(key, int64(s.Rise))
		case "fall":
			w.integer(key, int64(s.Fall))
		}
	}
}
