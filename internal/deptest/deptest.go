// Package deptest says which package may import what, and finds those that do
// otherwise.
//
// The levels, from the bottom:
//
//	0  pure: a protocol, a table, a decision as values
//	1  shells: one kernel interface, socket or third-party module each
//	2  conf: TOML to the values of level 0
//	3  the daemon's parts, which level 4 hands the shells to
//	4  commands
//
// Test helpers and the lab stand outside: they may import anything, and only tests
// and each other may import them.
package deptest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is the module's path.
const Module = "github.com/hadirector/hadirector"

// Package is a package and what its non-test files import, both as import paths.
type Package struct {
	Path    string
	Imports []string
}

// rule is a package's place.
type rule struct {
	level level
	// std are standard library packages that a pure package needs besides those of
	// its level.
	std []string
	// uses are the own packages of the module that it may import. Levels 2 to 4 need
	// not name what is below them: see forbiddenOwn.
	uses []string
}

type level int

const (
	pure level = iota
	shell
	config
	part
	command
	outside // test helpers and the lab
)

// reasons say why a level has its limits. They end the message about a violation.
var reasons = map[level]string{
	pure:   "a level 0 package is values in, values out, so that every decision can be tested without a kernel, a clock or a network",
	shell:  "a level 1 package is a thin shell around one thing and knows level 0 of its subject, and nobody else's shell",
	config: "conf turns TOML into the types of level 0 and must not depend on what runs them",
	part:   "a level 3 package declares the interfaces that it needs and is handed the shells, so that the whole daemon runs in a test without a kernel",
}

// pureStd is what level 0 may import of the standard library.
var pureStd = []string{
	"bufio", "cmp", "encoding/binary", "errors", "fmt", "io", "iter", "maps", "math/rand/v2",
	"net/netip", "slices", "strconv", "strings", "time",
}

// rules has every package of the module, without the module's path. One that is
// not here has no level, which is a violation.
var rules = map[string]rule{
	"vrrp":        {level: pure, std: []string{"crypto/hmac", "crypto/sha256", "crypto/subtle"}}, // signed advertisements
	"ipvs":        {level: pure},
	"syncd":       {level: pure},
	"healthcheck": {level: pure, std: []string{"context", "sync"}}, // the monitor's loop

	"vrrp/router":         {level: shell, uses: []string{"vrrp"}},
	"vrrp/vrrpconn":       {level: shell, uses: []string{"vrrp", "vrrp/router"}}, // implements router.Conn
	"vrrp/routerproc":     {level: shell, uses: []string{"vrrp"}},
	"healthcheck/probe":   {level: shell, uses: []string{"healthcheck"}},
	"ipvs/ipvsnl":         {level: shell, uses: []string{"ipvs", "syncd"}}, // also steers the kernel's sync daemons
	"syncd/peers":         {level: shell, uses: []string{"syncd"}},
	"syncd/relay":         {level: shell, uses: []string{"syncd"}},
	"syncd/syncconn":      {level: shell, uses: []string{"syncd"}},
	"internal/netif":      {level: shell, uses: []string{"vrrp", "vrrp/router", "internal/atomicfile", "internal/sysctl"}}, // implements router.Links and others
	"internal/nft":        {level: shell, uses: []string{"ipvs", "vrrp/router"}},                                           // implements router.Filter
	"internal/journal":    {level: shell, uses: []string{"vrrp", "healthcheck", "ipvs", "syncd"}},
	"internal/atomicfile": {level: shell},
	"internal/clusterkey": {level: shell, uses: []string{"internal/atomicfile"}},
	"internal/sdnotify":   {level: shell},
	"internal/sysctl":     {level: shell, uses: []string{"ipvs", "internal/atomicfile"}}, // the director's parameters

	"conf": {level: config},

	"internal/director":   {level: part, uses: []string{"internal/atomicfile"}},                                                                                                            // the ledger's file
	"internal/telemetry":  {level: part, uses: []string{"internal/director"}},                                                                                                              // reads its snapshot
	"internal/admin":      {level: part, uses: []string{"internal/director", "internal/journal"}},                                                                                          // serves both
	"internal/doctor":     {level: part, uses: []string{"internal/admin", "internal/clusterkey", "internal/director", "internal/netif", "internal/nft", "internal/sysctl", "ipvs/ipvsnl"}}, // a command of its own, with or without the daemon
	"internal/realserver": {level: part, uses: []string{"internal/atomicfile", "internal/netif", "internal/sysctl"}},                                                                       // a command of its own, without the daemon

	"cmd/hadirector": {level: command},

	"docs":               {level: outside},
	"internal/deptest":   {level: outside},
	"internal/e2e":       {level: outside},
	"internal/golden":    {level: outside},
	"internal/netnstest": {level: outside},
	"ipvs/ipvstest":      {level: outside},
	"vrrp/vrrptest":      {level: outside},
}

