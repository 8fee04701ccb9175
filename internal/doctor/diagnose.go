package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
)

// Role is what a machine is for.
type Role string

// The roles.
const (
	Director   Role = "director"
	RealServer Role = "realserver"
)

func (r Role) words() string {
	if r == RealServer {
		return "real server"
	}
	return string(r)
}

// Roles tells what a machine is in a configuration: a director, a real server, or both.
// None: the configuration does not know it.
func Roles(cfg *conf.Config, f Facts) []Role {
	var roles []Role
	servers := serversHere(cfg, f)
	// A file without directors is that of a plain load balancer, which has no name in it.
	if name, err := cfg.FindDirector(f.Asked, f.Environment, f.Hostname, f.local()); err == nil && (name != "" || len(servers) == 0) {
		roles = append(roles, Director)
	}
	if len(servers) > 0 {
		roles = append(roles, RealServer)
	}
	return roles
}

// Diagnose compares a machine with a configuration in which it has these roles.
func Diagnose(cfg *conf.Config, f Facts, roles ...Role) Report {
	d := diagnosis{cfg: cfg, Facts: f, said: make(map[string]bool)}
	if name, err := cfg.FindDirector(f.Asked, f.Environment, f.Hostname, f.local()); err == nil {
		d.self = name
	}
	if len(roles) == 0 {
		d.stranger()
	}
	for _, role := range roles {
		switch role {
		case RealServer:
			d.realServer()
		case Director:
			d.director()
		}
	}
	for _, u := range f.Unseen {
		finding := Finding{Severity: Unknown, What: u.What + " could not be looked at", Why: sentence(u.Why)}
		if u.Privilege {
			finding.Advice = "Run the doctor as root."
		}
		d.add(finding)
	}
	d.report.Roles = roles
	return d.report
}

// diagnosis is the work on one report.
type diagnosis struct {
	Facts
	cfg    *conf.Config
	self   string // the director that this machine is; empty: none, or one without a name
	report Report
	said   map[string]bool
}

// add adds a finding, once if several objects have it.
func (d *diagnosis) add(f Finding) {
	if !d.said[f.What] {
		d.said[f.What] = true
		d.report.Findings = append(d.report.Findings, f)
	}
}

func (d *diagnosis) wrong(what, why string, commands ...string) {
	d.add(Finding{Severity: Wrong, What: what, Why: why, Commands: commands})
}

func (d *diagnosis) warn(what, why string, commands ...string) {
	d.add(Finding{Severity: Warning, What: what, Why: why, Commands: commands})
}

// advise is wrong with no command that could be known.
func (d *diagnosis) advise(s Severity, what, why, advice string) {
	d.add(Finding{Severity: s, What: what, Why: why, Advice: advice})
}

func (d *diagnosis) fine(format string, args ...any) {
	d.add(Finding{Severity: Fine, What: fmt.Sprintf(format, args...)})
}

// stranger says that the file does not tell what this machine is.
func (d *diagnosis) stranger() {
	_, err := d.cfg.FindDirector(d.Asked, d.Environment, d.Hostname, d.local())
	what := "nothing in " + d.cfg.File + " is about this machine"
	if err != nil {
		what = err.Error()
	}
	d.advise(Wrong, what, "No real server of "+d.cfg.File+" has an address of this machine either: it has "+d.ownText()+".",
		"Give this machine the address that the file has for it, or use the file that is meant for it (-c).")
}

// quote makes one word of a text for a shell.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// ip is the beginning of an iproute2 command that is about routes of an address's family.
func ip(a netip.Addr) string {
	if a.Is6() {
		return "ip -6"
	}
	return "ip"
}

// host is an address with its full prefix length.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func join[T fmt.Stringer](list []T) string {
	var texts []string
	for _, x := range list {
		texts = append(texts, x.String())
	}
	return strings.Join(texts, ", ")
}

// sentence gives a text a capital letter and a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// include adds what is not there yet.
func include[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(list, x)
}
