//go:build ipvs

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// full is whether tests that have a long form run that: runtests -full.
var full = os.Getenv("HADIRECTOR_FULL") != ""

// randomServices is a configuration with the echo service, as a reload may have changed
// it. The second real server comes and goes, and has its time to be drained.
func randomServices(r *rand.Rand) string {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	b.WriteString(cluster.VRRP)
	fmt.Fprintf(&b, "[check.port]\ntype = \"tcp\"\ninterval = \"%dms\"\nfall = %d\n", 500+r.IntN(1500), 2+r.IntN(3))
	server := func(name string, port, realPort int) {
		fmt.Fprintf(&b, "[virtual_server.%s]\naddress = \"%s:%d\"\nprotocol = \"tcp\"\ncheck = \"port\"\nscheduler = %q\ndrain_timeout = \"1h\"\n%s\n",
			name, cluster.VIP, port, one("rr", "wrr", "lc", "wlc"), one("", "", "persistence = \"300s\""))
		fmt.Fprintf(&b, "[virtual_server.%s.real_server]\nrs-1 = { address = \"10.0.0.21:%d\", weight = %d }\n", name, realPort, 1+r.IntN(9))
		if r.IntN(3) > 0 {
			fmt.Fprintf(&b, "rs-2 = { address = \"10.0.0.22:%d\", weight = %d }\n", realPort, r.IntN(9))
		}
	}
	server("echo", cluster.EchoPort, cluster.EchoPort)
	for i := range 8 {
		if r.IntN(2) == 0 {
			server(fmt.Sprintf("more-%d", i), 2000+i, 2000+i)
		}
	}
	return b.String()
}

// plainServices is the echo service with both real servers, or with the first alone, and
// then for two seconds with the other one's connections.
func plainServices(second bool) string {
	text := cluster.VRRP + "[virtual_server.echo]\naddress = \"10.0.0.100:7\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\ndrain_timeout = \"2s\"\n" +
		"[virtual_server.echo.real_server]\nrs-1 = { address = \"10.0.0.21:7\" }\n"
	if second {
		text += "rs-2 = { address = \"10.0.0.22:7\" }\n"
	}
	return text
}

// Random reloads break no connection, but those on a removed real server whose time to be
// drained is over. The long form has a thousand connections and fifty reloads.
func TestReloadsBreakNoConnection(t *testing.T) {
	const seed = 1
	n, reloads, pace := 40, 6, 300*time.Millisecond
	if full {
		n, reloads, pace = 1000, 50, 10*time.Second
	}
	r := rand.New(rand.NewPCG(seed, 0))
	b := newBed(t)
	if full { // it takes longer than others may
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Minute)
		defer cancel()
		b.ctx = ctx
	}
	b.serve()
	// Loading a module takes an emulated machine seconds.
	b.run(cluster.LBA, "modprobe", "-a", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc")
	b.configure(plainServices(true))
	d := b.director(cluster.LBA)
	d.wait(changedState, "to=master")
	b.until("both real servers are in the table", func() bool { return len(b.table(cluster.LBA)) == 3 })
	conns, err := load.Open(b.ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), n, pace, func() error { return b.Enter(cluster.Client) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conns.Close)
	for i := range reloads {
		b.configure(randomServices(r))
		if out := b.operate("reload"); strings.Contains(out, "refused") {
			t.Fatalf("seed %d, reload %d: %s", seed, i, out)
		}
	}
	if s := b.status(cluster.LBA).IPVS; s.Refused > 0 || s.Repaired > 0 {
		t.Errorf("seed %d: %d operations refused, %d repairs", seed, s.Refused, s.Repaired)
	}
	if kept, lost := conns.Kept(b.ctx, time.Now()); kept != n {
		t.Fatalf("seed %d: after %d reloads %d of %d connections go on, lost %v", seed, reloads, kept, n, lost)
	}
	by := conns.ByServer()
	if by[cluster.RS1] != n/2 || by[cluster.RS2] != n/2 {
		t.Errorf("connections by real server %v, want half each", by)
	}
	t.Logf("%d connections have outlived %d reloads", n, reloads)

	b.configure(plainServices(true))
	b.operate("reload")
	b.until("both real servers are back", func() bool { return len(b.table(cluster.LBA)) == 3 })
	b.configure(plainServices(false))
	b.operate("reload")
	d.now()
	d.wait("removed real server is gone", "real_server=rs-2", "reason=drain-timeout")
	// The line tells the decision. Until the kernel has it, a packet may still get through.
	b.until("the kernel has taken it out", func() bool { return len(b.table(cluster.LBA)) == 2 })
	ctx, cancel := context.WithTimeout(b.ctx, pace+3*time.Second)
	defer cancel()
	if kept, lost := conns.Kept(ctx, time.Now()); kept != n/2 {
		t.Errorf("after the drain time %d connections go on, lost %v, want those on the first real server, %d", kept, lost, n/2)
	}
}
