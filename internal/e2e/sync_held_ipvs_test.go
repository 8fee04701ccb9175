//go:build ipvs

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// unhurried is the lab's VRRP for a test that measures no gap: a machine that is late is not
// taken for one that is gone.
var unhurried = strings.Replace(cluster.VRRP, "vrid              = 51", "vrid              = 51\nadvert_interval   = \"500ms\"", 1)

// backInSync bounds the time in which two directors find to each other, whatever was between
// them: the longest pause between two attempts to connect, a full sync, and a slow machine.
const backInSync = 30 * time.Second

// held are connections to the echo service of two directors that are to survive everything.
type held struct {
	b      *bed
	conns  []*load.Conns
	n      int
	master string // where clients' packets go
}

// hold starts the echo service, and a pair of directors that has it alone, without a check.
// directors replaces pieces of the text of both, for settings of theirs.
func (b *bed) hold(directors *strings.Replacer, sync string) (h *held, master, backup *node) {
	b.t.Helper()
	for _, rs := range realServers {
		if err := b.StartEcho(rs); err != nil {
			b.t.Fatal(err)
		}
		if err := b.AddVIP(rs); err != nil {
			b.t.Fatal(err)
		}
	}
	b.configure(directors.Replace(unhurried) + echoAlone(cluster.EchoPort) + sync)
	master = b.director(cluster.LBA)
	master.wait(changedState, "to=master")
	backup = b.director(cluster.LBB)
	backup.wait("in sync with peer")
	return &held{b: b, master: cluster.LBA}, master, backup
}

// echoAlone has a virtual server of the echo service on each port.
func echoAlone(ports ...int) string {
	var text strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&text, "[virtual_server.echo-%d]\naddress = \"10.0.0.100:%[1]d\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\n"+
			"real_server = { rs-1 = { address = \"10.0.0.21:%[1]d\" }, rs-2 = { address = \"10.0.0.22:%[1]d\" } }\n", port)
	}
	return text.String()
}

// other is the director that is not Master.
func (h *held) other() string {
	if h.master == cluster.LBA {
		return cluster.LBB
	}
	return cluster.LBA
}

// open opens n connections more.
func (h *held) open(n int) {
	h.b.t.Helper()
	conns, err := load.Open(h.b.ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), n, time.Second, func() error { return h.b.Enter(cluster.Client) })
	if err != nil {
		h.b.t.Fatal(err)
	}
	h.b.t.Cleanup(conns.Close)
	h.conns = append(h.conns, conns)
	h.n += n
}

// inKernel is how many of them a machine's kernel knows.
func (h *held) inKernel(machine string) int {
	h.b.t.Helper()
	n, err := h.b.Connections(machine, cluster.EchoPort)
	if err != nil {
		h.b.t.Fatal(err)
	}
	return n
}

// kept checks that all of them go on.
func (h *held) kept(when string) {
	h.b.t.Helper()
	within, cancel := context.WithTimeout(h.b.ctx, time.Minute)
	defer cancel()
	since := time.Now()
	for i, c := range h.conns {
		if _, lost := c.Kept(within, since); len(lost) > 0 {
			h.b.t.Fatalf("%s: lost of the connections opened as number %d: %v", when, i+1, lost)
		}
	}
}

// recovered checks that sync goes on after something that has just ended: a new connection
// gets to the other kernel, both directors say that they are in sync, and none was lost.
func (h *held) recovered(from string) {
	h.b.t.Helper()
	began := time.Now()
	h.open(1)
	h.b.until("a connection after "+from+" is told", func() bool { return h.inKernel(h.other()) >= h.n })
	h.b.inSync(h.n)
	took := time.Since(began)
	h.b.t.Logf("in sync %v after %s", took.Round(100*time.Millisecond), from)
	if took > backInSync {
		h.b.t.Errorf("in sync %v after %s, want at most %v", took, from, backInSync)
	}
	h.kept("after " + from)
}

// failOver cuts the Master off.
func (h *held) failOver(backup *node) {
	h.b.t.Helper()
	backup.now()
	if err := h.b.Cut(h.master); err != nil {
		h.b.t.Fatal(err)
	}
	h.master = backup.Machine
	backup.wait(changedState, "to=master")
	h.kept("after the failover")
}

// failBack mends what failOver has cut.
func (h *held) failBack(master *node) {
	h.b.t.Helper()
	master.now()
	if err := h.b.Mend(master.Machine); err != nil {
		h.b.t.Fatal(err)
	}
	master.wait(changedState, "to=master")
	h.master = master.Machine
	h.kept("after the failback")
}
