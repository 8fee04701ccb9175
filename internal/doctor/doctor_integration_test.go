//go:build integration

package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestTheDoctorMendsARealServer(t *testing.T) {
	rs, other := netnstest.New(t, "rs"), netnstest.New(t, "other")
	netnstest.Cable(t, rs, "eth0", other, "eth0")
	for _, name := range []string{"all", "default", "eth0", "lo"} {
		for _, parameter := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			rs.Sysctl(t, "net/ipv4/conf/"+name+"/"+parameter, "0")
		}
	}
	rs.IP(t, "addr add 10.0.0.21/24 dev eth0")
	rs.IP(t, "addr add 2001:db8::21/64 dev eth0 nodad")
	rs.IP(t, "route add default via 10.0.0.254")
	other.IP(t, "addr add 2001:db8::100/64 dev eth0 nodad")
	p := newPatient(t, rs, pairOfDirectors+`
[virtual_server.web]
address = ["10.0.0.100:80", "10.0.0.101:80"]
protocol = "tcp"
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
[virtual_server.web6]
address = "[2001:db8::100]:80"
protocol = "tcp"
check = "c"
real_server = { a = { address = "[2001:db8::21]:80" } }
[virtual_server.api]
address = "10.0.0.100:8080"
protocol = "tcp"
forward = "nat"
check = "c"
real_server = { a = { address = "10.0.0.21:8081" } }
`)
	stop := p.listen("10.0.0.21:80")

	// What scripts that somebody found somewhere leave behind.
	rs.IP(t, "addr add 10.0.0.101/24 dev eth0")
	rs.IP(t, "addr add 10.0.0.100/24 dev lo")
	rs.IP(t, "addr add 2001:db8::100/64 dev eth0")
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(rs.IP(t, "-6 addr show dev eth0"), "dadfailed"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("duplicate address detection finds nothing:\n%s", rs.IP(t, "-6 addr show dev eth0"))
		}
	}
	sick := p.finds(
		"wrong: arp_ignore is 0 on eth0: this machine answers ARP for the virtual addresses",
		"wrong: arp_announce is less than 2 on eth0: this machine asks by ARP in the name of virtual addresses",
		"wrong: the virtual address 10.0.0.100 is on lo with the prefix length /24 instead of /32",
		"wrong: the virtual address 10.0.0.101 is on eth0, an interface on the network",
		"wrong: duplicate address detection failed for the virtual address 2001:db8::100/64 on eth0",
		"wrong: answers from 10.0.0.21 to clients go past the director, by 10.0.0.254",
		"wrong: the program that listens on tcp 10.0.0.21:80 does not listen on 10.0.0.100:80, for virtual server web",
		"wrong: the program that listens on tcp 10.0.0.21:80 does not listen on 10.0.0.101:80, for virtual server web",
		"wrong: no program listens on tcp [2001:db8::100]:80, for virtual server web6",
		"wrong: no program listens on tcp 10.0.0.21:8081, for virtual server api",
	)
	p.mend(sick)
	stop()
	p.listen("[::]:80") // both families
	p.listen("10.0.0.21:8081")
	p.finds()
}

