//go:build integration

package probe

import (
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// inNamespace runs f on a thread of its own in a new network namespace, which goes
// with the thread: f must not start goroutines that use the network.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("making a network namespace (this test needs root): %w", err)
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What the kernel says when there is no way to a real server.
func TestNoWay(t *testing.T) {
	tests := []struct {
		name  string
		setUp string // commands, separated by semicolons
		want  string
	}{
		{"no route at all", "", "network unreachable"},
		{"a route that says unreachable", "ip link set lo up; ip route add unreachable 192.0.2.0/24", "no route to host"},
		{"a neighbour that does not answer", "ip link set lo up; ip link add e0 type veth peer name e1; ip address add 192.0.2.9/24 dev e0; ip link set e0 up; ip link set e1 up; sysctl -qw net.ipv4.neigh.e0.retrans_time_ms=20", "no route to host"},
		{"a route that is prohibited", "ip link set lo up; ip route add prohibit 192.0.2.0/24", "permission denied while connecting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t, func() {
				for command := range strings.SplitSeq(tt.setUp, "; ") {
					if args := strings.Fields(command); len(args) > 0 {
						if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
							t.Errorf("%s: %v: %s", command, err, out)
						}
					}
				}
				c, err := New(tcpSpec(), healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")})
				if err != nil {
					t.Error(err)
					return
				}
				if diff := cmp.Diff(tt.want, fmt.Sprint(c.Check(t.Context()))); diff != "" {
					t.Errorf("cause (-want +got):\n%s", diff)
				}
			})
		})
	}
}
