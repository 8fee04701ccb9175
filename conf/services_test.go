package conf_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
)

// inKernel is a virtual server as ipvsadm would be told of it.
func inKernel(vs *conf.VirtualServer) string {
	table := ipvs.Table{}
	for s := range vs.Services() {
		e := ipvs.Entry{Service: s, Destinations: map[ipvs.DestinationKey]ipvs.Destination{}}
		for i := range vs.RealServers {
			d := vs.Destination(s.Key, &vs.RealServers[i])
			e.Destinations[d.Key] = d
		}
		table[s.Key] = e
	}
	return table.String()
}

// What a virtual server is in the kernel, and the port that real servers have there.
func TestServices(t *testing.T) {
	const (
		direct = "real_server = { a = { address = \"10.0.0.21:8000\" } }\n"
		nat    = "forward = \"nat\"\nreal_server = { a = { address = \"10.0.0.21:9000\" }, b = { address = \"10.0.0.22:0\" } }\n"
	)
	for _, tt := range []struct{ name, text, want string }{
		{"a list of addresses", "address = [\"10.0.0.100:8000\", \"10.0.0.101:8000\"]\nprotocol = \"tcp\"\n" + direct,
			"-A -t 10.0.0.100:8000 -s wlc\n-a -t 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w 1\n" +
				"-A -t 10.0.0.101:8000 -s wlc\n-a -t 10.0.0.101:8000 -r 10.0.0.21:8000 -g -w 1\n"},
		{"a range, direct routing", "address = \"10.0.0.100:8000-8001\"\nprotocol = \"sctp\"\n" + direct,
			"-A --sctp-service 10.0.0.100:8000 -s wlc\n-a --sctp-service 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w 1\n" +
				"-A --sctp-service 10.0.0.100:8001 -s wlc\n-a --sctp-service 10.0.0.100:8001 -r 10.0.0.21:8001 -g -w 1\n"},
		{"a range, nat", "address = \"10.0.0.100:8000-8001\"\nprotocol = \"tcp\"\n" + nat,
			"-A -t 10.0.0.100:8000 -s wlc\n-a -t 10.0.0.100:8000 -r 10.0.0.21:9000 -m -w 1\n-a -t 10.0.0.100:8000 -r 10.0.0.22:8000 -m -w 1\n" +
				"-A -t 10.0.0.100:8001 -s wlc\n-a -t 10.0.0.100:8001 -r 10.0.0.21:9000 -m -w 1\n-a -t 10.0.0.100:8001 -r 10.0.0.22:8001 -m -w 1\n"},
		{"one packet", "address = \"10.0.0.100:8000\"\nprotocol = \"udp\"\none_packet = true\n" + direct,
			"-A -u 10.0.0.100:8000 -s wlc -o\n-a -u 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w 1\n"},
		{"every port", "address = \"10.0.0.100:0\"\nprotocol = \"tcp\"\npersistence = \"60s\"\npersistence_netmask = 24\n" + direct,
			"-A -t 10.0.0.100:0 -s wlc -p 60 -M 255.255.255.0\n-a -t 10.0.0.100:0 -r 10.0.0.21:0 -g -w 1\n"},
		{"every port, nat", "address = \"10.0.0.100:0\"\nprotocol = \"tcp\"\npersistence = \"60s\"\npersistence_netmask = \"255.255.0.0\"\n" + nat,
			"-A -t 10.0.0.100:0 -s wlc -p 60 -M 255.255.0.0\n-a -t 10.0.0.100:0 -r 10.0.0.21:0 -m -w 1\n-a -t 10.0.0.100:0 -r 10.0.0.22:0 -m -w 1\n"},
		{"a firewall mark", "fwmark = 10\n" + direct, "-A -f 10 -s wlc\n-a -f 10 -r 10.0.0.21:0 -g -w 1\n"},
		{"a firewall mark, nat", "fwmark = 4294967295\none_packet = true\n" + nat,
			"-A -f 4294967295 -s wlc -o\n-a -f 4294967295 -r 10.0.0.21:9000 -m -w 1\n-a -f 4294967295 -r 10.0.0.22:0 -m -w 1\n"},
		{"a persistent firewall mark, nat", "fwmark = 10\npersistence = \"60s\"\n" + nat,
			"-A -f 10 -s wlc -p 60\n-a -f 10 -r 10.0.0.21:0 -m -w 1\n-a -f 10 -r 10.0.0.22:0 -m -w 1\n"},
		{"a marked range", "fwmark = 10\nmark = \"10.0.0.100:7999-8000\"\nprotocol = \"udp\"\npersistence = \"60s\"\npersistence_engine = \"sip\"\n" + direct,
			"-A -f 10 -s wlc -p 60 --pe sip\n-a -f 10 -r 10.0.0.21:0 -g -w 1\n"},
		{"a firewall mark of IPv6", "fwmark = 10\nfamily = \"ipv6\"\npersistence = \"60s\"\npersistence_netmask = 64\nreal_server = { a = { address = \"[2001:db8::21]:80\" } }\n",
			"-A -f 10 -6 -s wlc -p 60 -M 64\n-a -f 10 -6 -r [2001:db8::21]:0 -g -w 1\n"},
		{"a mark by an address of IPv6", "fwmark = 10\nmark = [\"[2001:db8::100]:80\"]\nprotocol = \"tcp\"\nreal_server = { a = { address = \"[2001:db8::21]:80\" } }\n",
			"-A -f 10 -6 -s wlc\n-a -f 10 -6 -r [2001:db8::21]:0 -g -w 1\n"},
		{"bounds of connections", "address = \"10.0.0.100:80\"\nprotocol = \"tcp\"\nreal_server = { a = { address = \"10.0.0.21:80\", connections_max = 100, connections_min = 80 } }\n",
			"-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1 -x 100 -y 80\n"},
		{"scheduler flags", "address = \"10.0.0.100:8000\"\nprotocol = \"tcp\"\nscheduler = \"sh\"\nscheduler_flags = [\"sh-port\", \"sh-fallback\"]\n" + direct,
			"-A -t 10.0.0.100:8000 -s sh -b sh-fallback,sh-port\n-a -t 10.0.0.100:8000 -r 10.0.0.21:8000 -g -w 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, "[virtual_server.web]\n"+tt.text)
			if diff := cmp.Diff(tt.want, inKernel(&c.VirtualServers[0])); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			again := parse(t, c.String())
			if diff := cmp.Diff(c, again, sameValues); diff != "" {
				t.Errorf("the effective text says something else:\n%s\n%s", c, diff)
			}
		})
	}
}

