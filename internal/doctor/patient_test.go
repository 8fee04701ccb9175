//go:build integration || ipvs

package doctor

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// program is the program: what $HADIRECTOR names, else built here once.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("HADIRECTOR"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "hadirector-doctor-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "hadirector")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/hadirector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

var built string // the directory that program made

// patient is a machine whose doctor is the program itself.
type patient struct {
	*netnstest.NS
	t      *testing.T
	dir    string
	config string
	args   []string
	as     string // user; empty: root
}

// newPatient gives a machine the program and its configuration.
func newPatient(t *testing.T, ns *netnstest.NS, config string, args ...string) *patient {
	t.Helper()
	dir := t.TempDir()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	// A copy, which users without privileges may run too.
	if out, err := exec.Command("install", "-m", "755", path, dir+"/hadirector").CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", path, err, out)
	}
	file := filepath.Join(dir, "ha.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return &patient{NS: ns, t: t, dir: dir, config: file, args: args}
}

// sh types a command at the machine. Its /run is one of its own, which other commands do
// not see.
func (p *patient) sh(command string) (stdout string, err error) {
	p.t.Helper()
	var out, errs strings.Builder
	shell, args := "mount -t tmpfs tmpfs /run && ", []string{"-m"}
	if p.as != "" {
		// With processes of its own: who may not look at those of others says so.
		args = []string{"-m", "--pid", "--fork", "--mount-proc"}
		shell += "exec setpriv --reuid " + p.as + " --clear-groups --bounding-set=-all "
	}
	cmd := exec.Command("unshare", append(args, "sh", "-c", shell+command)...)
	cmd.Env = append(os.Environ(), "PATH="+p.dir+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &out, &errs
	p.Do(func() { err = cmd.Run() })
	if err != nil && errs.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), err
}

// finds asks the doctor, and compares what he finds wrong and warns of.
func (p *patient) finds(want ...string) Report {
	p.t.Helper()
	out, err := p.sh("hadirector doctor --json -c " + p.config + " " + strings.Join(p.args, " "))
	var r Report
	if jerr := json.Unmarshal([]byte(out), &r); jerr != nil {
		p.t.Fatalf("doctor says %q, %v: %v", out, err, jerr)
	}
	var got []string
	for _, f := range r.Findings {
		if strings.HasPrefix(f.What, "the VRRP process ") && f.Severity == Warning {
			continue // not everywhere root has real time to give
		}
		f.What = process.ReplaceAllString(f.What, "(process PID)")
		if f.Severity != Fine {
			got = append(got, string(f.Severity)+": "+f.What)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("doctor finds (-want +got):\n%s", diff)
	}
	if ok := r.Count(Wrong) == 0; ok != (err == nil) {
		p.t.Errorf("doctor finds %d wrong and ends with %v", r.Count(Wrong), err)
	}
	if len(want) == 0 && r.Count(Fine) == 0 {
		p.t.Error("the doctor has looked at nothing")
	}
	return r
}

var process = regexp.MustCompile(`\(process \d+\)`)

// mend types the commands of the findings, each once, but for the one that does not end: see run.
func (p *patient) mend(r Report) {
	p.t.Helper()
	typed := make(map[string]bool)
	for _, f := range r.Findings {
		for _, c := range f.Commands {
			if typed[c] || strings.HasPrefix(c, "hadirector run ") {
				continue
			}
			typed[c] = true
			if _, err := p.sh(c); err != nil {
				p.t.Errorf("%s: %v", c, err)
			}
		}
	}
}

// listen has a program listen at an address until the test or stop ends it.
func (p *patient) listen(addr string) (stop func()) {
	p.t.Helper()
	var l net.Listener
	var err error
	p.Do(func() { l, err = net.Listen("tcp", addr) })
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
	return func() { l.Close() }
}

// run starts the daemon, and returns when it can be asked.
func (p *patient) run(args ...string) {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.dir, "hadirector"), append([]string{"run", "-c", p.config,
		"--runtime-dir", filepath.Join(p.dir, "run"), "--state-dir", filepath.Join(p.dir, "state")}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	p.Start(p.t, cmd)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := p.sh("hadirector status --socket " + filepath.Join(p.dir, "admin.sock"))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			netnstest.Stop(cmd)
			p.t.Fatalf("the daemon does not answer: %v\n%s", err, log.String())
		}
	}
}
