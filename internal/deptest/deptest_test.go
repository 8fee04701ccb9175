package deptest

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Only direct imports count: net/netip itself imports half of what level 0 must not.
// Packages that do not compile are looked at as well.
func TestEveryPackageKeepsItsLevel(t *testing.T) {
	lookAtSources(t)
	out, err := exec.Command("go", "list", "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`, Module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr(err))
	}
	var pkgs []Package
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pkgs = append(pkgs, Package{Path: f[0], Imports: f[1:]})
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found only %d packages of %s", len(pkgs), Module)
	}
	for _, v := range Check(pkgs) {
		t.Error(v)
	}
}

// lookAtSources walks through the module, so that go test, which remembers what a
// test has looked at, does not answer from its cache when a file has changed.
func lookAtSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func stderr(err error) []byte {
	if e, ok := err.(*exec.ExitError); ok {
		return e.Stderr
	}
	return nil
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name    string
		pkg     string
		imports string
		want    string // start of the one violation; empty for none
	}{
		{"pure with its standard library", "vrrp", "fmt net/netip time", ""},
		{"pure with a socket", "vrrp", "fmt net", "vrrp imports net: a level 0 package"},
		{"pure with a log", "ipvs", "log/slog", "ipvs imports log/slog: a level 0 package"},
		{"pure with another pure one", "syncd", Module + "/ipvs", "syncd imports ipvs: a level 0 package"},
		{"pure with a third-party module", "vrrp", "github.com/google/go-cmp/cmp", "vrrp imports github.com/google/go-cmp/cmp: no package is named"},
		{"pure with x/sys", "vrrp", "golang.org/x/sys/unix", "vrrp imports golang.org/x/sys/unix: no package is named"},
		{"the monitor's context", "healthcheck", "context sync", ""},
		{"a context elsewhere", "vrrp", "context", "vrrp imports context: a level 0 package"},
		{"shell with its subject", "vrrp/router", Module + "/vrrp log/slog os", ""},
		{"shell with another subject", "vrrp/router", Module + "/ipvs", "vrrp/router imports ipvs: a level 1 package"},
		{"shell with another shell", "vrrp/router", Module + "/internal/netif", "vrrp/router imports internal/netif: a level 1 package"},
		{"shell with the config", "ipvs/ipvsnl", Module + "/conf", "ipvs/ipvsnl imports conf: a level 1 package"},
		{"shell with x/sys", "ipvs/ipvsnl", "golang.org/x/sys/unix", ""},
		{"through its door", "internal/netif", "github.com/vishvananda/netlink", ""},
		{"beside the door", "vrrp/vrrpconn", "github.com/vishvananda/netlink", "vrrp/vrrpconn imports github.com/vishvananda/netlink: github.com/vishvananda/netlink is used through internal/netif and ipvs/ipvsnl alone"},
		{"a door of its own inside another", "vrrp/vrrpconn", "golang.org/x/net/bpf", "vrrp/vrrpconn imports golang.org/x/net/bpf: golang.org/x/net/bpf is used through internal/netif and syncd/syncconn alone"},
		{"gRPC outside of tests", "healthcheck/probe", "google.golang.org/grpc", "healthcheck/probe imports google.golang.org/grpc: no package is named"},
		{"config with pure ones", "conf", Module + "/vrrp " + Module + "/ipvs github.com/BurntSushi/toml", ""},
		{"config with a shell", "conf", Module + "/internal/netif", "conf imports internal/netif: conf turns TOML"},
		{"director with config and pure ones", "internal/director", Module + "/conf " + Module + "/vrrp", ""},
		{"director with a shell", "internal/director", Module + "/ipvs/ipvsnl", "internal/director imports ipvs/ipvsnl: a level 3 package"},
		{"another part with the director", "internal/telemetry", Module + "/internal/director", ""},
		{"the command with anything", "cmd/hadirector", Module + "/ipvs/ipvsnl " + Module + "/internal/director", ""},
		{"the command with a test helper", "cmd/hadirector", Module + "/internal/netnstest", "cmd/hadirector imports internal/netnstest: it is for tests"},
		{"the command beside a door", "cmd/hadirector", "github.com/moby/ipvs", "cmd/hadirector imports github.com/moby/ipvs: github.com/moby/ipvs is used through ipvs/ipvsnl alone"},
		{"the lab with anything", "lab/cluster", Module + "/internal/netnstest github.com/moby/ipvs", ""},
		{"a package without a level", "internal/util", "fmt", "package internal/util has no level"},
		{"a module without a door", "internal/telemetry", "example.org/x", "internal/telemetry imports example.org/x: no package is named"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Check([]Package{{Path: Module + "/" + tt.pkg, Imports: strings.Fields(tt.imports)}})
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("violations %q, want none", got)
			case tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)):
				t.Errorf("violations (-want +got):\n%s", cmp.Diff([]string{tt.want + "…"}, got))
			}
		})
	}
}
