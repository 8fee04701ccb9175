package doctor

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

func parse(t *testing.T, text string) *conf.Config {
	t.Helper()
	cfg, err := conf.Parse([]byte(text), "ha.toml")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// said is the report but for its last line.
func said(t *testing.T, r Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > width+1 && !strings.HasPrefix(line, "      ") {
			t.Errorf("line of more than %d columns: %s", width, line)
		}
	}
	i := strings.LastIndex(strings.TrimSuffix(b.String(), "\n"), "\n") + 1
	return b.String()[:i]
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(prefixes ...string) []netif.InterfaceAddress {
	var list []netif.InterfaceAddress
	for _, p := range prefixes {
		list = append(list, netif.InterfaceAddress{Prefix: netip.MustParsePrefix(p)})
	}
	return list
}

func listener(p ipvs.Protocol, addr string) Listener {
	return Listener{Protocol: p, Addr: netip.MustParseAddrPort(addr)}
}

const pairOfDirectors = `
[director.lb-a]
address = "10.0.0.11"
priority = 150
[director.lb-b]
address = "10.0.0.12"
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.1/24", "10.0.0.100/24", "10.0.0.101/24"]
[vrrp.web6]
interface = "eth0"
vrid = 51
virtual_addresses = ["fe80::100/64", "2001:db8::100/64"]
[check.c]
type = "tcp"
`

func forwarding(method, vip, own string) string {
	return pairOfDirectors + `
[virtual_server.web]
address = "` + vip + `"
protocol = "tcp"
forward = "` + method + `"
check = "c"
real_server = { a = { address = "` + own + `" } }
`
}

// aRealServer is one that is as it should be for virtual addresses on lo, and has the
// tunnel ends too.
func aRealServer() Facts {
	return Facts{
		Hostname: "rs-1",
		Interfaces: []netif.Interface{
			{Name: "lo", Kind: "device", Up: true, Carrier: true, Loopback: true, MTU: 65536, Addresses: at("127.0.0.1/8", "::1/128", "10.0.0.100/32", "2001:db8::100/128")},
			{Name: "eth0", Kind: "device", Up: true, Carrier: true, MTU: 1500, Addresses: at("10.0.0.21/24", "2001:db8::21/64")},
			{Name: "eth1", Kind: "device", MTU: 1500},
		},
		Sysctls: map[string]string{
			"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2", "net/ipv4/conf/all/rp_filter": "0",
			"net/ipv4/conf/eth0/arp_ignore": "0", "net/ipv4/conf/eth0/arp_announce": "0", "net/ipv4/conf/eth0/rp_filter": "1",
		},
		RealServerFacts: RealServerFacts{
			Answers: map[netip.Addr]netif.Way{
				addr("10.0.0.21"):    {Interface: "eth0", Gateway: addr("10.0.0.1"), AdvMSS: 1440},
				addr("2001:db8::21"): {Interface: "eth0", Gateway: addr("2001:db8::1"), MTU: 1460},
			},
			Listeners: []Listener{listener(ipvs.TCP, "0.0.0.0:80"), listener(ipvs.TCP, "[::]:443")},
			Modules:   map[string]Presence{"ipip": Present},
		},
	}
}

// withTunnels moves the virtual addresses to tunnels.
func withTunnels(f *Facts) {
	f.Interfaces[0].Addresses = at("127.0.0.1/8", "::1/128")
	f.Interfaces = append(f.Interfaces,
		netif.Interface{Name: "tunl0", Kind: "ipip", Up: true, Carrier: true, MTU: 1480, Addresses: at("10.0.0.100/32")},
		netif.Interface{Name: "ha.6", Kind: "ip6tnl", Up: true, Carrier: true, MTU: 1452, Addresses: at("2001:db8::100/128")})
	f.Sysctls["net/ipv4/conf/tunl0/rp_filter"] = "0"
	f.RealServerFacts.Tunnels = []netif.Tunnel{{Name: "ha.6", Kind: "ip6tnl", Local: addr("2001:db8::21"), Up: true}}
	f.RealServerFacts.Ports = []netif.Port{{Number: 6080, IPv6: true}}
}

func TestRealServerAsItShouldBe(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		with         func(*Facts)
		fine         int
	}{
		{"dr", forwarding("dr", "10.0.0.100:80", "10.0.0.21:80"), func(*Facts) {}, 4},
		{"dr on a dummy", forwarding("dr", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			f.Interfaces[0].Addresses = nil
			f.Interfaces[2] = netif.Interface{Name: "dummy0", Kind: "dummy", Up: true, Addresses: at("10.0.0.100/32")}
		}, 4},
		{"dr, the parameter on the interface alone", forwarding("dr", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			f.Sysctls["net/ipv4/conf/all/arp_ignore"], f.Sysctls["net/ipv4/conf/eth0/arp_ignore"] = "0", "2"
		}, 4},
		{"dr of IPv6", forwarding("dr", "[2001:db8::100]:443", "[2001:db8::21]:443"), func(f *Facts) { clear(f.Sysctls) }, 2},
		{"a director too, and Master", forwarding("dr", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			f.Hostname = "lb-a"
			f.Interfaces[1].Addresses = at("10.0.0.21/24", "10.0.0.100/24")
		}, 4},
		{"tun", forwarding("tun", "10.0.0.100:80", "10.0.0.21:80"), withTunnels, 7},
		{"tun by gre", forwarding("tun\"\ntunnel = \"gre", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			withTunnels(f)
			f.Interfaces[3].Name, f.Interfaces[3].Kind = "his", "gre"
			f.RealServerFacts.Tunnels = []netif.Tunnel{{Name: "his", Kind: "gre", Local: addr("10.0.0.21")}}
			f.RealServerFacts.Answers[addr("10.0.0.21")] = netif.Way{Interface: "eth0", Gateway: addr("10.0.0.254"), AdvMSS: 1436}
		}, 7},
		{"tun by gue of IPv6", forwarding("tun\"\ntunnel = \"gue\"\ntunnel_port = 6080\ntunnel_checksum = \"remote", "[2001:db8::100]:443", "[2001:db8::21]:443"), func(f *Facts) {
			withTunnels(f)
			f.RealServerFacts.Answers[addr("2001:db8::21")] = netif.Way{Interface: "eth0", Gateway: addr("2001:db8::1"), AdvMSS: 1380}
		}, 5},
		{"tun of IPv6", forwarding("tun", "[2001:db8::100]:443", "[2001:db8::21]:443"), withTunnels, 4},
		{"nat", forwarding("nat", "10.0.0.100:8080", "10.0.0.21:80"), func(f *Facts) { clear(f.Sysctls) }, 2},
		{"fullnat", forwarding("fullnat", "10.0.0.100:8080", "10.0.0.21:80"), func(f *Facts) {
			clear(f.Sysctls)
			clear(f.RealServerFacts.Answers)
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := aRealServer()
			tt.with(&f)
			r := Diagnose(parse(t, tt.config), f, RealServer)
			if text := said(t, r); text != "" || r.Count(Fine) != tt.fine {
				t.Errorf("%d are fine, want %d, and this is said:\n%s", r.Count(Fine), tt.fine, text)
			}
		})
	}
}

