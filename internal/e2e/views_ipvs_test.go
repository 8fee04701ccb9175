//go:build ipvs

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
	"github.com/hadirector/hadirector/lab/cluster"
)

// viewsOf are the other directors' verdicts on rs-1, as a director shows them.
func (b *bed) viewsOf(machine string) []director.ViewStatus {
	b.t.Helper()
	return b.status(machine).VirtualServers[0].RealServers[0].Views
}

// A real server that one director alone cannot reach is named by both, and after a failover
// the journal of the director that is left has both sides of it.
func TestDirectorsTellEachOther(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(8000)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cluster.VRRP + fmt.Sprintf(`[sync]
key_file = %q
[virtual_server.greeting]
address  = "10.0.0.100:8000"
protocol = "tcp"
check    = "port"
real_server = { rs-1 = { address = "10.0.0.21:8000" }, rs-2 = { address = "10.0.0.22:8000" } }
[check.port]
type     = "tcp"
interval = "200ms"
timeout  = "1s"
fall     = 2
`, key))
	a, other := b.pair()
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		b.until(machine+" compares verdicts", func() bool {
			peers := b.status(machine).Peers
			return len(peers) == 1 && peers[0].Views == director.ViewsCompared
		})
	}
	b.run(cluster.LBA, "ip", "neigh", "replace", "10.0.0.21", "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")
	a.wait("directors disagree about a real server", "real_server=rs-1", "peer=lb-b here=down there=up here_err=")
	other.wait("directors disagree about a real server", "real_server=rs-1", "peer=lb-a here=up there=down there_err=")
	b.until("lb-a shows lb-b's verdict", func() bool {
		v := b.viewsOf(cluster.LBA)
		return len(v) == 1 && v[0].Director == "lb-b" && v[0].Status == "up"
	})
	b.until("lb-b shows lb-a's verdict", func() bool {
		v := b.viewsOf(cluster.LBB)
		return len(v) == 1 && v[0].Director == "lb-a" && v[0].Status == "down" && v[0].Cause != "" && !v[0].Since.IsZero()
	})
	b.run(cluster.LBA, "ip", "neigh", "del", "10.0.0.21", "dev", "eth0")
	a.wait("directors agree about a real server again", "real_server=rs-1", "peer=lb-b status=up")
	other.wait("directors agree about a real server again", "real_server=rs-1", "peer=lb-a status=up")

	b.operate("switchover")
	other.wait(changedState, "to=master")
	told := func() []string {
		out, err := b.Command(cluster.LBB, b.daemon, "events")
		if err != nil {
			t.Fatal(err)
		}
		var sides []string
		for line := range strings.Lines(out) {
			if _, event, ok := strings.Cut(line, "  web             "); ok && !strings.Contains(event, "confirmed") {
				sides = append(sides, strings.TrimSpace(event))
			}
		}
		return sides
	}
	has := func(part string) bool { return strings.Contains(strings.Join(told(), "\n"), part) }
	b.until("lb-b has lb-a's side", func() bool { return has("on lb-a: backup, was master: lb-b took over on request") })
	if !has("\nmaster, was backup: lb-a released mastership") {
		t.Errorf("lb-b's journal has\n%s", strings.Join(told(), "\n"))
	}
	if strings.Contains(b.operate("events"), "on lb-a: ") {
		t.Errorf("lb-a was told of itself:\n%s", b.operate("events"))
	}
	// What was told is not entered again by a director that starts anew.
	other.stop()
	b.director(cluster.LBB)
	b.answers(cluster.LBB)
	b.until("lb-b compares verdicts", func() bool {
		peers := b.status(cluster.LBB).Peers
		return len(peers) == 1 && peers[0].Views == director.ViewsCompared
	})
	out, err := b.Command(cluster.LBB, b.daemon, "events", "--json")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(map[[2]uint64]bool)
	for line := range strings.Lines(out) {
		r, err := journal.ParseRecord([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if id := [2]uint64{r.DirectorRun, r.DirectorSeq}; r.Director != "" && entered[id] {
			t.Errorf("entered twice: %s", line)
		} else if r.Director != "" {
			entered[id] = true
		}
	}
	if len(entered) == 0 {
		t.Error("nothing of lb-a is left")
	}
}
