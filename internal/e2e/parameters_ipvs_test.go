//go:build ipvs

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/lab/cluster"
)

// natAlone is a single load balancer that is the gateway of its real servers.
const natAlone = `[director.lb-a]
address = "10.0.0.11"

[admin]
socket = "` + cluster.Socket + `"

[virtual_server.web]
address   = "10.0.0.100:80"
protocol  = "tcp"
scheduler = "rr"
forward   = "nat"
real_server = { rs-1 = { address = "10.0.0.21:8080" }, rs-2 = { address = "10.0.0.22:8080" } }

[ipvs]
conn_reuse_mode = 0
expire_nodest_conn = true
schedule_icmp = true
`

// A director whose real servers are on the clients' network makes itself a router that sends
// no redirects, keeps it so, and is what it was before when it stops, also after a crash.
func TestKernelParameters(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.greet(8080)
	for _, rs := range realServers {
		b.run(rs, "ip", "route", "add", cluster.Addr(cluster.Client).String(), "via", cluster.Addr(cluster.LBA).String())
	}
	b.run(cluster.LBA, "ip", "addr", "add", cluster.VIP.String()+"/32", "dev", "eth0")
	before := b.parameters(cluster.LBA)
	type values struct{ wanted, was string }
	want := map[string]values{
		"net.ipv4.ip_forward": {"1", "0"}, "net.ipv4.conf.all.send_redirects": {"0", "1"}, "net.ipv4.conf.eth0.send_redirects": {"0", "1"},
		"net.ipv4.vs.conn_reuse_mode": {"0", "1"}, "net.ipv4.vs.expire_nodest_conn": {"1", "0"}, "net.ipv4.vs.schedule_icmp": {"1", "0"},
	}
	set := func() bool {
		now := b.parameters(cluster.LBA)
		for name, v := range want {
			if now[name] != v.wanted {
				return false
			}
		}
		return true
	}

	b.configure(natAlone)
	n := b.director(cluster.LBA)
	n.wait("kernel parameter set", "parameter=net.ipv4.ip_forward", "value=1", "was=0", "nat of virtual server web")
	b.answers(cluster.LBA)
	b.until("the parameters are set", set)
	if taken := b.spread(4, "", "10.0.0.100:80"); taken != [2]int{2, 2} {
		t.Errorf("the real servers took %v connections", taken)
	}
	if out := b.run(cluster.RS1, "nstat", "-asz", "IcmpInRedirects"); !strings.Contains(out, "IcmpInRedirects                 0 ") {
		t.Errorf("redirects at a real server: %s", out)
	}

	b.run(cluster.LBA, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv4.vs.conn_reuse_mode=1")
	n.wait("kernel parameter was changed by another program, repaired", "net.ipv4.ip_forward=1, was 0")
	b.until("the changes are repaired", set)

	// The values before outlive a crash, and a stop that leaves the services.
	b.configure(natAlone + "on_stop = \"keep\"\n")
	n.Kill()
	n = b.director(cluster.LBA)
	n.wait("msg=ready")
	n.stop()
	if !set() {
		t.Errorf("on_stop = \"keep\" has kept the services and not the parameters: %v", b.parameters(cluster.LBA))
	}
	b.configure(natAlone)
	n = b.director(cluster.LBA)
	n.wait("msg=ready")
	var status director.Status
	b.until("status tells of the parameters", func() bool {
		status = b.status(cluster.LBA)
		return len(status.Parameters) > 0
	})
	found := map[string]values{}
	for _, p := range status.Parameters {
		if found[p.Parameter] = (values{p.Value, p.Was}); !p.OK {
			t.Errorf("status: %+v", p)
		}
	}
	if !maps.Equal(found, want) {
		t.Errorf("status: values and values before\n%v, want\n%v", found, want)
	}
	if count := n.count("kernel parameter set"); count != 0 {
		t.Errorf("%d parameters were set that were so", count)
	}
	n.stop()
	now := b.parameters(cluster.LBA)
	for name, v := range want { // those of IPVS are not there before it is loaded
		before[name] = v.was
	}
	for name, was := range before {
		if now[name] != was {
			t.Errorf("after a clean stop %s is %q, and was %q", name, now[name], was)
		}
	}
}

// parameters reads a machine's kernel parameters of IPv4's interfaces and of IPVS.
func (b *bed) parameters(machine string) map[string]string {
	b.t.Helper()
	values := map[string]string{}
	err := b.Do(machine, func() error {
		for _, pattern := range []string{"ip_forward", "conf/*/*", "vs/*"} {
			const root = "/proc/sys/"
			files, err := filepath.Glob(root + "net/ipv4/" + pattern)
			if err != nil {
				return err
			}
			for _, file := range files {
				value, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				values[strings.ReplaceAll(strings.TrimPrefix(file, root), "/", ".")] = strings.TrimSpace(string(value))
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return values
}