func TestRealServerFindings(t *testing.T) {
	dr := forwarding("dr", "10.0.0.100:80", "10.0.0.21:80")
	tun := forwarding("tun", "10.0.0.100:80", "10.0.0.21:80")
	tun6 := forwarding("tun", "[2001:db8::100]:443", "[2001:db8::21]:443")
	nat := forwarding("nat", "10.0.0.100:8080", "10.0.0.21:80")
	for _, tt := range []struct {
		name, config string
		with         func(*Facts)
		want         string
	}{
		{"not in the file", forwarding("dr", "10.0.0.100:80", "10.0.0.22:80"), func(*Facts) {}, `
WRONG: no real server of ha.toml has an address of this machine.
  It has 10.0.0.100, 2001:db8::100, 10.0.0.21, 2001:db8::21, and gets nothing
  from the directors.
  To do: Give this machine the address that the file has for it, or use the file
  that is meant for it (-c).
`},
		{"no virtual address", dr, func(f *Facts) { f.Interfaces[0].Addresses = nil }, `
WRONG: the virtual address 10.0.0.100 is not on lo.
  The director sends clients' packets here unchanged (forward = "dr"), and this
  machine drops them as meant for another one.
      hadirector realserver start -c ha.toml
`},
		{"the prefix length of the network", dr, func(f *Facts) { f.Interfaces[0].Addresses = at("10.0.0.100/24") }, `
WRONG: the virtual address 10.0.0.100 is on lo with the prefix length /24
  instead of /32.
  With it all of 10.0.0.0/24 is this machine itself: it reaches none of its
  neighbours there, the director included.
      ip addr del 10.0.0.100/24 dev lo
      hadirector realserver start -c ha.toml
`},
		{"on the network", dr, func(f *Facts) {
			f.Interfaces[0].Addresses = nil
			f.Interfaces[1].Addresses = at("10.0.0.21/24", "10.0.0.100/24")
		}, `
WRONG: the virtual address 10.0.0.100 is on eth0, an interface on the network.
  This machine answers for it there, in competition with the director.
      ip addr del 10.0.0.100/24 dev eth0
      hadirector realserver start -c ha.toml
`},
		{"duplicate", forwarding("dr", "[2001:db8::100]:443", "[2001:db8::21]:443"), func(f *Facts) {
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, netif.InterfaceAddress{Prefix: netip.MustParsePrefix("2001:db8::100/64"), Duplicate: true})
		}, `
WRONG: duplicate address detection failed for the virtual address
  2001:db8::100/64 on eth0.
  Another machine, mostly the director, has it on the network, so the kernel
  does not use it here.
      ip addr del 2001:db8::100/64 dev eth0
      hadirector realserver start -c ha.toml
`},
		{"ARP", dr, func(f *Facts) {
			f.Sysctls["net/ipv4/conf/all/arp_ignore"], f.Sysctls["net/ipv4/conf/all/arp_announce"] = "0", "1"
		}, `
WRONG: arp_ignore is 0 on eth0: this machine answers ARP for the virtual
  addresses.
  Neighbours send their packets here past the director, whenever this machine is
  the quickest to answer.
      hadirector realserver start -c ha.toml

WRONG: arp_announce is less than 2 on eth0: this machine asks by ARP in the name
  of virtual addresses.
  Neighbours learn from such a question that the address is here, and their
  packets come past the director.
      hadirector realserver start -c ha.toml
`},
		{"too silent on one interface", dr, func(f *Facts) {
			f.Interfaces[1].Name = "eth0.5"
			f.Sysctls["net/ipv4/conf/eth0.5/arp_ignore"] = "8"
		}, `
WRONG: arp_ignore is 8 on eth0.5: this machine may not answer ARP for its own
  addresses.
  The director cannot find it on the network, and checks of it fail.
      sysctl -w net.ipv4.conf.eth0/5.arp_ignore=1
`},
		{"too silent everywhere", dr, func(f *Facts) { f.Sysctls["net/ipv4/conf/all/arp_ignore"] = "3" }, `
WRONG: arp_ignore is 3 on eth0: this machine may not answer ARP for its own
  addresses.
  The director cannot find it on the network, and checks of it fail.
      sysctl -w net.ipv4.conf.all.arp_ignore=1
`},
		{"tun: ARP", tun, func(f *Facts) {
			withTunnels(f)
			f.Sysctls["net/ipv4/conf/all/arp_ignore"] = "0"
		}, `
WRONG: arp_ignore is 0 on eth0: this machine answers ARP for the virtual
  addresses.
  Neighbours send their packets here past the director, whenever this machine is
  the quickest to answer.
      hadirector realserver start -c ha.toml
`},
		{"tun: no tunnel", tun, func(f *Facts) { f.Interfaces[0].Addresses = nil }, `
WRONG: no ipip interface takes the tunnels to 10.0.0.21, for the virtual address
  10.0.0.100.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
      hadirector realserver start -c ha.toml
`},
		{"tun: no tunnel of IPv6", tun6, func(*Facts) {}, `
WRONG: no ip6tnl interface takes the tunnels to 2001:db8::21, for the virtual
  address 2001:db8::100.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
      hadirector realserver start -c ha.toml
`},
		{"tun: the module's interface without the address", tun, func(f *Facts) {
			withTunnels(f)
			f.Interfaces[3].Addresses = nil
		}, `
WRONG: no ipip interface takes the tunnels to 10.0.0.21, for the virtual address
  10.0.0.100.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
      hadirector realserver start -c ha.toml
`},
		{"tun: no module", tun, func(f *Facts) { f.RealServerFacts.Modules["ipip"] = Absent }, `
WRONG: this kernel has no ipip tunnels: it lacks the module ipip.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
  To do: Install the package with the module ipip, which some distributions have
  apart from the kernel (linux-modules-extra), or another kernel.
`},
		{"tun: the interface", tun, func(f *Facts) {
			withTunnels(f)
			f.RealServerFacts.Tunnels = []netif.Tunnel{{Name: "his", Kind: "ipip", Local: addr("10.0.0.21")}}
			f.Interfaces[3].Name, f.Interfaces[3].Addresses, f.Interfaces[3].Up = "his", nil, false
			f.Sysctls["net/ipv4/conf/all/rp_filter"] = "1"
		}, `
WRONG: the tunnel interface his is down.
  What the director sends through the tunnel is dropped.
      hadirector realserver start -c ha.toml

WRONG: the virtual address 10.0.0.100 is not on the tunnel interface his.
  The packets come out of the tunnel, and this machine drops them.
      hadirector realserver start -c ha.toml

WRONG: rp_filter is strict on his.
  Clients' packets leave the tunnel there and their answers take another way, so
  the kernel drops them.
      sysctl -w net.ipv4.conf.his.rp_filter=2
`},
		{"tun: no port for gue", forwarding("tun\"\ntunnel = \"gue\"\ntunnel_port = 6081\ntunnel_checksum = \"none", "[2001:db8::100]:443", "[2001:db8::21]:443"), func(f *Facts) {
			withTunnels(f)
			delete(f.RealServerFacts.Answers, addr("2001:db8::21"))
		}, `
WRONG: the kernel does not take gue at UDP port 6081.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
      hadirector realserver start -c ha.toml
`},
		{"tun: no module for gue", forwarding("tun\"\ntunnel = \"gue\"\ntunnel_port = 6081\ntunnel_checksum = \"none", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			f.RealServerFacts.Modules["fou"] = Absent
			clear(f.RealServerFacts.Answers)
		}, `
WRONG: this kernel has no gue tunnels: it lacks the module fou.
  The director sends clients' packets here in a tunnel (forward = "tun"), and
  nobody unpacks them.
  To do: Install the package with the module fou, which some distributions have
  apart from the kernel (linux-modules-extra), or another kernel.
`},
		{"tun: the other checksum", forwarding("tun\"\ntunnel = \"gre\"\ntunnel_checksum = \"plain", "10.0.0.100:80", "10.0.0.21:80"), func(f *Facts) {
			f.RealServerFacts.Tunnels = []netif.Tunnel{{Name: "his", Kind: "gre", Local: addr("10.0.0.21")}}
			clear(f.RealServerFacts.Answers)
		}, `
WRONG: the tunnel interface his is for packets without a GRE checksum, and those
  of the director are with.
  It drops them.
      ip link del his
      hadirector realserver start -c ha.toml
`},
		{"tun: tunnels cannot be read", tun, func(f *Facts) {
			f.RealServerFacts.NoTunnels = true
			f.Unseen = []Unseen{{What: "the tunnel interfaces", Why: "a reason"}}
		}, `
UNKNOWN: the tunnel interfaces could not be looked at.
  A reason.
`},
		{"tun: large segments", tun, func(f *Facts) {
			withTunnels(f)
			f.RealServerFacts.Answers[addr("10.0.0.21")] = netif.Way{Interface: "eth0", Gateway: addr("10.0.0.254")}
		}, `
WARNING: clients are asked for TCP segments of 1460 bytes, and 1440 fit into the
  ipip tunnel to 10.0.0.21.
  The director refuses the first large packets of each client, which has to
  learn the smaller size by ICMP; where that is filtered, uploads hang. If the
  network between director and real server has room for more, leave it.
      ip route replace default via 10.0.0.254 dev eth0 advmss 1440
`},
		{"tun: large segments of IPv6", tun6, func(f *Facts) {
			withTunnels(f)
			f.RealServerFacts.Answers[addr("2001:db8::21")] = netif.Way{Interface: "eth0", Gateway: addr("fe80::1")}
		}, `
WARNING: clients are asked for TCP segments of 1440 bytes, and 1400 fit into the
  ipip tunnel to 2001:db8::21.
  The director refuses the first large packets of each client, which has to
  learn the smaller size by ICMP; where that is filtered, uploads hang. If the
  network between director and real server has room for more, leave it.
      ip -6 route replace default via fe80::1 dev eth0 advmss 1400
`},
		{"nat: past the director", nat, func(f *Facts) {
			f.RealServerFacts.Answers[addr("10.0.0.21")] = netif.Way{Interface: "eth0", Gateway: addr("10.0.0.254")}
		}, `
WRONG: answers from 10.0.0.21 to clients go past the director, by 10.0.0.254.
  The director must turn the answers back (forward = "nat"); clients discard
  what comes from this machine's own address.
      ip route replace default via 10.0.0.1 dev eth0
`},
		{"nat: by one director", nat, func(f *Facts) {
			f.RealServerFacts.Answers[addr("10.0.0.21")] = netif.Way{Interface: "eth0", Gateway: addr("10.0.0.12")}
		}, `
WRONG: answers from 10.0.0.21 go by 10.0.0.12, which belongs to director lb-b
  alone.
  The director must turn the answers back (forward = "nat"); clients discard
  what comes from this machine's own address.
      ip route replace default via 10.0.0.1 dev eth0
`},
		{"nat: no way, and no gateway to choose", nat, func(f *Facts) {
			delete(f.RealServerFacts.Answers, addr("10.0.0.21"))
			f.Interfaces[1].Addresses = at("10.0.0.21/30")
		}, `
WRONG: answers from 10.0.0.21 have no way to clients: there is no default route.
  The director must turn the answers back (forward = "nat"); clients discard
  what comes from this machine's own address.
  To do: Give the directors a virtual address on this machine's network, and
  this machine a default route through it.
`},
		{"nat: clients on the link", nat, func(f *Facts) {
			f.RealServerFacts.Answers[addr("10.0.0.21")] = netif.Way{Interface: "ppp0"}
		}, `
WRONG: answers from 10.0.0.21 to clients go past the director, straight out of
  ppp0.
  The director must turn the answers back (forward = "nat"); clients discard
  what comes from this machine's own address.
      ip route replace default via 10.0.0.1 dev eth0
`},
		{"listens on its own address alone", dr, func(f *Facts) {
			f.RealServerFacts.Listeners = []Listener{listener(ipvs.TCP, "10.0.0.21:80"), listener(ipvs.UDP, "0.0.0.0:80")}
		}, `
WRONG: the program that listens on tcp 10.0.0.21:80 does not listen on
  10.0.0.100:80, for virtual server web.
  Clients' packets keep the virtual address as their destination, so every
  connection is refused, although a check of the own address may succeed.
  To do: Have it listen on 0.0.0.0:80 or on 10.0.0.100:80, and restart it.
`},
		{"does not listen", nat, func(f *Facts) { f.RealServerFacts.Listeners = []Listener{listener(ipvs.TCP, "0.0.0.0:8080")} }, `
WRONG: no program listens on tcp 10.0.0.21:80, for virtual server web.
  Clients get no service from this machine.
  To do: Start the service, and have it listen on 0.0.0.0:80 or on 10.0.0.21:80.
`},
		{"does not listen, IPv6", forwarding("dr", "[2001:db8::100]:80", "[2001:db8::21]:80"), func(*Facts) {}, `
WRONG: no program listens on tcp [2001:db8::100]:80, for virtual server web.
  Clients get no service from this machine.
  To do: Start the service, and have it listen on [::]:80 or on
  [2001:db8::100]:80.
`},
		{"sockets cannot be read", dr, func(f *Facts) {
			f.RealServerFacts = RealServerFacts{NoListeners: true}
			f.Unseen = []Unseen{{What: "the sockets that listen", Why: "permission denied", Privilege: true}}
		}, `
UNKNOWN: the sockets that listen could not be looked at.
  Permission denied.
  To do: Run the doctor as root.
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := aRealServer()
			tt.with(&f)
			got := said(t, Diagnose(parse(t, tt.config), f, RealServer))
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), strings.TrimSuffix(got, "\n")); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRoles(t *testing.T) {
	pair := forwarding("dr", "10.0.0.100:80", "10.0.0.21:80")
	plain := strings.ReplaceAll(pair[strings.Index(pair, "[check.c]"):], "[vrrp", "")
	for _, tt := range []struct {
		name, config, host, own string
		want                    []Role
	}{
		{"real server", pair, "rs-1", "10.0.0.21/24", []Role{RealServer}},
		{"director by address", pair, "x", "10.0.0.12/24", []Role{Director}},
		{"director by host name", pair, "lb-a", "10.9.9.9/24", []Role{Director}},
		{"both", pair, "lb-a", "10.0.0.21/24", []Role{Director, RealServer}},
		{"neither", pair, "x", "10.9.9.9/24", nil},
		{"director without a name", plain, "x", "10.9.9.9/24", []Role{Director}},
		{"real server of a director without a name", plain, "x", "10.0.0.21/24", []Role{RealServer}},
	} {
		f := Facts{Hostname: tt.host, Interfaces: []netif.Interface{{Name: "eth0", Addresses: at(tt.own)}}}
		if diff := cmp.Diff(tt.want, Roles(parse(t, tt.config), f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestAMachineThatTheFileDoesNotKnow(t *testing.T) {
	f := Facts{Hostname: "x", Interfaces: []netif.Interface{{Name: "eth0", Addresses: at("10.9.9.9/24")}}}
	const want = `WRONG: which director this is cannot be told: the host name "x" is no director's
  name and no director's address is a local one; candidates: lb-a (10.0.0.11),
  lb-b (10.0.0.12); choose with --director NAME or HADIRECTOR_NAME.
  No real server of ha.toml has an address of this machine either: it has
  10.9.9.9.
  To do: Give this machine the address that the file has for it, or use the file
  that is meant for it (-c).

`
	if diff := cmp.Diff(want, said(t, Diagnose(parse(t, forwarding("dr", "10.0.0.100:80", "10.0.0.21:80")), f))); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}
