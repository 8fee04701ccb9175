//go:build integration

package doctor

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	os.Exit(m.Run())
}

// patient is a machine whose doctor is the program itself.
type patient struct {
	*netnstest.NS
	t      *testing.T
	dir    string
	config string
	args   []string
}

// newPatient builds the program and writes the configuration for it.
func newPatient(t *testing.T, ns *netnstest.NS, config string, args ...string) *patient {
	t.Helper()
	dir := t.TempDir()
	if built := os.Getenv("HADIRECTOR"); built != "" { // as in internal/e2e
		if err := os.Symlink(built, filepath.Join(dir, "hadirector")); err != nil {
			t.Fatal(err)
		}
	} else {
		build(t, filepath.Join(dir, "hadirector"))
	}
	file := filepath.Join(dir, "ha.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return &patient{NS: ns, t: t, dir: dir, config: file, args: args}
}

func build(t *testing.T, path string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/hadirector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
}

// sh types a command at the machine. Its /run is one of its own, which other commands do
// not see.
func (p *patient) sh(command string) (stdout string, err error) {
	p.t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command("unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /run && "+command)
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
	out, err := p.sh("exec hadirector doctor --json -c " + p.config + " " + strings.Join(p.args, " "))
	var r Report
	if jerr := json.Unmarshal([]byte(out), &r); jerr != nil {
		p.t.Fatalf("doctor says %q, %v: %v", out, err, jerr)
	}
	var got []string
	for _, f := range r.Findings {
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

// mend types the commands of the findings.
func (p *patient) mend(r Report) {
	p.t.Helper()
	for _, f := range r.Findings {
		for _, c := range f.Commands {
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

func TestTheDoctorMendsARealServer(t *testing.T) {
	rs, other := netnstest.New(t, "rs"), netnstest.New(t, "other")
	netnstest.Cable(t, rs, "eth0", other, "eth0")
	for _, name := range []string{"all", "default", "eth0", "lo"} {
		for _, parameter := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			rs.Sysctl(t, "net/ipv4/conf/"+name+"/"+parameter, "0")
		}
	}
	rs.IP(t, "addr add 10.0.0.21/24 dev eth0")
	rs.IP(t, "addr add 2001:db8::21/64 dev eth0 nodad")
	rs.IP(t, "route add default via 10.0.0.254")
	other.IP(t, "addr add 2001:db8::100/64 dev eth0 nodad")
	p := newPatient(t, rs, pairOfDirectors+`
[virtual_server.web]
address = ["10.0.0.100:80", "10.0.0.101:80"]
protocol = "tcp"
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
[virtual_server.web6]
address = "[2001:db8::100]:80"
protocol = "tcp"
check = "c"
real_server = { a = { address = "[2001:db8::21]:80" } }
[virtual_server.api]
address = "10.0.0.100:8080"
protocol = "tcp"
forward = "nat"
check = "c"
real_server = { a = { address = "10.0.0.21:8081" } }
`)
	stop := p.listen("10.0.0.21:80")

	// What scripts that somebody found somewhere leave behind.
	rs.IP(t, "addr add 10.0.0.101/24 dev eth0")
	rs.IP(t, "addr add 10.0.0.100/24 dev lo")
	rs.IP(t, "addr add 2001:db8::100/64 dev eth0")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(rs.IP(t, "-6 addr show dev eth0"), "dadfailed"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("duplicate address detection finds nothing:\n%s", rs.IP(t, "-6 addr show dev eth0"))
		}
	}
	sick := p.finds(
		"wrong: arp_ignore is 0 on eth0: this machine answers ARP for the virtual addresses",
		"wrong: arp_announce is less than 2 on eth0: this machine asks by ARP in the name of virtual addresses",
		"wrong: the virtual address 10.0.0.100 is on lo with the prefix length /24 instead of /32",
		"wrong: the virtual address 10.0.0.101 is on eth0, an interface on the network",
		"wrong: duplicate address detection failed for the virtual address 2001:db8::100/64 on eth0",
		"wrong: answers from 10.0.0.21 to clients go past the director, by 10.0.0.254",
		"wrong: the program that listens on tcp 10.0.0.21:80 does not listen on 10.0.0.100:80, for virtual server web",
		"wrong: the program that listens on tcp 10.0.0.21:80 does not listen on 10.0.0.101:80, for virtual server web",
		"wrong: no program listens on tcp [2001:db8::100]:80, for virtual server web6",
		"wrong: no program listens on tcp 10.0.0.21:8081, for virtual server api",
	)
	p.mend(sick)
	stop()
	p.listen("[::]:80") // both families
	p.listen("10.0.0.21:8081")
	p.finds()
}
