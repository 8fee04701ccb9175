// Package docs holds the documents and tests that they say what is so.
package docs

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/telemetry"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/vrrpconn"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryMetricIsDocumented holds metrics.md against what the daemon serves.
func TestEveryMetricIsDocumented(t *testing.T) {
	var b strings.Builder
	telemetry.WriteMetrics(&b, director.Status{
		VirtualRouters: []director.RouterStatus{{Counters: vrrp.Counters{Discarded: map[string]uint64{"ttl": 1}}}},
		VRRPProcess:    &director.ProcessStatus{},
		Sync:           &director.SyncStatus{RelayStatus: &director.RelayStatus{}},
	})
	served, documented := make(map[string]string), make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(b.String(), -1) {
		served[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(hadirector_[a-z_]+)` \\| (\\S+) \\|").FindAllStringSubmatch(read(t, "metrics.md"), -1) {
		documented[m[1]] = m[2]
	}
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("served - documented +:\n%s", diff)
	}
}

// TestEveryDiscardReasonIsDocumented holds metrics.md against the tokens of the code, in
// their order.
func TestEveryDiscardReasonIsDocumented(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "metrics.md"), "## Why advertisements are discarded\n")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1) {
		documented = append(documented, m[1])
	}
	if diff := cmp.Diff(append(vrrp.DiscardReasons(), vrrpconn.ReasonOverflow, "other"), documented); diff != "" {
		t.Errorf("counted - documented +:\n%s", diff)
	}
}

// TestEveryDropReasonIsDocumented holds metrics.md against the tokens of the code.
func TestEveryDropReasonIsDocumented(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "metrics.md"), "## Why messages are dropped\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []syncd.DropReason
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1) {
		documented = append(documented, syncd.DropReason(m[1]))
	}
	if diff := cmp.Diff(syncd.DropReasons, documented); diff != "" {
		t.Errorf("counted - documented +:\n%s", diff)
	}
}

// TestDocumentedLogMessagesExist looks for each message of operations.md in the
// sources that log it.
func TestDocumentedLogMessagesExist(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"../internal/director", "../vrrp/router", "../vrrp/routerproc", "../vrrp/vrrpconn", "../syncd/relay", "../cmd/hadirector"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
				source.WriteString(read(t, dir+"/"+e.Name()))
			}
		}
	}
	_, table, _ := strings.Cut(read(t, "operations.md"), "| message | level | means |")
	table, _, _ = strings.Cut(table, "\n\n")
	messages := make(map[string]bool)
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			messages[m[1]] = true
		}
	}
	if len(messages) < 8 {
		t.Fatalf("found only %q in the table", slices.Sorted(maps.Keys(messages)))
	}
	for m := range messages {
		if !strings.Contains(source.String(), `"`+m+`"`) {
			t.Errorf("no source logs %q", m)
		}
	}
}

// TestLinksLeadSomewhere follows every relative link between the documents.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, dir := range []string{".", ".."} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".md") {
				continue
			}
			for _, m := range link.FindAllStringSubmatch(read(t, dir+"/"+e.Name()), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				if _, err := os.Stat(dir + "/" + m[1]); err != nil {
					t.Errorf("%s/%s: link to %s: %v", dir, e.Name(), m[1], err)
				}
			}
		}
	}
}

// TestReadmeNamesEveryCommand holds the README's table against the program's help.
func TestReadmeNamesEveryCommand(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "run", "../cmd/hadirector", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(out), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	program, readme := make(map[string]bool), make(map[string]bool)
	for line := range strings.Lines(list) {
		program[strings.Fields(line)[0]] = true
	}
	delete(program, "help")
	for _, m := range regexp.MustCompile("(?m)^\\| `hadirector (\\S+)` \\|").FindAllStringSubmatch(read(t, "../README.md"), -1) {
		readme[m[1]] = true
	}
	if diff := cmp.Diff(program, readme); diff != "" {
		t.Errorf("program - README +:\n%s", diff)
	}
}

// TestReadmeConfigurationIsValid checks the README's example as an operator would.
func TestReadmeConfigurationIsValid(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^ *```toml\n(.*?)^ *```").FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("no example in the README")
	}
	for _, b := range blocks {
		cfg, err := conf.Parse([]byte(b[1]), "README.md")
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range cfg.Warnings {
			t.Error(w)
		}
	}
}

// TestReadmeInstallsWhereTheUnitLooks holds the README's install command against the unit.
func TestReadmeInstallsWhereTheUnitLooks(t *testing.T) {
	exec := regexp.MustCompile(`(?m)^ExecStart=(\S+)/hadirector `).FindStringSubmatch(read(t, "../dist/hadirector.service"))
	if exec == nil {
		t.Fatal("no ExecStart in the unit")
	}
	if want := "install -m 755 bin/hadirector " + exec[1] + "/"; !strings.Contains(read(t, "../README.md"), want) {
		t.Errorf("the README does not say %q", want)
	}
}

// TestShippedConfigurationIsValid checks the example in dist.
func TestShippedConfigurationIsValid(t *testing.T) {
	if _, err := conf.Load("../dist/hadirector.toml"); err != nil {
		t.Error(err)
	}
}