func TestTheDoctorMendsADirector(t *testing.T) {
	lb, other := netnstest.New(t, "lb-a"), netnstest.New(t, "other")
	netnstest.Cable(t, lb, "eth0", other, "eth0")
	netnstest.Cable(t, lb, "eth1", other, "eth1")
	lb.IP(t, "addr add 10.0.0.13/24 dev eth0")
	lb.IP(t, "addr add 10.1.0.11/24 dev eth1")
	p := newPatient(t, lb, `
[director.lb-a]
address = "10.0.0.11"
priority = 150
[director.lb-b]
address = "10.0.0.12"
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
[vrrp.inner]
interface = "eth1"
vrid = 52
virtual_addresses = ["10.1.0.1/24"]
[sync]
key_file = "DIR/cluster.key"
[admin]
socket = "DIR/admin.sock"
`, "--director", "lb-a")

	// A machine that was keepalived's, with a firewall, where the work was interrupted.
	lb.IP(t, "addr add 10.0.0.100/24 dev eth0")
	lb.IP(t, "link set eth1 down")
	lb.Run(t, "nft", "table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established accept; }; }")
	keepalived := filepath.Join(p.dir, "keepalived")
	lb.Run(t, "cp", "/bin/sleep", keepalived)
	lb.Start(t, exec.Command(keepalived, "600"))
	sick := p.finds(
		"wrong: the address 10.0.0.11 of director lb-a is on no interface",
		"warning: no hadirector runs",
		"wrong: the interface eth1 of [vrrp.inner] is down",
		"wrong: the virtual address 10.0.0.100/24 is on eth0, although no hadirector runs",
		"wrong: keepalived runs here too (process PID)",
		"wrong: the cluster key "+p.dir+"/cluster.key does not exist",
		"warning: the nftables chain inet filter input drops, and no rule of its table names VRRP (protocol 112)",
		"warning: the nftables chain inet filter input drops, and no rule of its table names port 9651 of [sync]",
	)
	p.mend(sick)
	lb.AwaitUp(t, "eth1")
	p.run("--director", "lb-a")
	p.finds()

	// With the daemon running.
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.config, []byte(strings.Replace(string(text), "priority = 150", "priority = 140", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(p.dir, "cluster.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.mend(p.finds(
		"warning: the daemon has another configuration than "+p.config+" says now",
		"wrong: the cluster key "+p.dir+"/cluster.key may be used by others (mode 0644)",
	))
	p.finds()
}

// Without privileges the doctor says what he cannot see, and does not take it for fine.
func TestTheDoctorWithoutPrivileges(t *testing.T) {
	lb, other := netnstest.New(t, "lb-a"), netnstest.New(t, "other")
	netnstest.Cable(t, lb, "eth0", other, "eth0")
	lb.IP(t, "addr add 10.0.0.11/24 dev eth0")
	p := newPatient(t, lb, `
[director.lb-a]
address = "10.0.0.11"
[director.lb-b]
address = "10.0.0.12"
priority = 150
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
[sync]
key_file = "DIR/cluster.key"
[admin]
socket = "DIR/admin.sock"
`, "--director", "lb-a")
	p.run("--director", "lb-a")
	p.mend(Report{Findings: []Finding{{Commands: []string{"hadirector keygen " + p.dir + "/cluster.key"}}}})
	for _, path := range []string{filepath.Dir(p.dir), p.dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(p.config, 0o644); err != nil {
		t.Fatal(err)
	}
	p.as = "nobody"
	p.finds(
		"unknown: the daemon that runs could not be looked at",
		"unknown: the nftables rules could not be looked at",
		"unknown: the cluster key could not be looked at",
	)
}

// What a running daemon has to have set is read for the interfaces that there are.
func TestGatherReadsTheParametersOfADirector(t *testing.T) {
	lb, other := netnstest.New(t, "lb-a"), netnstest.New(t, "other")
	netnstest.Cable(t, lb, "eth0.5", other, "eth0")
	lb.IP(t, "addr add 10.0.0.11/24 dev eth0.5")
	lb.Sysctl(t, "net/ipv4/conf/eth0.5/send_redirects", "0")
	lb.Sysctl(t, "net/ipv4/ip_forward", "1")
	cfg := parse(t, strings.NewReplacer("eth0", "eth0.5", "/etc/ha.key", t.TempDir()+"/ha.key").Replace(aPair)+"[admin]\nsocket = \"/nowhere/admin.sock\"\n")
	var f Facts
	var err error
	// 10.1.0.21 has to be on an interface.
	lb.IP(t, "addr add 10.1.0.11/24 dev eth0.5")
	lb.Do(func() { f, _, err = Gather(t.Context(), cfg, Options{Roles: []Role{Director}}) })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"net/ipv4/ip_forward": "1", "net/ipv4/conf/eth0.5/send_redirects": "0"}
	for name, value := range want {
		if f.Sysctls[name] != value {
			t.Errorf("%s is read as %q, want %q", name, f.Sysctls[name], value)
		}
	}
	if !f.DirectorFacts.NoDaemon || !f.DirectorFacts.Key.Missing || f.DirectorFacts.Ways[addr("10.1.0.21")].Interface != "eth0.5" {
		t.Errorf("facts of the director: %+v", f.DirectorFacts)
	}
}
