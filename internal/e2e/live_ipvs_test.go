//go:build ipvs

package e2e

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
	"github.com/hadirector/hadirector/syncd"
)

// openConnections opens connections to the echo service, which the client closes at the
// test's end.
func (b *bed) openConnections(n int) *load.Conns {
	b.t.Helper()
	conns, err := load.Open(b.ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), n, 100*time.Millisecond,
		func() error { return b.Enter(cluster.Client) })
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conns.Close)
	return conns
}

// echo is a real server of the echo service in status.
func (b *bed) echo(name string) director.RealStatus {
	b.t.Helper()
	for _, v := range b.status(cluster.LBA).VirtualServers {
		for _, r := range v.RealServers {
			if v.Name == "echo" && r.Name == name {
				return r
			}
		}
	}
	b.t.Fatalf("echo has no real server %s", name)
	return director.RealStatus{}
}

// weighed is the lab's table with another weight of the echo service's second real
// server; empty: without it.
func weighed(weight string) []string {
	const line = "-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w "
	table := slices.DeleteFunc(slices.Clone(labTable), func(l string) bool { return strings.HasPrefix(l, line) })
	if weight != "" {
		table = append(table, line+weight)
	}
	slices.Sort(table)
	return table
}

// forgetSoon makes the kernel forget ended connections after two seconds instead of two
// minutes.
func (b *bed) forgetSoon() { b.run(cluster.LBA, "ipvsadm", "--set", "900", "2", "300") }

// allGoOn checks that connections go on, and on whom.
func (b *bed) allGoOn(conns *load.Conns, want map[string]int) {
	b.t.Helper()
	n := 0
	for _, m := range want {
		n += m
	}
	if kept, lost := conns.Kept(b.ctx, time.Now()); kept != n {
		b.t.Errorf("%d of %d connections go on, lost %v", kept, n, lost)
	}
	by := conns.ByServer()
	for server, m := range want {
		if by[server] != m {
			b.t.Errorf("connections by real server %v, want %v", by, want)
		}
	}
}

// A drained real server keeps its connections and gets no new ones, over a reload, a
// restart and its own failures, until it is safe to stop.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)
	b.forgetSoon()
	old := b.openConnections(8)
	both := map[string]int{cluster.RS1: 4, cluster.RS2: 4}
	b.allGoOn(old, both)
	b.until("the connections are counted", func() bool { return b.echo("rs-2").Active == 4 })

	out := b.operate("drain", "echo/rs-2", "--for", "1h", "--reason", "kernel update")
	if !strings.Contains(out, "echo/rs-2: drain by root") || !strings.Contains(out, "(kernel update): connections left: 4 active") {
		t.Errorf("drain says %q", out)
	}
	if out := b.operate("conns", "--virtual-server", "echo", "--real-server", "rs-2"); strings.Count(out, "\n") != 5 ||
		strings.Count(out, "  ESTABLISHED  echo            rs-2         10.0.0.") != 4 {
		t.Errorf("conns says\n%s", out)
	}
	b.waitTable(cluster.LBA, weighed("0"))
	more := b.openConnections(6)
	b.allGoOn(more, map[string]int{cluster.RS1: 6})
	b.allGoOn(old, both)
	if r := b.echo("rs-2"); r.Override == nil || r.Override.SafeToStop || r.Override.By != "root" || r.Active != 4 || r.Status != "up" {
		t.Errorf("status %+v, override %+v", r, r.Override)
	}

	b.operate("reload")
	if err := n.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.wait("configuration reloaded")
	b.waitTable(cluster.LBA, weighed("0"))
	b.allGoOn(old, both)

	old.Close()
	if out := b.operate("drain", "echo/rs-2", "--wait"); !strings.Contains(out, "safe to stop") && !strings.Contains(out, "SAFE TO STOP") {
		t.Errorf("drain --wait says %q", out)
	}
	b.allGoOn(more, map[string]int{cluster.RS1: 6})

	n.stop()
	n = b.director(cluster.LBA)
	n.wait("override goes on", "real_server=rs-2")
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, weighed("0"))
	b.operate("enable", "echo")
	b.waitTable(cluster.LBA, labTable)
	b.operate("disable", "--everywhere", "rs-2")
	b.waitTable(cluster.LBA, slices.DeleteFunc(slices.Clone(labTable), func(l string) bool { return strings.Contains(l, "10.0.0.22") }))
	b.operate("weight", "*/rs-2", "9")
	b.waitTable(cluster.LBA, slices.Sorted(slices.Values([]string{labTable[0], labTable[1], labTable[2], labTable[4],
		"-a -t 10.0.0.100:7 -r 10.0.0.22:7 -g -w 9", "-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 9"})))
	if _, err := b.Command(cluster.LBA, b.daemon, "drain", "ecko/rs-2"); err == nil || !strings.Contains(err.Error(), `did you mean "echo"?`) {
		t.Errorf("drain of nothing: %v", err)
	}
}

