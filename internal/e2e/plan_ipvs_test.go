//go:build ipvs

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/lab/cluster"
)

const planBefore = `
[virtual_server.echo]
address = "10.0.0.100:7"
protocol = "tcp"
scheduler = "rr"
drain_timeout = "10m"
[virtual_server.echo.real_server]
rs-1 = { address = "10.0.0.21:7" }
rs-2 = { address = "10.0.0.22:7" }

[virtual_server.old]
address = "10.0.0.100:81"
protocol = "tcp"
scheduler = "rr"
[virtual_server.old.real_server]
rs-1 = { address = "10.0.0.21:81" }
`

// planAfter has a busy real server less and an idle virtual server less; another
// scheduler, weight and priority; more addresses, and services of all kinds.
const planAfter = `
[virtual_server.echo]
address = "10.0.0.100:7"
protocol = "tcp"
scheduler = "wrr"
drain_timeout = "10m"
[virtual_server.echo.real_server]
rs-1 = { address = "10.0.0.21:7", weight = 5 }

[virtual_server.many]
address = "10.0.0.101:8000-8002"
protocol = "tcp"
scheduler = "mh"
scheduler_flags = ["mh-port"]
forward = "nat"
persistence = "300s"
sorry_server = { address = "10.0.0.9:80" }
[virtual_server.many.real_server]
rs-1 = { address = "10.0.0.21:80", weight = 3, connections_max = 100 }
rs-2 = { address = "10.0.0.22:80" }

[virtual_server.marked]
fwmark = 10
mark = ["10.0.0.100:443"]
protocol = "tcp"
scheduler = "sh"
[virtual_server.marked.real_server]
rs-1 = { address = "10.0.0.21:443" }

[sync]
interface = "eth1"
sync_id = 9
`

