//go:build ipvs

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// What checks make of a pool, in the kernel's table, for clients and for hooks: a weight, a backup that
// steps in, real servers that are down with weight 0 and keep their connections, and a panic.
func TestPoolOfFailingRealServers(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(8000)
	dir := t.TempDir()
	says := func(addr, weight string) {
		path := filepath.Join(dir, addr)
		if weight == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := os.WriteFile(path+".new", []byte(weight), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	says("10.0.0.21", "3")
	says("10.0.0.22", "2")
	n := b.running(fmt.Sprintf(`[virtual_server.pool]
address   = "10.0.0.100:8000"
protocol  = "tcp"
scheduler = "wrr"
check     = ["port", "share"]
on_down   = "weight-0"
panic_threshold = "50%%"
on_quorum_up   = ["/bin/sh", "-c", 'test "$HADIRECTOR_EVENT $HADIRECTOR_SERVING" = "quorum-up 1"']
on_quorum_down = { command = ["/bin/sh", "-c", 'echo "$HADIRECTOR_EVENT of $HADIRECTOR_VIRTUAL_SERVER $HADIRECTOR_ADDRESS, $HADIRECTOR_SERVES, $HADIRECTOR_ROLE, uid $(id -u)"; exit 3'], timeout = "5s" }
real_server = { rs-1 = { address = "10.0.0.21:8000" }, rs-2 = { address = "10.0.0.22:8000", backup = true } }
[check.share]
type     = "file"
path     = "%s/{address}"
interval = "100ms"
fall     = 1
%s`, dir, checked))
	const target = "10.0.0.100:8000"
	table := func(first, second int) {
		t.Helper()
		b.waitTable(cluster.LBA, []string{
			"-A -t 10.0.0.100:8000 -s wrr",
			fmt.Sprintf("-a -t 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w %d", first),
			fmt.Sprintf("-a -t 10.0.0.100:8000 -r 10.0.0.22:8000 -g -w %d", second),
		})
	}
	all := func(rs1, rs2 int) {
		t.Helper()
		if got := b.spread(2, "", target); got != [2]int{rs1, rs2} {
			t.Errorf("connections by real server %v, want %v", got, [2]int{rs1, rs2})
		}
	}
	table(3, 0)
	all(2, 0)
	b.until("the hook has run", func() bool { return n.count("hook has run", "hook=on_quorum_up") == 1 })

	says("10.0.0.21", "")
	n.wait("real server quiesced", "real_server=rs-1", "check=share", "file does not exist")
	table(0, 2)
	all(0, 2)
	const said = "exit status 3: quorum-down of pool 10.0.0.100:8000, backup-servers, master, uid 65534"
	n.wait("hook failed", "virtual_server=pool", "hook=on_quorum_down", said)
	if events := b.operate("events"); !strings.Contains(events, "on_quorum_down failed: "+said) {
		t.Errorf("the journal does not tell of the hook:\n%s", events)
	}

	says("10.0.0.22", "")
	n.wait("panic:", "virtual_server=pool", "kept=rs-2")
	// It keeps the weight that its check has said last.
	table(0, 2)
	all(0, 2)
	if v := b.status(cluster.LBA).VirtualServers[0]; !v.Panic || v.Serves != "backup-servers" || !v.RealServers[1].Held {
		t.Errorf("status %+v", v)
	}

	says("10.0.0.21", "7")
	n.wait("panic is over", "out=rs-2")
	n.wait("hook has run", "virtual_server=pool", "hook=on_quorum_up")
	if ran := n.count("msg=\"hook "); ran != 3 {
		t.Errorf("%d hooks, want one for each time that the quorum came or went", ran)
	}
	table(7, 0)
	all(2, 0)
}
