package conf_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
)

// tunnelMistakes are in the tunnels of virtual servers, real servers and sorry servers.
var tunnelMistakes = []mistake{
	{"tunnel without tun", `forward = "dr"`, "forward = \"nat\"\ntunnel = \"gue\"\ntunnel_port = 6080\ntunnel_checksum = \"none\"",
		`16:1: virtual_server.web.tunnel: has no meaning with forward = "nat": only "tun" has tunnels` + "\n" +
			`17:1: virtual_server.web.tunnel_port: has no meaning with forward = "nat": only "tun" has tunnels` + "\n" +
			`18:1: virtual_server.web.tunnel_checksum: has no meaning with forward = "nat": only "tun" has tunnels`},
	{"tunnel with the default", `forward = "dr"`, `tunnel = "ipip"`,
		`15:1: virtual_server.web.tunnel: has no meaning with forward = "dr": only "tun" has tunnels`},
	{"real server's tunnel without tun", `weight = 1 }`, `tunnel = "gre" }`,
		`18:37: virtual_server.web.real_server.web-1.tunnel: has no meaning with forward = "dr": only "tun" has tunnels`},
	{"sorry server's tunnel without tun", `forward = "dr"`, `sorry_server = { address = "10.0.0.9:80", tunnel = "gre" }`,
		`15:43: virtual_server.web.sorry_server.tunnel: has no meaning with forward = "dr": only "tun" has tunnels`},
	{"tunnel of an unknown type", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gra\"\ntunnel_port = 6080",
		`16:10: virtual_server.web.tunnel: "gra" is not a tunnel; did you mean "gre"?`},
	{"tunnel in another's words", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"fou\"",
		`16:10: virtual_server.web.tunnel: "fou" is not a tunnel; did you mean "gue"?`},
	{"gue without a port", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gue\"",
		`16:10: virtual_server.web.tunnel: gue needs tunnel_port, the UDP port that the real server listens on, such as 6080`},
	{"real server's gue without a port", `weight = 1 }`, `forward = "tun", tunnel = "gue" }`,
		`18:63: virtual_server.web.real_server.web-1.tunnel: gue needs tunnel_port, the UDP port that the real server listens on, such as 6080`},
	{"port with gre", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gre\"\ntunnel_port = 6080",
		`17:1: virtual_server.web.tunnel_port: has no meaning with tunnel = "gre": only gue has a port`},
	{"port with the default tunnel", `forward = "dr"`, "forward = \"tun\"\ntunnel_port = 6080",
		`16:1: virtual_server.web.tunnel_port: has no meaning with tunnel = "ipip": only gue has a port`},
	{"port out of range", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gue\"\ntunnel_port = 65536",
		`17:15: virtual_server.web.tunnel_port: 65536 is out of range: want an integer from 1 to 65535`},
	{"checksum with ipip", `forward = "dr"`, "forward = \"tun\"\ntunnel_checksum = \"none\"",
		`16:1: virtual_server.web.tunnel_checksum: has no meaning with tunnel = "ipip": only gue and gre have a checksum of their own`},
	{"remote checksum with gre", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gre\"\ntunnel_checksum = \"remote\"",
		`17:19: virtual_server.web.tunnel_checksum: gre has no remote checksum, only gue: want none or plain`},
	{"checksum in ipvsadm's words", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gre\"\ntunnel_checksum = \"csum\"",
		`17:19: virtual_server.web.tunnel_checksum: "csum" is not a tunnel checksum; did you mean "plain"?`},
	{"real server's remote checksum with the virtual server's gre", `forward = "dr"`, "forward = \"tun\"\ntunnel = \"gre\"\n" +
		`real_server.web-0 = { address = "10.0.0.23:80", tunnel_checksum = "remote" }`,
		`17:67: virtual_server.web.real_server.web-0.tunnel_checksum: gre has no remote checksum, only gue: want none or plain`},
}

// Which tunnel a real server has, of its own and of its virtual server's settings.
func TestTunnels(t *testing.T) {
	const gue = "tunnel = \"gue\"\ntunnel_port = 6080\ntunnel_checksum = \"remote\"\n"
	for _, tt := range []struct{ name, tunnel, real, want string }{
		{"the default", "", "", "--tun-type ipip"},
		{"ipip", `tunnel = "ipip"`, "", "--tun-type ipip"},
		{"gue", "tunnel = \"gue\"\ntunnel_port = 6080", "", "--tun-type gue --tun-port 6080 --tun-nocsum"},
		{"gue, plain", "tunnel = \"gue\"\ntunnel_port = 6080\ntunnel_checksum = \"plain\"", "", "--tun-type gue --tun-port 6080 --tun-csum"},
		{"gue, remote", gue, "", "--tun-type gue --tun-port 6080 --tun-remcsum"},
		{"gre", `tunnel = "gre"`, "", "--tun-type gre --tun-nocsum"},
		{"gre, plain", "tunnel = \"gre\"\ntunnel_checksum = \"plain\"", "", "--tun-type gre --tun-csum"},
		{"another port", gue, ", tunnel_port = 6081", "--tun-type gue --tun-port 6081 --tun-remcsum"},
		{"another checksum", gue, `, tunnel_checksum = "none"`, "--tun-type gue --tun-port 6080 --tun-nocsum"},
		{"the same tunnel", gue, `, tunnel = "gue"`, "--tun-type gue --tun-port 6080 --tun-remcsum"},
		{"another tunnel", gue, `, tunnel = "gre"`, "--tun-type gre --tun-nocsum"},
		{"none", gue, `, forward = "dr"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "[virtual_server.v]\naddress = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"tun\"\n" + tt.tunnel +
				"\nreal_server = { a = { address = \"10.0.0.21:80\"" + tt.real + " } }\n" +
				"sorry_server = { address = \"10.0.0.9:80\"" + tt.real + " }\n"
			c, err := conf.Parse([]byte(text), "f")
			if err != nil {
				t.Fatal(err)
			}
			vs := c.VirtualServers[0]
			d := vs.Destination(vs.Service.Key, vs.SorryServer)
			_, got, _ := strings.Cut(inKernel(&vs), "-w 1")
			if got = strings.TrimSpace(got); got != tt.want || !strings.HasSuffix(d.String(), tt.want) {
				t.Errorf("%q, and the sorry server %s, want %q", got, d, tt.want)
			}
			again, err := conf.Parse([]byte(c.String()), "effective")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.String(), again.String()); diff != "" {
				t.Errorf("the effective configuration read back (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.VirtualServers[0].RealServers, again.VirtualServers[0].RealServers, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("its real servers (-want +got):\n%s", diff)
			}
		})
	}
}