func TestMarkings(t *testing.T) {
	c := parse(t, "[virtual_server.web]\nfwmark = 10\nmark = [\"10.0.0.100:80\", \"10.0.0.101:0\", \"10.0.0.100:8000-8999\"]\nprotocol = \"tcp\"\n")
	vs := c.VirtualServers[0]
	want := []string{"fwmark 10 for tcp 10.0.0.100:80", "fwmark 10 for tcp 10.0.0.101:0", "fwmark 10 for tcp 10.0.0.100:8000-8999"}
	var got []string
	for _, m := range vs.Marked {
		got = append(got, m.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff("[10.0.0.100 10.0.0.101]", fmt.Sprint(vs.VIPs())); diff != "" {
		t.Errorf("addresses, -want +got:\n%s", diff)
	}
}

// Ten thousand ports are refused, and so is every pair of equal keys among thousands of
// services, without a wait.
func TestManyPorts(t *testing.T) {
	var text strings.Builder
	for i := range 64 {
		fmt.Fprintf(&text, "[virtual_server.v%d]\naddress = \"10.0.1.%d:1-1024\"\nprotocol = \"tcp\"\nreal_server = { a = { address = \"10.0.0.21:1\" } }\n", i, i%63+1)
	}
	start := time.Now()
	_, err := conf.Parse([]byte(text.String()), "f")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	const want = "f:254:11: virtual_server.v63.address: tcp 10.0.1.1:1 is already the virtual server v0 (line 2)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c := parse(t, "[virtual_server.v]\naddress = [\"10.0.0.1:1-1000\", \"10.0.0.2:65512-65535\"]\nprotocol = \"tcp\"\n")
	n, last := 0, ipvs.Service{}
	for s := range c.VirtualServers[0].Services() {
		n, last = n+1, s
	}
	if n != 1024 || last.Key.Addr != netip.MustParseAddrPort("10.0.0.2:65535") {
		t.Errorf("%d services, the last is %s", n, last.Key)
	}
}
