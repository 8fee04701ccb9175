//go:build ipvs && systemd

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// confession has a script say what it is, and fail: its user, its inheritable, permitted,
// effective and ambient capabilities, how the kernel treats it, and what is open beside
// standard input and output: the list of that itself. It waits until it is as expendable as
// any program, which comes just after its start. The shell does all of it alone, because in
// the virtual machine a process is dear.
const confession = `until read oom </proc/$$/oom_score_adj; test "$oom" = 0; do :; done; ` +
	`while read key value rest; do case $key in Uid:|Cap[IPEA]*) said="$said $value" ;; esac; done </proc/$$/status; ` +
	`read stat </proc/$$/stat; set -- $stat; echo uid caps$said oom $oom nice ${19} policy ${41} files /proc/$$/fd/[3-9]*; exit 1`

// unitConfig is /etc/hadirector/hadirector.toml: all that the lab has, and what else touches
// the kernel or starts processes. Times are long, because this is not about them.
var unitConfig = strings.NewReplacer(
	"vrid ", "advert_interval = \"300ms\"\ntrack = { mine = 60, roots = 60 }\nvrid ",
	"[admin]\nsocket = \""+cluster.Socket+"\"\n", "",
	`"500ms"`, `"20s"`, `"1s"`, `"30s"`,
).Replace(cluster.VRRP+fmt.Sprintf(cluster.Services, "/etc/hadirector/cluster.key")) + `
[vrrp.own-link]
interface         = "eth0"
vrid              = 52
advert_interval   = "300ms"
virtual_addresses = ["10.0.0.101/24"]
vmac              = true
accept            = false

[track.mine]
type     = "script"
command  = ["/bin/sh", "-c", '''` + confession + `''']
timeout  = "20s"
interval = "30s"

[track.roots]
type     = "script"
user     = "root"
command  = ["/bin/sh", "-c", '''` + confession + `''']
timeout  = "20s"
interval = "30s"

[ipvs]
on_stop = "release"
`

const unitFile = "/etc/hadirector/hadirector.toml"

// unit is a machine where hadirector is a service. Its node is the journal.
type unit struct {
	*node
	s *cluster.Systemd
}

// boot starts systemd on lb-a. /run/checkout there is the project, built.
func (b *bed) boot() unit {
	b.t.Helper()
	s, err := b.StartSystemd(b.ctx, cluster.LBA)
	if err != nil {
		b.t.Fatal(err)
	}
	dist, err := filepath.Abs("../../dist")
	if err != nil {
		b.t.Fatal(err)
	}
	u := unit{&node{Process: s.Process, b: b}, s}
	u.do("sh", "-c", fmt.Sprintf("mkdir -p /run/checkout/bin; ln -s %s /run/checkout/dist; ln -s %s /run/checkout/bin/hadirector", dist, b.daemon.Binary))
	return u
}

// do runs a command as the operator.
func (u unit) do(name string, args ...string) string {
	u.b.t.Helper()
	out, err := u.s.Run(name, args...)
	if err != nil {
		u.b.t.Fatal(err)
	}
	return out
}

// typed runs lines that the README has the operator type.
func (u unit) typed(lines ...string) {
	u.b.t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		u.b.t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains(string(text), line) {
			u.b.t.Fatalf("the README does not say %q", line)
		}
		u.do("sh", "-c", "cd /run/checkout; "+line)
	}
}

// configure writes the configuration.
func (u unit) configure(text string) {
	u.b.t.Helper()
	if err := os.WriteFile(u.s.Path(unitFile), []byte(text), 0o644); err != nil {
		u.b.t.Fatal(err)
	}
}

// status asks the daemon; nil if it cannot be asked.
func (u unit) status() *director.Status {
	s, err := admin.NewClient(u.s.Path("/run/hadirector/admin.sock")).Status(u.b.ctx)
	if err != nil {
		return nil
	}
	return &s
}

// shows compares properties of the unit.
func (u unit) shows(want map[string]string) {
	u.b.t.Helper()
	got := make(map[string]string)
	for line := range strings.Lines(u.do("systemctl", "show", "hadirector")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if _, ok := want[name]; ok {
			got[name] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		u.b.t.Errorf("systemctl show (-want +got):\n%s", diff)
	}
}

// kernel is what the daemon may leave behind: addresses and links, IPVS, packet filter, and
// parameters; but for promote_secondaries, which stays as a killed process has set it, and
// the links that the kernel adds with its modules.
func (u unit) kernel() string {
	u.b.t.Helper()
	return u.do("sh", "-c", `{ ip -o addr | sed "s/ valid_lft.*//"; ip -o link | cut -d: -f2; ipvsadm -Sn; ipvsadm -L --daemon; nft list tables
		cd /proc/sys/net; grep -r . ipv4/conf ipv6/conf ipv4/ip_forward ipv4/vs core 2>/dev/null
		} | grep -vE "promote_secondaries|tunl0|gre0|gretap0|erspan0|ip6tnl0|sit0"`)
}

// proc reads a file of a process of the machine.
func (u unit) proc(pid int, file string) string {
	u.b.t.Helper()
	text, err := os.ReadFile(u.s.Path(fmt.Sprintf("/proc/%d/%s", pid, file)))
	if err != nil {
		u.b.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// field is a line of a process's status.
func (u unit) field(pid int, name string) string {
	u.b.t.Helper()
	_, rest, _ := strings.Cut(u.proc(pid, "status"), "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// master waits until the service is Master of both virtual routers, and ready.
func (u unit) master() {
	u.b.t.Helper()
	u.b.until("lb-a is Master and ready", func() bool {
		s := u.status()
		return s != nil && s.Ready && !slices.ContainsFunc(s.VirtualRouters, func(r director.RouterStatus) bool { return r.State != "master" })
	})
}

// forget unloads the modules whose names match a pattern of sed's. They are in use for a
// moment longer than the namespaces that used them.
func (b *bed) forget(pattern string) {
	b.t.Helper()
	b.until(pattern+" is unloaded", func() bool {
		loaded, err := exec.Command("sed", "-n", `s/^\(`+pattern+`\) .*/\1/p`, "/proc/modules").Output()
		if err != nil {
			b.t.Fatal(err)
		}
		names := strings.Fields(string(loaded))
		if len(names) > 0 {
			_ = exec.Command("modprobe", append([]string{"-qr"}, names...)...).Run() // the next look tells
		}
		return len(names) == 0
	})
}
