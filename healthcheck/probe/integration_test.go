//go:build integration

package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/internal/netnstest"
)

// What the kernel says when there is no way to a real server.
func TestNoWay(t *testing.T) {
	tests := []struct {
		name  string
		setUp string // commands, separated by semicolons
		want  string
	}{
		{"no route at all", "", "network unreachable"},
		{"a route that says unreachable", "ip route add unreachable 192.0.2.0/24", "no route to host"},
		{"a route that is prohibited", "ip route add prohibit 192.0.2.0/24", "permission denied while connecting"},
		{"a neighbour that does not answer", "ip link add e0 type veth peer name e1; ip address add 192.0.2.9/24 dev e0; " +
			"ip link set e0 up; ip link set e1 up; sysctl -qw net.ipv4.neigh.e0.retrans_time_ms=20", "no route to host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := netnstest.New(t, "director")
			for command := range strings.SplitSeq(tt.setUp, "; ") {
				if args := strings.Fields(command); len(args) > 0 {
					ns.Run(t, args[0], args[1:]...)
				}
			}
			c, err := New(tcpSpec(), healthcheck.Target{Addr: netip.MustParseAddrPort("192.0.2.1:80")})
			if err != nil {
				t.Fatal(err)
			}
			ns.Do(func() { err = c.Check(t.Context()) })
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("cause (-want +got):\n%s", diff)
			}
		})
	}
}
