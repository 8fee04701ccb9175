//go:build ipvs

package doctor

import (
	"testing"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestTheDoctorMendsTunnels(t *testing.T) {
	rs, router := netnstest.New(t, "rs"), netnstest.New(t, "router")
	netnstest.Cable(t, rs, "eth0", router, "eth0")
	rs.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	rs.IP(t, "addr add 10.0.0.21/24 dev eth0")
	rs.IP(t, "route add default via 10.0.0.254")
	server := func(name, vip, tunnel string) string {
		return `
[virtual_server.` + name + `]
address = "` + vip + `:80"
protocol = "tcp"
forward = "tun"
` + tunnel + `
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
`
	}
	p := newPatient(t, rs, "[check.c]\ntype = \"tcp\"\n"+
		server("ipip", "10.0.0.100", "")+
		server("gue", "10.0.0.101", "tunnel = \"gue\"\ntunnel_port = 6080")+
		server("gre", "10.0.0.102", "tunnel = \"gre\"\ntunnel_checksum = \"plain\""))
	p.listen("0.0.0.0:80")
	// Made by hand, and not to the end.
	rs.IP(t, "link add mine type ipip local 10.0.0.21")
	rs.IP(t, "link add gre9 type gre local 10.0.0.21")
	rs.IP(t, "addr add 10.0.0.100/32 dev eth0")
	p.mend(p.finds(
		"wrong: the tunnel interface gre9 is for packets without a GRE checksum, and those of the director are with",
		"wrong: arp_ignore is 0 on eth0: this machine answers ARP for the virtual addresses",
		"wrong: arp_announce is less than 2 on eth0: this machine asks by ARP in the name of virtual addresses",
		"wrong: the virtual address 10.0.0.100 is on eth0, an interface on the network",
		"wrong: the tunnel interface mine is down",
		"wrong: rp_filter is strict on mine",
		"wrong: the virtual address 10.0.0.101 is not on the tunnel interface mine",
		"wrong: the kernel does not take gue at UDP port 6080",
		"warning: clients are asked for TCP segments of 1460 bytes, and 1428 fit into the gue tunnel to 10.0.0.21",
	))
	p.finds()
}

func TestTheDoctorAsksTheKernel(t *testing.T) {
	cfg := parse(t, `
[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
scheduler = "sh"
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
[check.c]
type = "tcp"
[admin]
socket = "/nowhere/admin.sock"
`)
	var f Facts
	var err error
	netnstest.New(t, "lb").Do(func() { f, _, err = Gather(t.Context(), cfg, Options{Roles: []Role{Director}}) })
	if err != nil {
		t.Fatal(err)
	}
	if f.DirectorFacts.IPVS != Present || f.DirectorFacts.Lacking == nil || len(f.DirectorFacts.Lacking) > 0 || len(f.Unseen) > 0 {
		t.Errorf("IPVS %v, lacking %v, unseen %v, want it with all modules", f.DirectorFacts.IPVS, f.DirectorFacts.Lacking, f.Unseen)
	}
}
