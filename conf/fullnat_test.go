package conf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const fullNATKeys = "[virtual_server.f]\nprotocol = \"tcp\"\naddress = \"10.0.0.101:8000-8001\"\n"

var fullNATMistakes = []mistake{
	{"source_address without fullnat", `forward = "dr"`, "source_address = \"10.0.0.101\"",
		`15:1: virtual_server.web.source_address: source_address has no meaning without forward = "fullnat"`},
	{"source_address of the other family", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = \"2001:db8::1\"",
		`16:18: virtual_server.web.source_address: 2001:db8::1 is IPv6, the virtual server's 10.0.0.100 is IPv4`},
	{"source_address of one director", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = \"10.0.0.11\"",
		`16:18: virtual_server.web.source_address: 10.0.0.11 is the address of the director lb-a alone: want a table of directors, such as { lb-a = "10.0.0.11", lb-b = "10.0.0.12" }`},
	{"source_address with a port", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = \"10.0.0.101:80\"",
		`16:18: virtual_server.web.source_address: "10.0.0.101:80" has a port: want the address alone, "10.0.0.101"`},
	{"source_address, an integer", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = 10",
		`16:18: virtual_server.web.source_address: want a table of directors, such as { lb-a = "10.0.0.11", lb-b = "10.0.0.12" }, or one address for all, found the integer 10`},
	{"source_address of an unknown director", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = { lb-a = \"10.0.0.11\", lb-x = \"10.0.0.12\" }",
		`16:40: virtual_server.web.source_address.lb-x: no director is named "lb-x"; did you mean "lb-a"?`},
	{"source_address of the other family, for one director", `forward = "dr"`, "forward = \"fullnat\"\nsource_address = { lb-a = \"2001:db8::11\" }",
		`16:27: virtual_server.web.source_address.lb-a: 2001:db8::11 is IPv6, the virtual server's 10.0.0.100 is IPv4`},
	{"fullnat of a foreign mark", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"dr\"", "fwmark = 10\nforward = \"fullnat\"",
		`13:10: virtual_server.web.fwmark: forward = "fullnat" needs a source_address here: the file does not say which addresses clients of the firewall mark connect to`},
	{"fullnat of a foreign mark, half of it", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"dr\"", "fwmark = 10\nforward = \"fullnat\"\nsource_address = { lb-b = \"10.0.0.12\" }",
		`15:1: virtual_server.web.source_address: lb-a is missing: the file does not say which addresses clients of the firewall mark connect to, so every director needs one`},
	{"source_address of a foreign mark's other family", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"dr\"", "fwmark = 10\nforward = \"fullnat\"\nsource_address = \"2001:db8::1\"",
		`15:18: virtual_server.web.source_address: 2001:db8::1 is IPv6, and the firewall mark is for IPv4`},
	{"fullnat of single packets", "protocol = \"tcp\"\nforward = \"dr\"", "protocol = \"udp\"\nforward = \"fullnat\"\none_packet = true",
		`16:14: virtual_server.web.one_packet: the kernel keeps no connections with one_packet, and forward = "fullnat" needs them to bring answers back`},
	{"fullnat without connection tracking", ``, fullNATKeys + "forward = \"fullnat\"\nreal_server = { a = { address = \"10.0.0.21:80\" } }\n[ipvs]\nconntrack = false\n",
		`30:13: ipvs.conntrack: the virtual server f has forward = "fullnat", which needs it: want true, or leave it out`},
	{"nat and fullnat on one machine", "forward = \"dr\"", "forward = \"fullnat\"\nsorry_server = { address = \"10.0.0.21:81\", forward = \"nat\" }",
		`16:28: virtual_server.web.sorry_server.address: 10.0.0.21 is the machine of web-1 too, which has forward = "fullnat": a machine has either nat or fullnat in a virtual server`},
	{"nat and fullnat on one machine, two ports", ``, fullNATKeys + "[virtual_server.f.real_server]\na = { address = \"10.0.0.21:80\", forward = \"fullnat\" }\nb = { address = \"10.0.0.21:81\", forward = \"nat\" }\n",
		`29:17: virtual_server.f.real_server.b.address: 10.0.0.21 is the machine of a too, which has forward = "fullnat": a machine has either nat or fullnat in a virtual server`},
}

func TestSourceAddressWarning(t *testing.T) {
	text := strings.Replace(good, `forward = "dr"`, "forward = \"fullnat\"\nsource_address = \"10.0.0.102\"", 1)
	want := `16:18: virtual_server.web.source_address: warning: no [vrrp] instance has 10.0.0.102 among its virtual_addresses: answers come back to the director that is Master only if the address moves with it`
	if diff := cmp.Diff(want, said(t, parse(t, text).Warnings)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What nftables has to do, and what check --print says of it.
func TestFullNAT(t *testing.T) {
	const servers = "real_server = { a = { address = \"10.1.0.21:80\" }, b = { address = \"10.1.0.22:0\" }, c = { address = \"10.1.0.23:80\", forward = \"nat\" } }\n"
	for _, tt := range []struct{ name, text, director, printed, want string }{
		{"one address", "address = \"10.0.0.100:8000\"\nprotocol = \"tcp\"\nforward = \"fullnat\"\nreal_server = { a = { address = \"10.1.0.21:80\" } }\n", "lb-a", "",
			"fullnat tcp 10.0.0.100:8000 to 10.1.0.21:80\n"},
		{"a range", "address = \"10.0.0.100:8000-8001\"\nprotocol = \"udp\"\nforward = \"fullnat\"\n" + servers, "lb-a", "",
			"fullnat udp 10.0.0.100:8000 to 10.1.0.21:80\nfullnat udp 10.0.0.100:8000 to 10.1.0.22:8000\n" +
				"fullnat udp 10.0.0.100:8001 to 10.1.0.21:80\nfullnat udp 10.0.0.100:8001 to 10.1.0.22:8001\n"},
		{"one source", "address = \"10.0.0.100:0\"\nprotocol = \"tcp\"\npersistence = \"60s\"\nforward = \"fullnat\"\nsource_address = \"10.0.0.101\"\n" + servers, "lb-b",
			"source_address = \"10.0.0.101\"\n",
			"fullnat tcp 10.0.0.100:0 to 10.1.0.21:0 from 10.0.0.101\nfullnat tcp 10.0.0.100:0 to 10.1.0.22:0 from 10.0.0.101\n"},
		{"a source for each", "fwmark = 10\nforward = \"fullnat\"\nsource_address = { lb-b = \"10.0.0.12\", lb-a = \"10.0.0.11\" }\n" + servers, "lb-b",
			"source_address = { lb-a = \"10.0.0.11\", lb-b = \"10.0.0.12\" }\n",
			"fullnat fwmark 10 to 10.1.0.21:80 from 10.0.0.12\nfullnat fwmark 10 to 10.1.0.22:0 from 10.0.0.12\n"},
		{"a source for one", "fwmark = 10\nmark = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"fullnat\"\nsource_address = { lb-a = \"10.0.0.11\" }\n" + servers, "lb-b",
			"source_address = { lb-a = \"10.0.0.11\" }\n",
			"fullnat fwmark 10 to 10.1.0.21:80\nfullnat fwmark 10 to 10.1.0.22:0\n"},
		{"the sorry server alone", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nsorry_server = { address = \"10.1.0.9:8080\", forward = \"fullnat\" }\n", "lb-a", "",
			"fullnat tcp 10.0.0.100:80 to 10.1.0.9:8080\n"},
		{"a director that the file does not name", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nforward = \"fullnat\"\nreal_server = { a = { address = \"10.1.0.21:80\" } }\n", "other", "",
			"fullnat tcp 10.0.0.100:80 to 10.1.0.21:80\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := parse(t, "[director.lb-a]\naddress = \"10.0.0.11\"\n[director.lb-b]\naddress = \"10.0.0.12\"\n[virtual_server.f]\n"+tt.text)
			vs := &cfg.VirtualServers[0]
			var got strings.Builder
			for s := range vs.Services() {
				for i := range vs.RealServers {
					if tr, ok := vs.Translation(s.Key, &vs.RealServers[i], tt.director); ok {
						fmt.Fprintln(&got, tr)
					}
				}
				if vs.SorryServer != nil {
					if tr, ok := vs.Translation(s.Key, vs.SorryServer, tt.director); ok {
						fmt.Fprintln(&got, tr)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" || !vs.FullNAT() {
				t.Errorf("-want +got:\n%s", diff)
			}
			printed := cfg.String()
			if tt.printed == "" && strings.Contains(printed, "source_address") || !strings.Contains(printed, tt.printed) {
				t.Errorf("printed:\n%s\nwant %s", printed, tt.printed)
			}
			if again := parse(t, printed).String(); again != printed {
				t.Errorf("printed again:\n%s", cmp.Diff(printed, again))
			}
		})
	}
}
