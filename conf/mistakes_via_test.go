package conf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// viaMistakes are in the keys of checks that ask through the virtual address.
var viaMistakes = []mistake{
	{"way", `type = "http"`, "type = \"http\"\nvia = \"vpi\"",
		`23:7: check.front-page.via: "vpi" is not a way to the real server; did you mean "vip"?`},
	{"way of a type that does not connect", ``, "[check.x]\ntype = \"icmp\"\nvia = \"vip\"\n",
		`26:1: check.x.via: via is for tcp, http, https, grpc, dns, smtp, udp checks, and this one has type "icmp"`},
	{"marks of probes", ``, "[ipvs]\nprobe_marks = 0x1000001\n",
		`25:15: ipvs.probe_marks: 0x01000001 is not a multiple of 0x01000000, such as 0x68000000`},
	{"marks of probes, too small", ``, "[ipvs]\nprobe_marks = 1\n",
		`25:15: ipvs.probe_marks: 1 is out of range: want an integer from 16777216 to 4278190080`},
}

// through is a virtual server with these keys whose real servers are asked through its address.
func through(keys, more string) string {
	return "[check.path]\ntype = \"tcp\"\nvia = \"vip\"\n[check.plain]\ntype = \"tcp\"\n" + more + "[virtual_server.web]\n" + keys
}

const throughTwo = "check = \"path\"\nreal_server = { a = { address = \"10.0.0.21:80\" }, b = { address = \"10.0.0.22:80\" } }\n"

// Who cannot be asked through the virtual address is named, at the key that asks for it.
func TestMistakesThroughTheVIP(t *testing.T) {
	const tcp = "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\n"
	for _, tt := range []struct{ name, text, want string }{
		{"nat", through(tcp+"forward = \"nat\"\n"+throughTwo, ""),
			`f:10:9: virtual_server.web.check: the check path has via = "vip", and a has forward = "nat": only with dr and tun the real server has the virtual address`},
		{"fullnat of one", through(tcp+"check = \"plain\"\nreal_server = { a = { address = \"10.0.0.21:80\" }, b = { address = \"10.0.0.22:80\", forward = \"fullnat\", check = [\"plain\", \"path\"] } }\n", ""),
			`f:10:112: virtual_server.web.real_server.b.check: the check path has via = "vip", and b has forward = "fullnat": only with dr and tun the real server has the virtual address`},
		{"this machine", through(tcp+"check = \"path\"\nreal_server = { a = { address = \"127.0.0.1:80\" } }\n", ""),
			`f:9:9: virtual_server.web.check: the check path has via = "vip", and a is this machine: there is no way to look at`},
		{"a mark that somebody else sets", through("fwmark = 7\n"+throughTwo, ""),
			`f:8:9: virtual_server.web.check: the check path has via = "vip", and the file does not say which addresses clients of the firewall mark connect to: want mark = ["10.0.0.100:80"]`},
		{"a mark of probes", through("fwmark = 1744830465\nmark = [\"10.0.0.100:80\"]\nprotocol = \"tcp\"\n"+throughTwo, ""),
			`f:7:10: virtual_server.web.fwmark: 1744830465 is among the marks of probes, 0x68000000 to 0x68ffffff: want another one, or other probe_marks in [ipvs]`},
		{"Masters alone", through(tcp+throughTwo, "[ipvs]\nbackup_only = true\n"),
			`f:7:15: ipvs.backup_only: the check path has via = "vip", and with this the kernel of a Backup sends its probes to the Master: want false`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := conf.Parse([]byte(tt.text), "f")
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A path is the first of the virtual server's addresses, and a mark that is the real server's
// own: the same in every virtual server that it is reached in the same way, and whatever else
// the file has.
func TestPathsThroughTheVIP(t *testing.T) {
	const more = `[virtual_server.other]
		address = ["10.0.0.101:81", "10.0.0.102:81"]
		protocol = "udp"
		check = ["plain", "path"]
		real_server = { a = { address = "10.0.0.21:81" }, t = { address = "10.0.0.22:81", forward = "tun", check = "path" }, p = { address = "10.0.0.23:81", check = "plain" } }
		`
	web := through("address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\n"+throughTwo, "")
	paths := func(text string) map[string]map[string]healthcheck.Path {
		t.Helper()
		all := make(map[string]map[string]healthcheck.Path)
		for _, vs := range parse(t, text).VirtualServers {
			for _, rs := range vs.RealServers {
				all[vs.Name+"/"+rs.Name] = rs.Paths
			}
		}
		return all
	}
	alone, together := paths(web), paths(strings.Replace(web, "[virtual_server.web]", more+"[virtual_server.web]", 1))
	for name, want := range alone {
		if diff := cmp.Diff(want, together[name], sameValues); diff != "" {
			t.Errorf("%s, without other +with another virtual server:\n%s", name, diff)
		}
	}
	a, b, again, tunnel := together["web/a"]["path"], together["web/b"]["path"], together["other/a"]["path"], together["other/t"]["path"]
	if a.VIP.String() != "10.0.0.100" || again.VIP.String() != "10.0.0.101" {
		t.Errorf("asked are %v and %v", a.VIP, again.VIP)
	}
	if a.Mark != again.Mark || a.Mark == b.Mark || b.Mark == tunnel.Mark || a.Mark>>24 != 0x68 || tunnel.Mark>>24 != 0x68 {
		t.Errorf("marks 0x%x, 0x%x, 0x%x of another virtual server, 0x%x of a tunnel", a.Mark, b.Mark, again.Mark, tunnel.Mark)
	}
	if len(together["other/a"]) != 1 || together["other/p"] != nil {
		t.Errorf("paths of a check without one: %v, %v", together["other/a"], together["other/p"])
	}
	moved := paths(web + "[ipvs]\nprobe_marks = 0x42000000\n")["web/a"]["path"]
	if moved.Mark != a.Mark-0x68000000+0x42000000 {
		t.Errorf("mark 0x%x with other marks of probes, 0x%x without", moved.Mark, a.Mark)
	}
}