// doors are the packages through which a third-party package, with everything
// below its path, is used. Nobody else may import it: it can then be replaced in
// one place.
var doors = []struct {
	path string
	by   []string
}{
	{"github.com/BurntSushi/toml", []string{"conf"}},
	{"github.com/VictoriaMetrics/metrics", []string{"internal/telemetry"}},
	{"github.com/coreos/go-systemd/v22", []string{"internal/sdnotify"}},
	{"github.com/google/nftables", []string{"internal/nft"}},
	{"github.com/mdlayher/netlink", []string{"internal/nft"}}, // the socket options of nftables
	{"github.com/hashicorp/memberlist", []string{"syncd/peers"}},
	{"github.com/mdlayher/arp", []string{"internal/netif"}},
	{"github.com/mdlayher/ndp", []string{"internal/netif"}},
	{"github.com/mdlayher/packet", []string{"internal/netif"}},
	{"github.com/miekg/dns", []string{"healthcheck/probe"}},
	{"github.com/moby/ipvs", []string{"ipvs/ipvsnl"}},
	{"github.com/sirupsen/logrus", []string{"ipvs/ipvsnl"}}, // the logger of moby/ipvs
	{"github.com/spf13/cobra", []string{"cmd/hadirector"}},
	{"github.com/vishvananda/netlink/nl", []string{"internal/netif", "ipvs/ipvsnl"}},
	{"github.com/vishvananda/netlink", []string{"internal/netif", "ipvs/ipvsnl"}},
	{"github.com/vishvananda/netns", []string{"ipvs/ipvsnl"}},
	{"golang.org/x/net/bpf", []string{"internal/netif", "syncd/syncconn"}},
	{"golang.org/x/net", []string{"healthcheck/probe", "vrrp/vrrpconn"}},
}

// Check returns a sentence for every import that a package's level forbids, and for
// every package that has no level.
func Check(pkgs []Package) []string {
	var found []string
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.Path, Module+"/")
		r, ok := ruleOf(name)
		if !ok {
			found = append(found, fmt.Sprintf("package %s has no level: give it one in internal/deptest/deptest.go, with what it may import", name))
			continue
		}
		if r.level == outside {
			continue
		}
		for _, imp := range p.Imports {
			if why := forbidden(name, r, imp); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", name, strings.TrimPrefix(imp, Module+"/"), why))
			}
		}
	}
	return found
}

func ruleOf(name string) (rule, bool) {
	if name == "lab" || strings.HasPrefix(name, "lab/") {
		return rule{level: outside}, true
	}
	r, ok := rules[name]
	return r, ok
}

// forbidden says why a package must not import another, or nothing.
func forbidden(name string, r rule, imp string) string {
	if own, ok := strings.CutPrefix(imp, Module+"/"); ok {
		return forbiddenOwn(r, own)
	}
	if !strings.Contains(strings.Split(imp, "/")[0], ".") {
		if r.level == pure && !slices.Contains(pureStd, imp) && !slices.Contains(r.std, imp) {
			return reasons[pure]
		}
		return ""
	}
	if below(imp, "golang.org/x/sys") && r.level != pure && r.level != config {
		return ""
	}
	// The first door that matches is the most specific one.
	for _, d := range doors {
		if !below(imp, d.path) {
			continue
		}
		if slices.Contains(d.by, name) {
			return ""
		}
		return fmt.Sprintf("%s is used through %s alone, so that it can be replaced there", d.path, strings.Join(d.by, " and "))
	}
	return "no package is named in internal/deptest/deptest.go as the one through which it is used"
}

func forbiddenOwn(r rule, own string) string {
	target, ok := ruleOf(own)
	switch {
	case ok && target.level == outside:
		return "it is for tests"
	case r.level == command:
		return ""
	case slices.Contains(r.uses, own):
		return ""
	case ok && (r.level == config || r.level == part) && target.level == pure:
		return ""
	case ok && r.level == part && target.level == config:
		return ""
	}
	return reasons[r.level]
}

// below tells whether an import path is dir or in it.
func below(imp, dir string) bool { return imp == dir || strings.HasPrefix(imp, path.Clean(dir)+"/") }
