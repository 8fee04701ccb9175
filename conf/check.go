package conf

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// checkKind is what one type of check has beside the keys of all.
type checkKind struct {
	name healthcheck.Type
	keys []string
	// portless tells that the check does not need the port of the real server's address.
	portless bool
	// read fills in what belongs to the type, and write is its inverse; nil: nothing does.
	read  func(p *parser, t *node, s *healthcheck.Spec)
	write func(w *writer, s healthcheck.Spec)
}

// checkKinds are the types of checks, in the order in which messages name them.
var checkKinds = []checkKind{
	{name: healthcheck.TCP},
	httpCheck,
	icmpCheck,
	scriptCheck,
	fileCheck,
	agentCheck,
}

var (
	checkGrammar = grammar{keys: checkKeys()}
	checkTypes   = namesOf(checkKinds)
	laterTypes   = []string{"https", "dns", "smtp", "udp", "grpc"}
)

// checkKeys are the keys of all types together.
func checkKeys() []string {
	keys := []string{"type", "interval", "timeout", "rise", "fall"}
	for _, kind := range checkKinds {
		for _, key := range kind.keys {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
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
		if later, _ := stringOf(t.kid("type")); !slices.Contains(laterTypes, later) {
			p.table(t, checkGrammar) // a later type has keys that are not known
		}
		kind := p.choice(p.required(t, "type", strings.Join(checkTypes, ", ")), "a check's type", "", checkTypes, laterTypes, nil)
		if kind == "" {
			specs = append(specs, healthcheck.Spec{Name: name})
			continue
		}
		s := healthcheck.Spec{
			Name:     name,
			Type:     healthcheck.Type(kind),
			Interval: p.duration(t.kid("interval"), defaultCheckInterval, 100*time.Millisecond, 24*time.Hour, time.Millisecond),
			Timeout:  p.duration(t.kid("timeout"), defaultCheckTimeout, 10*time.Millisecond, 10*time.Minute, time.Millisecond),
			Rise:     int(p.integer(t.kid("rise"), defaultRise, 1, 1000)),
			Fall:     int(p.integer(t.kid("fall"), defaultFall, 1, 1000)),
		}
		if s.Timeout > s.Interval {
			p.warnf(t.at("timeout"), "the timeout %s is longer than the interval %s: a real server that does not answer is asked every %s only",
				formatDuration(s.Timeout), formatDuration(s.Interval), formatDuration(s.Timeout))
		}
		p.foreignCheckKeys(t, s.Type)
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
		for _, key := range kind.keys {
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
	kind, _ := stringOf(p.root.at("check", check, "type"))
	return !slices.ContainsFunc(checkKinds, func(k checkKind) bool { return string(k.name) == kind && k.portless })
}

func (w *writer) check(s healthcheck.Spec) {
	w.table("check", s.Name)
	w.text("type", string(s.Type))
	w.text("interval", formatDuration(s.Interval))
	w.text("timeout", formatDuration(s.Timeout))
	w.integer("rise", int64(s.Rise))
	w.integer("fall", int64(s.Fall))
	if write := kindOf(s.Type).write; write != nil {
		write(w, s)
	}
}
