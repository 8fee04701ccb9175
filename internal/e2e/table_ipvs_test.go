//go:build ipvs

package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/syncd"
)

// table is what ipvsadm reads on a machine, a line each.
func (b *bed) table(machine string) []string {
	b.t.Helper()
	return sortedLines(b.run(machine, "ipvsadm", "-Sn"))
}

// sortedLines are the lines without those of the tick's service, which a Master has beside
// the configuration's.
func sortedLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, " "+syncd.TickService.String()+" ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// The whole table of the lab's configuration, in ipvsadm's words.
var labTable = []string{
	"-A -t 10.0.0.100:7 -s rr",
	"-A -t 10.0.0.100:80 -s wrr",
	"-a -t 10.0.0.100:7 -r 10.0.0.21:7 -g -w 1",
	"-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 1",
	"-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1",
	"-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2",
}

// waitTable waits until ipvsadm reads what is wanted, and compares status with it.
func (b *bed) waitTable(machine string, want []string) {
	b.t.Helper()
	var got []string
	deadline := time.Now().Add(30 * time.Second)
	b.until("the table of "+machine, func() bool {
		got = b.table(machine)
		return slices.Equal(got, want) || time.Now().After(deadline)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Fatalf("ipvsadm -Sn on %s (-want +got):\n%s", machine, diff)
	}
	var status []string
	b.until("status of "+machine+" in step with its kernel", func() bool {
		status = sortedLines(b.status(machine).IPVS.Table)
		return slices.Equal(status, want) || time.Now().After(deadline)
	})
	if diff := cmp.Diff(want, status); diff != "" {
		b.t.Fatalf("the table in status --json of %s (-want +got):\n%s", machine, diff)
	}
}

// A real server's nginx is killed and started again while clients send requests: one line
// each, the table without it, and no client that comes after that is failed.
func TestRealServerLeavesAndReturns(t *testing.T) {
	b := newBed(t)
	web := b.serve()
	b.configureServices("")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)
	tr := b.trafficWithin(10 * time.Second) // the machine is slow, and a client that is late has not failed

	web[cluster.RS2].Kill()
	n.wait(removed, "real_server=rs-2", "virtual_server=web", "address=10.0.0.22:80", "refused")
	without := slices.DeleteFunc(slices.Clone(labTable), func(l string) bool { return strings.Contains(l, "10.0.0.22:80") })
	b.waitTable(cluster.LBA, without)
	detected := time.Now()

	if _, err := b.StartWeb(b.ctx, cluster.RS2); err != nil {
		t.Fatal(err)
	}
	n.wait(added, "real_server=rs-2", "virtual_server=web", "address=10.0.0.22:80", "weight=2")
	b.waitTable(cluster.LBA, labTable)
	tr.answered(time.Now(), cluster.RS2)
	tr.stop()
	for _, r := range tr.requests.Between(detected, time.Now()) {
		if r.Err != nil {
			t.Errorf("a request %v after the table was without rs-2 has failed: %v", r.Start.Sub(detected), r.Err)
		}
	}
	if r, a := n.count(removed), n.count(added); r != 1 || a != 1 || n.count("rs-2") != 2 {
		t.Errorf("%d lines of leaving and %d of returning, of %d about rs-2, want one each and no other", r, a, n.count("rs-2"))
	}
}

// What SIGTERM leaves is what was there before: nothing of ours, everything of others.
func TestStopLeavesACleanMachine(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("")
	foreign := []string{"-A -t 10.9.9.9:25 -s rr", "-a -t 10.9.9.9:25 -r 10.0.0.21:25 -g -w 3"}
	b.run(cluster.LBA, "ipvsadm", strings.Fields(foreign[0])...)
	b.run(cluster.LBA, "ipvsadm", strings.Fields(foreign[1])...)
	knobs := func() string { return b.run(cluster.LBA, "sysctl", "-a", "-r", `^net\.ipv4\.(conf|vs)\.`) }
	sysctls := knobs()
	addresses := b.run(cluster.LBA, "ip", "-4", "-o", "addr")

	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.until("our services beside the foreign one", func() bool {
		return slices.Equal(b.table(cluster.LBA), slices.Sorted(slices.Values(slices.Concat(foreign, labTable))))
	})
	b.until("a sync daemon of the Master", func() bool {
		return strings.Contains(b.run(cluster.LBA, "ipvsadm", "--list", "--daemon"), "master sync daemon")
	})

	n.stop()
	if diff := cmp.Diff(foreign, b.table(cluster.LBA)); diff != "" {
		t.Errorf("ipvsadm -Sn after the stop (-want +got):\n%s", diff)
	}
	if out := b.run(cluster.LBA, "ipvsadm", "--list", "--daemon"); strings.TrimSpace(out) != "" {
		t.Errorf("sync daemons after the stop: %s", out)
	}
	if diff := cmp.Diff(addresses, b.run(cluster.LBA, "ip", "-4", "-o", "addr")); diff != "" {
		t.Errorf("addresses after the stop (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(sysctls, knobs()); diff != "" {
		t.Errorf("kernel parameters after the stop (-before +after):\n%s", diff)
	}
}

func TestReloadAppliesToTheTable(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)

	b.configureServices("\n[virtual_server.more]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\n" +
		"[virtual_server.more.real_server]\nrs-1 = { address = \"10.0.0.21:81\", weight = 7 }\n")
	if err := n.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	more := slices.Sorted(slices.Values(append(slices.Clone(labTable),
		"-A -t 10.0.0.100:81 -s wlc", "-a -t 10.0.0.100:81 -r 10.0.0.21:81 -g -w 7")))
	b.waitTable(cluster.LBA, more)

	b.configureServices("\n[virtual_server.more]\nadress = \"10.0.0.100:81\"\n")
	if err := n.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.wait("adress")
	b.waitTable(cluster.LBA, more)
	if n.count(changedState, "from=master") != 0 {
		t.Error("a reload gave mastership away")
	}

	b.configureServices("")
	if _, err := b.Command(cluster.LBA, b.daemon, "reload"); err != nil {
		t.Fatal(err)
	}
	b.waitTable(cluster.LBA, labTable)
}
