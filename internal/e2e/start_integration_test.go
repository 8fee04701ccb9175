//go:build integration

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/lab/cluster"
)

// A director that cannot balance says so in one sentence and does not start. On a kernel
// that can, the same configuration gets ready.
func TestStartNeedsIPVSForVirtualServers(t *testing.T) {
	b := newBed(t)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cluster.VRRP + fmt.Sprintf(cluster.Services, key))
	n := b.director(cluster.LBA)
	_, _, started := n.Wait(b.ctx, 0, changedState, "to=master")
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		if started != nil {
			t.Errorf("the kernel has IPVS: %v", started)
		}
		return
	}
	if code := n.ExitCode(); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	if lines := n.Lines(); len(lines) != 1 || !strings.Contains(lines[0].Text, "IPVS") {
		t.Errorf("it said %q, want one line about IPVS", n.Output())
	}
	if b.holds(cluster.LBA) {
		t.Error("it took the virtual address")
	}
	if _, err := os.Stat(b.SocketPath(cluster.LBA)); !os.IsNotExist(err) {
		t.Errorf("it left its socket: %v", err)
	}
}

// spoiled has one mistake in each of the marked lines.
const spoiled = `[director.lb-a]
address  = "10.0.0.300"                       # 1
priority = 300                                # 2

[director.lb-b]
address = "10.0.0.12"

[vrrp.web]
interface         = "eth0"
vird              = 51                        # 3 (and vrid is not there: said here)
virtual_addresses = ["10.0.0.100/33"]         # 4
advert_interval   = "100"                     # 5

[virtual_server.web]
address   = "10.0.0.100:80"
protocol  = "tpc"                             # 6
scheduler = "wrrr"                            # 7
check     = "front"                           # 8
quorum    = "two"                             # 9

[virtual_server.web.real_server]
rs-1 = { address = "10.0.0.21:8080" }         # 10
rs-2 = { address = "10.0.0.22:80", weigth = 1 } # 11

[check.front-page]
type     = "http"
interval = "5"                                # 12
`

func TestEveryMistakeIsNamedAndNothingStarts(t *testing.T) {
	b := newBed(t)
	b.configure(spoiled)
	want := make(map[string]bool) // FILE:LINE
	for i, line := range strings.Split(spoiled, "\n") {
		if regexp.MustCompile(`# \d+`).MatchString(line) {
			want[fmt.Sprintf("%s:%d", b.daemon.Config, i+1)] = true
		}
	}
	if len(want) != 12 {
		t.Fatalf("the text has %d mistakes, want 12", len(want))
	}
	for _, command := range []string{"check", "run"} {
		t.Run(command, func(t *testing.T) {
			out, err := exec.Command("ip", "netns", "exec", b.Namespace(cluster.LBA),
				b.daemon.Binary, command, "-c", b.daemon.Config, "--director", cluster.LBA).CombinedOutput()
			exit, ok := err.(*exec.ExitError)
			if !ok || exit.ExitCode() != 1 {
				t.Fatalf("%s: %v, want exit status 1:\n%s", command, err, out)
			}
			got := make(map[string]bool)
			for line := range strings.Lines(string(out)) {
				m := regexp.MustCompile(`^(\S+:\d+):\d+: `).FindStringSubmatch(line)
				if m == nil {
					t.Errorf("not a mistake with its place: %s", line)
					continue
				}
				if got[m[1]] || !want[m[1]] {
					t.Errorf("not wanted: %s", line)
				}
				got[m[1]] = true
			}
			for place := range want {
				if !got[place] {
					t.Errorf("nothing is said about %s", place)
				}
			}
		})
	}
	if b.holds(cluster.LBA) {
		t.Error("the director took the virtual address")
	}
}