// A reload that removes a real server cuts nobody off.
func TestRemovedRealServerIsDrained(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)
	b.forgetSoon()
	old := b.openConnections(8)
	both := map[string]int{cluster.RS1: 4, cluster.RS2: 4}

	without := func(timeout string) {
		t.Helper()
		text := strings.Replace(b.configuration(), `rs-2 = { address = "10.0.0.22:7" }`, "", 1)
		b.configure(strings.Replace(text, "[virtual_server.echo]", "[virtual_server.echo]\ndrain_timeout = \""+timeout+"\"", 1))
		b.operate("reload")
	}
	without("1h")
	b.waitTable(cluster.LBA, weighed("0"))
	b.allGoOn(old, both)
	more := b.openConnections(4)
	b.allGoOn(more, map[string]int{cluster.RS1: 4})
	if l := b.status(cluster.LBA).Leaving; len(l) != 1 || l[0].RealServer != "rs-2" || l[0].Active != 4 {
		t.Errorf("leaving: %+v", l)
	}

	// Not even a crash does.
	n.Kill()
	n = b.director(cluster.LBA)
	n.wait("removed real server goes on being drained", "real_server=rs-2")
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, weighed("0"))
	b.allGoOn(old, both)

	b.configureServices("")
	b.operate("reload")
	b.waitTable(cluster.LBA, labTable)
	b.allGoOn(old, both)

	without("1h")
	old.Close()
	n.wait("removed real server is gone", "real_server=rs-2", "reason=idle")
	b.waitTable(cluster.LBA, weighed(""))
	b.allGoOn(more, map[string]int{cluster.RS1: 4})

	b.configureServices("")
	b.operate("reload")
	b.waitTable(cluster.LBA, labTable)
	b.openConnections(4)
	without("2s")
	n.wait("removed real server is gone", "real_server=rs-2", "reason=drain-timeout", "active=2")
	b.waitTable(cluster.LBA, weighed(""))
}

// configuration is the text that the directors' file has now.
func (b *bed) configuration() string {
	b.t.Helper()
	text, err := os.ReadFile(b.daemon.Config)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// With on_stop = "keep" the services and their connections outlive the daemon, and the
// next one takes them over without a change.
func TestKeptOnStop(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.serve()
	b.configureServices("\n[ipvs]\non_stop = \"keep\"\n[log]\nlevel = \"debug\"\n")
	n := b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.waitTable(cluster.LBA, labTable)
	conns := b.openConnections(8)
	n.stop()
	if diff := cmp.Diff(labTable, b.table(cluster.LBA)); diff != "" {
		t.Errorf("table after the stop (-want +got):\n%s", diff)
	}
	if b.holds(cluster.LBA) {
		t.Error("the stopped director has the virtual address")
	}
	n = b.director(cluster.LBA)
	n.wait(changedState, "to=master")
	b.allGoOn(conns, map[string]int{cluster.RS1: 4, cluster.RS2: 4})
	b.waitTable(cluster.LBA, labTable)
	if s := b.status(cluster.LBA).IPVS; s.Repaired != 0 {
		t.Errorf("%d repairs", s.Repaired)
	}
	// The tick of the relay has gone with the daemon, and is all that comes with it.
	tick := syncd.TickService.String()
	if n.count("ipvs changed", tick) == 0 {
		t.Error("not even the service of the tick was logged")
	}
	for _, op := range []string{"-A ", "-E ", "-D ", "-a ", "-e ", "-d "} {
		if made := n.count("ipvs changed", "op=\""+op); made != n.count("ipvs changed", "op=\""+op, tick) {
			t.Errorf("the start made a change %s", op)
		}
	}
}
