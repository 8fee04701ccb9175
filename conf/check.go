package conf

import (
	"maps"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// checkKind is what one type of check has beside the keys of all.
type checkKind struct {
	name healthcheck.Type
	keys []string
	// connects says that it opens a connection, for which there is connect_timeout.
	connects bool
	// portless tells that the check does not need the port of the real server's address.
	portless bool
	// read fills in what belongs to the type, and write is its inverse; nil: nothing does.
	read  func(p *parser, t *node, s *healthcheck.Spec)
	write func(w *writer, s healthcheck.Spec)
}

// checkKinds are the types of checks, in the order in which messages name them.
var checkKinds = []checkKind{
	tcpCheck,
	httpCheck,
	httpsCheck,
	grpcCheck,
	dnsCheck,
	smtpCheck,
	udpCheck,
	icmpCheck,
	scriptCheck,
	fileCheck,
	agentCheck,
}

var (
	checkGrammar = grammar{keys: checkKeys(), others: othersCheckKeys}
	checkTypes   = namesOf(checkKinds)
)

// What keepalived and others call our types and keys.
var (
	othersCheckTypes = map[string]string{"tcp_check": "tcp", "http_get": "http", "ssl_get": "https", "dns_check": "dns", "smtp_check": "smtp", "udp_check": "udp",
		"misc_check": "script", "file_check": "file", "ping_check": "icmp",
		"ping": "icmp", "exec": "script", "agent-check": "agent"}
	othersCheckKeys = map[string]string{
		"delay_loop": "interval", "helo_name": "helo", "require_reply": "reply",
		"min_reply_length": "reply_min", "max_reply_length": "reply_max",
	}
)

// checkKeys are the keys of all types together.
func checkKeys() []string {
	keys := append([]string{"type"}, timingKeys...)
	for _, kind := range checkKinds {
		for _, key := range kind.own() {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// own are the keys that not every type has.
func (k checkKind) own() []string {
	var keys []string
	if k.connects {
		keys = append(keys, connectTimeout)
	}
	if !k.portless {
		keys = append(keys, portKey, viaKey)
	}
	return append(keys, k.keys...)
}

func namesOf(kinds []checkKind) []string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind.name)
	}
	return names
}

func kindOf(t healthcheck.Type) checkKind {
	return checkKinds[slices.IndexFunc(checkKinds, func(k checkKind) bool { return k.name == t })]
}

// checks reads [check.NAME].
func (p *parser) checks(n *node) []healthcheck.Spec {
	var specs []healthcheck.Spec
	for name, t := range p.named(n, checkGrammar, "[check.NAME]") {
		p.table(t, checkGrammar)
		kind := p.choice(p.required(t, "type", strings.Join(checkTypes, ", ")), "a check's type", "", checkTypes, othersCheckTypes)
		if kind == "" {
			specs = append(specs, healthcheck.Spec{Name: name})
			continue
		}
		s := healthcheck.Spec{Name: name, Type: healthcheck.Type(kind)}
		p.timing(t, &s, kindOf(s.Type).connects)
		p.foreignCheckKeys(t, s.Type)
		if !kindOf(s.Type).portless {
			s.Port = p.checkPort(t)
			s.ViaVIP = p.via(t)
		}
		if read := kindOf(s.Type).read; read != nil {
			read(p, t, &s)
		}
		specs = append(specs, s)
	}
	return specs
}

// foreignCheckKeys reports keys of other types.
func (p *parser) foreignCheckKeys(t *node, is healthcheck.Type) {
	owners := make(map[string][]string)
	for _, kind := range checkKinds {
		for _, key := range kind.own() {
			owners[key] = append(owners[key], string(kind.name))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(owners)) {
		if k := t.kid(key); k != nil && !slices.Contains(owners[key], string(is)) {
			p.keyErrorf(k, "%s is for %s checks, and this one has type %q", key, strings.Join(owners[key], ", "), is)
		}
	}
}

// needsPort tells whether a check asks the port of the real server's address. One that is
// not known has been reported.
func (p *parser) needsPort(check string) bool {
	if p.root.kid("check").kid(check).kid(portKey) != nil {
		return false
	}
	kind, _ := stringOf(p.root.at("check", check, "type"))
	return !slices.ContainsFunc(checkKinds, func(k checkKind) bool { return string(k.name) == kind && k.portless })
}

func (w *writer) check(s healthcheck.Spec) {
	w.table("check", s.Name)
	w.text("type", string(s.Type))
	w.timing(s)
	if !kindOf(s.Type).portless {
		w.via(s.ViaVIP)
	}
	w.checkPort(s.Port)
	if write := kindOf(s.Type).write; write != nil {
		write(w, s)
	}
}