// plan runs "hadirector plan" on the first director, which must end with an exit status.
func (b *bed) plan(status int, args ...string) string {
	b.t.Helper()
	dir := b.MachineDir(cluster.LBA)
	out, err := b.Command(cluster.LBA, b.daemon, append([]string{"plan", "--director", cluster.LBA,
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state")}, args...)...)
	got := "<nil>"
	if err != nil {
		got = err.Error()
	}
	if want := fmt.Sprintf("exit status %d", status); status == 0 && err != nil || status != 0 && !strings.Contains(got, want) {
		b.t.Fatalf("plan: %s, want %s:\n%s", got, want, out)
	}
	return out
}

// shell has a shell on the second director, where no daemon runs, do what a plan says.
func (b *bed) shell(plan string) {
	b.t.Helper()
	cmd := exec.CommandContext(b.ctx, "ip", "netns", "exec", b.Namespace(cluster.LBB), "sh", "-e")
	cmd.Stdin = strings.NewReader(plan)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("a shell with the plan: %v: %s\n%s", err, out, plan)
	}
}

// kernel is all that a plan might have changed.
func (b *bed) kernel(machine string) string {
	b.t.Helper()
	// ip complains when a namespace of another test goes while it looks for its name.
	return b.run(machine, "sh", "-ec", "ipvsadm -Sn; ipvsadm -Ln --daemon; nft list ruleset; for what in addr route rule link; do ip -o $what show 2>/dev/null; done")
}

// A plan changes nothing; its lines, typed in, make the table that the reload makes; and
// then there is nothing left to do. Without a daemon the same holds for a start.
func TestPlanAsTyped(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		if err := b.StartEcho(rs); err != nil {
			t.Fatal(err)
		}
		if err := b.AddVIP(rs); err != nil {
			t.Fatal(err)
		}
	}
	// The machine's load should not decide who is Master.
	vrrp := strings.Replace(cluster.VRRP, "[vrrp.web]", "[vrrp.web]\nadvert_interval = \"500ms\"", 1)
	b.configure(vrrp + planBefore)
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.until("the table", func() bool { return len(b.table(cluster.LBA)) == 5 })
	b.openConnections(4)
	b.run(cluster.LBB, "sh", "-c", "printf '%s\n' '"+strings.Join(unsorted(b.run(cluster.LBA, "ipvsadm", "-Sn")), "' '")+"' | ipvsadm -R")

	vrrp = strings.Replace(vrrp, `["10.0.0.100/24"]`, `["10.0.0.100/24", "10.0.0.101/24"]`, 1)
	b.configure(strings.Replace(vrrp, "= 150", "= 140", 1) + planAfter)
	kernel, events := b.kernel(cluster.LBA), b.operate("events")
	plan := b.plan(2)
	if diff := cmp.Diff(plan, b.plan(2, "-c", b.daemon.Config)); diff != "" {
		t.Errorf("another plan of the same file:\n%s", diff)
	}
	if diff := cmp.Diff(kernel, b.kernel(cluster.LBA)); diff != "" {
		t.Errorf("the plan changed the kernel:\n%s", diff)
	}
	if diff := cmp.Diff(events, b.operate("events")); diff != "" {
		t.Errorf("the plan is in the journal:\n%s", diff)
	}
	for _, line := range []string{
		"# vrrp web: priority 150 -> 140",
		"ip addr add 10.0.0.101/24 dev eth0  # vrrp web",
		"# nft: fwmark 10 for tcp 10.0.0.100:443",
		"ipvsadm -e -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 0  # echo/rs-2: weight 1 -> 0, removed when idle, at the latest after 10m0s",
		"# later: ipvsadm -d -t 10.0.0.100:7 -r 10.0.0.22:7  # echo/rs-2: when idle, at the latest after 10m0s",
		"ipvsadm -D -t 10.0.0.100:81  # old: it has no connections",
	} {
		if !slices.Contains(strings.Split(plan, "\n"), line) {
			t.Errorf("the plan does not say %q:\n%s", line, plan)
		}
	}
	// The address stays with the director.
	b.shell(strings.Join(slices.DeleteFunc(strings.Split(plan, "\n"), func(l string) bool { return strings.HasPrefix(l, "ip ") }), "\n"))
	typed := b.table(cluster.LBB)
	out := b.operate("reload")
	b.waitKernel(typed)
	b.until("the new address is there", func() bool {
		return strings.Contains(b.run(cluster.LBA, "ip", "addr", "show", "dev", "eth0"), "10.0.0.101/24")
	})
	if diff := cmp.Diff(b.run(cluster.LBB, "ipvsadm", "-Ln", "--daemon"), b.run(cluster.LBA, "ipvsadm", "-Ln", "--daemon")); diff != "" {
		t.Errorf("sync daemons -typed +reloaded:\n%s", diff)
	}
	if !strings.Contains(out, "\nipvsadm -E -t 10.0.0.100:7 -s wrr\n") || !strings.Contains(out, "\n# vrrp web: priority 150 -> 140\n") {
		t.Errorf("reload says\n%s", out)
	}
	if out := b.plan(0); !strings.HasSuffix(out, "would change nothing\n") {
		t.Errorf("a plan after the reload:\n%s", out)
	}

	b.configure(vrrp + planAfter)
	n.stop()
	b.run(cluster.LBA, "ipvsadm", "-A", "-t", "10.0.0.100:7", "-s", "lc")
	b.run(cluster.LBB, "sh", "-c", "ipvsadm -C && ipvsadm --stop-daemon master && ipvsadm -A -t 10.0.0.100:7 -s lc")
	kernel = b.kernel(cluster.LBA)
	plan = b.plan(2, "-c", b.daemon.Config)
	if diff := cmp.Diff(kernel, b.kernel(cluster.LBA)); diff != "" {
		t.Errorf("the plan of a start changed the kernel:\n%s", diff)
	}
	if !strings.HasPrefix(plan, "# no hadirector is running: ") || !strings.Contains(plan, "\n# tcp 10.0.0.100:7 was made by another program and is taken over\n") {
		t.Errorf("the plan of a start:\n%s", plan)
	}
	b.shell(plan)
	n = b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitKernel(b.table(cluster.LBB))
}

func unsorted(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
