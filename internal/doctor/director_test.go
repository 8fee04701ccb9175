package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/vrrp"
)

// aPair has one real server of each kind, and everything that the kernel has to have.
const aPair = `
[director.lb-a]
address = "10.0.0.11"
priority = 150
[director.lb-b]
address = "10.0.0.12"
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
excluded_addresses = ["10.1.0.1/24"]
[vrrp.web6]
interface = "eth0"
vrid = 51
virtual_addresses = ["fe80::100/64"]
[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
[virtual_server.api]
fwmark = 10
mark = ["10.0.0.100:443"]
protocol = "tcp"
scheduler = "sh"
forward = "nat"
check = "c"
real_server = { a = { address = "10.1.0.21:443" } }
[sync]
key_file = "/etc/ha.key"
[check.c]
type = "tcp"
`

// throughPair is aPair with a real server that is asked through its virtual address.
var throughPair = strings.Replace(aPair, "check = \"c\"", "check = \"path\"", 1) + "[check.path]\ntype = \"tcp\"\nvia = \"vip\"\n"

// manyThrough has real servers that are asked through many addresses.
const manyThrough = `
[virtual_server.a]
address = "10.0.0.100:80"
protocol = "tcp"
check = ["path", "admin"]
real_server = { a = { address = "10.0.0.21:80" }, b = { address = "10.0.0.22:80" } }
[virtual_server.b]
address = "10.0.0.101:80"
protocol = "tcp"
check = ["path", "admin"]
real_server = { a = { address = "10.0.0.21:80" } }
[virtual_server.c]
address = "10.0.0.102:53"
protocol = "udp"
check = "names"
real_server = { a = { address = "10.0.0.21:53" } }
[virtual_server.d]
address = "[2001:db8::100]:80"
protocol = "tcp"
check = "admin"
real_server = { a = { address = "[2001:db8::21]:80" } }
[check.path]
type = "tcp"
via = "vip"
[check.admin]
type = "tcp"
via = "vip"
port = 8080
[check.names]
type = "dns"
via = "vip"
`

// linked is aPair with addresses of its own for connection sync.
var linked = strings.NewReplacer(
	`address = "10.0.0.11"`, "address = \"10.0.0.11\"\nsync_addresses = [\"10.1.0.11\", \"10.2.0.11\"]",
	`address = "10.0.0.12"`, "address = \"10.0.0.12\"\nsync_addresses = [\"10.1.0.12\", \"10.2.0.12\"]",
	"[sync]", "[sync]\ninterface = \"eth0\"",
).Replace(aPair)

// aDirector is lb-a of aPair, as it should be, and Backup.
func aDirector(t *testing.T) Facts {
	return Facts{
		Hostname: "x",
		Interfaces: []netif.Interface{
			{Name: "lo", Kind: "device", Up: true, Carrier: true, Loopback: true, Addresses: at("127.0.0.1/8")},
			{Name: "eth0", Kind: "device", Up: true, Carrier: true, Addresses: at("10.0.0.11/24", "fe80::1/64")},
			{Name: "eth1", Kind: "device", Up: true, Carrier: true, Addresses: at("10.1.0.11/24")},
		},
		Sysctls: map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/eth1/send_redirects": "0",
			"net/ipv4/vs/sync_refresh_period": "60", "net/ipv4/vs/sync_threshold": "2\t0", "net/ipv4/vs/sync_retries": "0", "net/ipv4/vs/sync_version": "1",
			"net/ipv4/vs/sync_ports": "1", "net/ipv4/vs/sync_persist_mode": "0", "net/ipv4/vs/backup_only": "0",
		},
		DirectorFacts: DirectorFacts{
			Version: "1.0",
			Daemon: &director.Status{
				Version: "1.0", Config: director.ConfigStatus{Hash: fingerprint(t, aPair)},
				VRRPProcess: &director.ProcessStatus{Up: true, Scheduling: "rr", Locked: true},
				VirtualRouters: []director.RouterStatus{
					{Name: "web", State: "backup"}, {Name: "web6", State: "backup"},
				},
				Peers: []director.PeerStatus{{Name: "lb-b", ConfigHash: "0102", SameConfig: true}},
			},
			IPVS: Present, Tables: Present,
			Ways: map[netip.Addr]netif.Way{addr("10.0.0.21"): {Interface: "eth0"}, addr("10.1.0.21"): {Interface: "eth1"}},
			Key:  Key{Mode: 0o600},

			SyncModules: map[string]Presence{"dummy": Present, "veth": Present, "udp_diag": Present},
		},
	}
}

func fingerprint(t *testing.T, config string) string {
	f := parse(t, config).Fingerprint()
	return fmt.Sprintf("%x", f[:6])
}

func TestDirectorAsItShouldBe(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		with         func(*Facts)
		fine         int
	}{
		{"Backup", aPair, func(*Facts) {}, 30},
		{"Master", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.VirtualRouters[0].State = "master"
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, at("10.0.0.100/24")...)
		}, 29},
		{"a real server too", aPair, func(f *Facts) {
			f.Interfaces[0].Addresses = append(f.Interfaces[0].Addresses, at("10.0.0.100/32")...)
		}, 30},
		{"the daemon cannot be asked", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			clear(f.Sysctls)
		}, 14},
		{"plain load balancer", `
[virtual_server.web]
address = "10.0.0.100:80"
protocol = "tcp"
check = "c"
real_server = { a = { address = "10.0.0.21:80" } }
[check.c]
type = "tcp"
`, func(f *Facts) { f.DirectorFacts.Daemon = nil }, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := aDirector(t)
			tt.with(&f)
			r := Diagnose(parse(t, tt.config), f, Director)
			if text := said(t, r); text != "" || r.Count(Fine) != tt.fine {
				t.Errorf("%d are fine, want %d, and this is said:\n%s", r.Count(Fine), tt.fine, text)
			}
		})
	}
}

func TestDirectorFindings(t *testing.T) {
	unicast := strings.NewReplacer(
		`address = "10.0.0.11"`, `address = "2001:db8::11"`, `address = "10.0.0.12"`, `address = "2001:db8::12"`,
		`virtual_addresses = ["fe80::100/64"]`, "virtual_addresses = [\"fe80::100/64\"]\nunicast = true",
	).Replace(aPair)
	alone := strings.Replace(strings.Replace(aPair, "[director.lb-b]\naddress = \"10.0.0.12\"\n", "", 1), "[sync]\nkey_file = \"/etc/ha.key\"\n", "", 1)
	for _, tt := range []struct {
		name, config string
		with         func(*Facts)
		want         string
	}{
		{"not in the file", aPair, func(f *Facts) {
			f.Interfaces[1].Addresses = at("10.0.0.13/24", "fe80::1/64")
		}, `
WRONG: which director this is cannot be told: the host name "x" is no director's
  name and no director's address is a local one; candidates: lb-a (10.0.0.11),
  lb-b (10.0.0.12); choose with --director NAME or HADIRECTOR_NAME.
  The daemon does not start.
  To do: Give this machine the address or the host name that the file has for
  it; or run 'systemctl edit hadirector' and write
  Environment=HADIRECTOR_NAME=NAME below [Service].
`},
		{"two of the file", aPair, func(f *Facts) {
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, at("10.0.0.12/24")...)
		}, `
WRONG: which director this is cannot be told: the addresses of several directors
  are local: lb-a (10.0.0.11), lb-b (10.0.0.12); candidates: lb-a (10.0.0.11),
  lb-b (10.0.0.12); choose with --director NAME or HADIRECTOR_NAME.
  The daemon does not start.
  To do: Give this machine the address or the host name that the file has for
  it; or run 'systemctl edit hadirector' and write
  Environment=HADIRECTOR_NAME=NAME below [Service].
`},
		{"its address is missing", aPair, func(f *Facts) {
			f.Hostname = "lb-a.example.org"
			f.Interfaces[1].Addresses = at("10.0.0.13/24", "fe80::1/64")
		}, `
WRONG: the address 10.0.0.11 of director lb-a is on no interface.
  The other directors reach this one there, for sync, membership and unicast
  advertisements.
      ip addr add 10.0.0.11/24 dev eth0
`},
		{"its address is missing, and its network", strings.ReplaceAll(aPair, "10.0.0.11", "10.2.0.11"), func(f *Facts) {
			f.Hostname = "lb-a"
			f.DirectorFacts.Daemon = nil
		}, `
WRONG: the address 10.2.0.11 of director lb-a is on no interface.
  The other directors reach this one there, for sync, membership and unicast
  advertisements.
  To do: Configure it on its interface, in the way of this distribution.
`},
		{"no daemon, and what it left", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon, f.DirectorFacts.NoDaemon, f.DirectorFacts.Systemd = nil, true, true
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, at("10.0.0.100/24")...)
		}, `
WRONG: the virtual address 10.0.0.100/24 is on eth0, although no hadirector
  runs.
  Two machines answer for it as soon as another director is Master.
      ip addr del 10.0.0.100/24 dev eth0

WARNING: no hadirector runs.
  This director serves nobody, and takes over from nobody.
      systemctl start hadirector
`},
		{"no daemon, no systemd", aPair, func(f *Facts) { f.DirectorFacts.Daemon, f.DirectorFacts.NoDaemon = nil, true }, `
WARNING: no hadirector runs.
  This director serves nobody, and takes over from nobody.
      hadirector run -c ha.toml
`},
		{"a Backup with addresses", aPair, func(f *Facts) {
			f.Interfaces[2].Addresses = append(f.Interfaces[2].Addresses, at("10.1.0.1/24")...)
		}, `
WRONG: the virtual address 10.1.0.1/24 is on eth1, although [vrrp.web] is backup
  here.
  Two machines answer for it as soon as another director is Master.
      ip addr del 10.1.0.1/24 dev eth1
`},
		{"a Backup that was Master until just now", aPair, func(f *Facts) {
			s := f.DirectorFacts.Daemon
			s.At = time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
			s.VirtualRouters[0].Since = s.At.Add(-4 * time.Second)
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, at("10.0.0.100/24")...)
		}, ""},
		{"another socket", aPair + "[admin]\nsocket = \"/x/admin.sock\"\n", func(*Facts) {}, `
WARNING: the daemon has another configuration than ha.toml says now.
  What was changed in the file counts from the next reload or start, maybe that
  of a night.
      hadirector reload --socket /x/admin.sock
`},
		{"another version and another file", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.Version, f.DirectorFacts.Daemon.Config.Hash = "0.9", "0"
		}, `
WARNING: the daemon that runs is version 0.9, and this program is 1.0.
  The daemon is not the one that is installed.
      systemctl restart hadirector

WARNING: the daemon has another configuration than ha.toml says now.
  What was changed in the file counts from the next reload or start, maybe that
  of a night.
      hadirector reload
`},
		{"the peer's file", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.Peers = []director.PeerStatus{
				{Name: "lb-b", ConfigHash: "0102", Differs: []string{"virtual_server.web.scheduler", "check.c.interval"}}, {Name: "lb-c"},
			}
		}, `
WARNING: director lb-b has another configuration, in
  virtual_server.web.scheduler, check.c.interval.
  After a failover clients are served by the other one.
  To do: Copy ha.toml from the director where it is right to the other, and run
  'hadirector reload' there.
`},
		{"not real-time", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.VRRPProcess = &director.ProcessStatus{Up: true, Scheduling: "nice"}
		}, `
WARNING: the VRRP process is not scheduled in real time (SCHED_RR) and may be
  paged out.
  On a busy machine its advertisements are late, and another director takes over
  without need.
  To do: Run the daemon by the unit file that comes with it, which gives it
  CAP_SYS_NICE and LimitMEMLOCK=infinity; a container has to be given both.
`},
		{"no interface", aPair, func(f *Facts) { f.Interfaces[1].Name = "ens1" }, `
WRONG: the interface eth0 of [vrrp.web] does not exist.
  No virtual address can be on it, so this director is in the state Fault.
  To do: Name one of those that there are (ens1, eth1) in ha.toml, or find out
  why it is not there.

WRONG: the interface eth0 of [vrrp.web6] does not exist.
  No virtual address can be on it, so this director is in the state Fault.
  To do: Name one of those that there are (ens1, eth1) in ha.toml, or find out
  why it is not there.
`},
		{"interface down", strings.Replace(aPair, "vrid = 51\nvirtual_addresses = [\"fe80::100/64\"]", "vrid = 52\nvirtual_addresses = [\"10.0.0.110/24\"]", 1), func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			f.Interfaces[1].Up = false
		}, `
WRONG: the interface eth0 of [vrrp.web] and 1 more is down.
  No virtual address can be on it, so this director is in the state Fault.
      ip link set eth0 up
`},
		{"no carrier", strings.Replace(aPair, "vrid = 51\nvirtual_addresses = [\"fe80::100/64\"]", "vrid = 52\nvirtual_addresses = [\"10.0.0.110/24\"]", 1), func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			f.Interfaces[1].Carrier = false
		}, `
WRONG: the interface eth0 of [vrrp.web] and 1 more has no carrier.
  No virtual address can be on it, so this director is in the state Fault.
  To do: Look at the cable, and at the port of the switch.
`},
		{"no address to send from", aPair, func(f *Facts) {
			f.Hostname, f.DirectorFacts.Daemon.VirtualRouters[0].State = "lb-a", "master"
			f.Interfaces[1].Addresses, f.Interfaces[2].Addresses = at("10.0.0.100/24", "2001:db8::11/64"), at("10.0.0.11/24")
			f.Sysctls["net/ipv4/conf/eth1/send_redirects"] = "0"
		}, `
WRONG: the interface eth0 of [vrrp.web] has no IPv4 address but the virtual
  ones.
  Advertisements need one to come from, so there are none.
  To do: Configure an own address of this director on it, in the way of this
  distribution.

WRONG: the interface eth0 of [vrrp.web6] has no link-local IPv6 address.
  Advertisements come from that one, so there are none.
      sysctl -w net.ipv6.conf.eth0.disable_ipv6=0
      sysctl -w net.ipv6.conf.eth0.addr_gen_mode=0
`},
		{"keepalived may be the other one", alone, func(f *Facts) { f.DirectorFacts.Daemon = nil }, `
WARNING: [vrrp.web] speaks VRRP version 3 every 100ms, and ha.toml has no other
  director.
  A keepalived beside it speaks version 2 every second unless it is told
  otherwise, and two that differ are both Master.
  To do: If there is one, write version = 2 and advert_interval = "1s" in
  [vrrp.web]; if there is none, leave it.
`},
		{"keepalived is heard", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.VirtualRouters[0].Counters = vrrp.Counters{Discarded: map[string]uint64{"version": 7, "interval": 2}}
		}, `
WARNING: 7 advertisements for [vrrp.web] were discarded for their version, which
  is not 3.
  Two directors that do not understand each other are both Master.
  To do: Give both the same version; keepalived's is 2 unless it is told
  otherwise (vrrp_version).

WARNING: 2 advertisements for [vrrp.web] were discarded for their interval,
  which is not 100ms.
  Two directors that do not understand each other are both Master.
  To do: Give both the same interval: advert_interval in [vrrp.web], advert_int
  in keepalived's file.
`},
		{"keepalived's hop limit", unicast, func(f *Facts) {
			f.Interfaces[1].Addresses = append(f.Interfaces[1].Addresses, at("2001:db8::11/64")...)
			f.DirectorFacts.Daemon.Config.Hash = fingerprint(t, unicast)
			f.DirectorFacts.Daemon.VirtualRouters[1].Counters = vrrp.Counters{Discarded: map[string]uint64{"ttl": 12}}
		}, `
WARNING: 12 advertisements for [vrrp.web6] were discarded for their hop limit.
  keepalived sends unicast over IPv6 with 64, and two directors of which one
  does not hear the other are both Master.
  To do: If the other one is keepalived, write unicast_min_ttl = 64 in
  [vrrp.web6].
`},
		{"other programs", aPair, func(f *Facts) {
			f.DirectorFacts.Others = []Process{{Name: "keepalived", PID: 17, Unit: "keepalived.service"}, {Name: "vrrpd", PID: 18}}
			f.DirectorFacts.Enabled = map[string]bool{"keepalived.service": true, "hadirector.service": true}
		}, `
WRONG: keepalived.service is enabled beside hadirector.service.
  After the next start of this machine both write the same addresses and the
  same table.
      systemctl disable keepalived.service

WRONG: keepalived runs here too (process 17).
  Two programs that speak VRRP on one machine write the same addresses, and each
  undoes what the other does.
      systemctl disable --now keepalived.service

WRONG: vrrpd runs here too (process 18).
  Two programs that speak VRRP on one machine write the same addresses, and each
  undoes what the other does.
      kill 18
`},
		{"no IPVS, no nftables", aPair, func(f *Facts) { f.DirectorFacts.IPVS, f.DirectorFacts.Tables = Absent, Absent }, `
WRONG: this kernel has no IPVS.
  No virtual server works without it. If its module is not there to be loaded, a
  kernel with it has to be installed.
      modprobe ip_vs

WRONG: this kernel has no nftables, and mark of virtual server api needs it.
  What it is needed for does not work. If its module is not there to be loaded,
  a kernel with it has to be installed.
      modprobe nf_tables
`},
		{"no nftables for accept", strings.Replace(strings.Replace(aPair, "mark = [\"10.0.0.100:443\"]\nprotocol = \"tcp\"\n", "", 1), "vrid = 51\n", "vrid = 51\naccept = false\n", 1), func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			f.DirectorFacts.Tables = Absent
		}, `
WRONG: this kernel has no nftables, and accept = false of [vrrp.web] needs it.
  What it is needed for does not work. If its module is not there to be loaded,
  a kernel with it has to be installed.
      modprobe nf_tables
`},
		{"no nftables for full NAT", strings.Replace(strings.Replace(aPair, "fwmark = 10\nmark = [\"10.0.0.100:443\"]", "address = \"10.0.0.100:443\"", 1), `"nat"`, `"fullnat"`, 1), func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			f.DirectorFacts.Tables = Absent
		}, `
WRONG: this kernel has no nftables, and fullnat of virtual server api needs it.
  What it is needed for does not work. If its module is not there to be loaded,
  a kernel with it has to be installed.
      modprobe nf_tables
`},
		{"no scheduler", aPair, func(f *Facts) { f.DirectorFacts.Lacking = map[Module]bool{{Scheduler: "sh"}: true} }, `
WRONG: this kernel lacks the scheduler sh of virtual server api.
  The daemon does not start with it. If the module is not there to be loaded,
  another scheduler or kernel has to be chosen.
      modprobe ip_vs_sh
`},
		{"parameters", aPair, func(f *Facts) {
			f.Sysctls["net/ipv4/ip_forward"], f.Sysctls["net/ipv4/conf/eth1/send_redirects"] = "0", "1"
		}, `
WRONG: net.ipv4.ip_forward is 0 instead of 1, although hadirector runs.
  Nat of virtual server api: the real servers' answers pass through this
  machine.
      sysctl -w net.ipv4.ip_forward=1

WARNING: net.ipv4.conf.eth1.send_redirects is 1 instead of 0, although
  hadirector runs.
  Nat of virtual server api: a redirect would send real servers past this
  machine to clients on their network.
      sysctl -w net.ipv4.conf.eth1.send_redirects=0
`},
		{"a parameter that the kernel lacks", aPair, func(f *Facts) { delete(f.Sysctls, "net/ipv4/conf/all/send_redirects") }, `
WARNING: this kernel has no parameter net.ipv4.conf.all.send_redirects, which is
  to be 0.
  Nat of virtual server api: a redirect would send real servers past this
  machine to clients on their network.
  To do: Leave it out, or use a kernel that has it.
`},
		{"ways to real servers", aPair, func(f *Facts) {
			f.DirectorFacts.Ways = map[netip.Addr]netif.Way{addr("10.0.0.21"): {Interface: "eth0", Gateway: addr("10.0.0.254")}}
		}, `
WRONG: real server a of virtual server web, 10.0.0.21, is behind the router
  10.0.0.254, and forward is "dr".
  Direct routing changes nothing but the Ethernet address, so the router sends
  the packets back to the virtual address, which is here.
  To do: Write forward = "tun" or "fullnat" for it, or give it an address on a
  network of the director.

WRONG: real server a of virtual server api, 10.1.0.21, cannot be reached: there
  is no route.
  It counts as down.
  To do: Add a route to it, in the way of this distribution.
`},
		{"a real server here", aPair, func(f *Facts) {
			f.DirectorFacts.Ways[addr("10.0.0.21")] = netif.Way{Interface: "lo", Local: true}
		}, `
WARNING: real server a of virtual server web, 10.0.0.21, is this machine itself.
  It answers as long as this director is Master; for another Master it has to be
  set up as a real server, see 'hadirector doctor realserver'.
  To do: If that is not meant, correct its address in ha.toml.
`},
		{"nat in the clients' network", strings.Replace(aPair, "10.1.0.21", "10.0.0.22", 1), func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			f.DirectorFacts.Ways[addr("10.0.0.22")] = netif.Way{Interface: "eth0"}
		}, `
WARNING: real server a of virtual server api, 10.0.0.22, is in the network of
  clients, 10.0.0.0/24, and forward is "nat".
  It answers clients of that network directly, past the director, and they
  discard the answers; other clients are served.
  To do: If there are clients in that network, use forward = "dr" or "fullnat",
  or give the real servers a network of their own.
`},
		{"no key", aPair, func(f *Facts) { f.DirectorFacts.Key = Key{Missing: true} }, `
WRONG: the cluster key /etc/ha.key does not exist.
  Without it the directors know nothing of each other but VRRP, and connections
  are not synchronised.
  To do: If another director has it, copy that one. Else make one, and copy it
  to the others.
      hadirector keygen /etc/ha.key
`},
		{"an open key", aPair, func(f *Facts) { f.DirectorFacts.Key.Mode = 0o644 }, `
WRONG: the cluster key /etc/ha.key may be used by others (mode 0644).
  It is refused. Who has read it can pose as a director: make a new one if
  anybody may have.
      chmod 600 /etc/ha.key
`},
		{"somebody's key", aPair, func(f *Facts) { f.DirectorFacts.Key.Owner = 1000 }, `
WRONG: the cluster key /etc/ha.key belongs to user 1000.
  It is refused: that user can exchange it.
      chown root /etc/ha.key
`},
		{"a broken key", aPair, func(f *Facts) { f.DirectorFacts.Key.Broken = "cluster key /etc/ha.key: no key" }, `
WRONG: cluster key /etc/ha.key: no key.
  Without it the directors know nothing of each other but VRRP, and connections
  are not synchronised.
  To do: Copy the file from another director.
`},
		{"firewall", aPair, func(f *Facts) {
			f.DirectorFacts.Inputs = []nft.Input{{Family: "ip", Table: "filter", Chain: "INPUT"}, {Family: "ip6", Table: "f", Chain: "i", Port: true}}
		}, `
WARNING: the nftables chain ip filter INPUT drops, and no rule of its table
  names VRRP (protocol 112).
  If advertisements do not come in, this director becomes Master beside the
  other one.
      nft insert rule ip filter INPUT meta l4proto 112 accept

WARNING: the nftables chain ip filter INPUT drops, and no rule of its table
  names port 9651 of [sync].
  If the other directors cannot reach it, TCP and UDP, there is no membership
  and no sync.
      nft insert rule ip filter INPUT tcp dport 9651 accept
      nft insert rule ip filter INPUT udp dport 9651 accept

WARNING: the nftables chain ip6 f i drops, and no rule of its table names VRRP
  (protocol 112).
  If advertisements do not come in, this director becomes Master beside the
  other one.
      nft insert rule ip6 f i meta l4proto 112 accept
`},
		{"firewall of connection sync", aPair, func(f *Facts) {
			f.DirectorFacts.Streams = []nft.Input{{Family: "inet", Table: "filter", Chain: "input"}, {Family: "ip6", Table: "f", Chain: "i"}, {Family: "ip", Table: "f", Chain: "i", Port: true}}
			f.DirectorFacts.Barriers = []nft.Barrier{{Family: "inet", Table: "filter", Chain: "input"}, {Family: "ip", Table: "filter", Chain: "OUTPUT", Out: true}}
			f.DirectorFacts.Daemon.Sync = &director.SyncStatus{RelayStatus: &director.RelayStatus{Capture: director.CaptureStatus{Error: "nothing was heard"}}}
		}, `
WRONG: the kernel's connections are not heard, so the other directors do not get
  them.
  Nothing was heard.
  To do: Let the firewall pass what is named above.

WARNING: the nftables chain inet filter input drops, and no rule of its table
  names stream_port 9652 of [sync].
  If the other directors cannot reach it, no connection survives a failover.
      nft insert rule inet filter input tcp dport 9652 accept

WARNING: the nftables chain inet filter input drops, and no rule of its table
  names hasync0.
  The kernel's sync daemons talk there to this machine alone. What is dropped
  they do not miss: connections are silently not synchronised.
      nft insert rule inet filter input iifname hasync0 accept

WARNING: the nftables chain ip filter OUTPUT drops, and no rule of its table
  names hasync0.
  The kernel's sync daemons talk there to this machine alone. What is dropped
  they do not miss: connections are silently not synchronised.
      nft insert rule ip filter OUTPUT oifname hasync0 accept
`},
		{"no modules for connection sync", aPair, func(f *Facts) {
			f.DirectorFacts.SyncModules = map[string]Presence{"dummy": Absent, "veth": Absent, "udp_diag": Absent}
			f.DirectorFacts.Daemon.Sync = &director.SyncStatus{RelayStatus: &director.RelayStatus{Inject: director.InjectStatus{Error: "load its module udp_diag"}}}
		}, `
WRONG: this kernel has no udp_diag.
  Without it the daemon cannot see what the kernel has taken of the peers'
  connections, and tells it none. If the module is not there to be loaded, a
  kernel with it has to be installed.
      modprobe udp_diag

WRONG: this kernel has neither dummy nor veth.
  The kernel's sync daemons talk on an interface of one of these kinds. If the
  module is not there to be loaded, a kernel with it has to be installed.
      modprobe dummy
`},
		{"addresses of connection sync", linked, func(f *Facts) {
			f.DirectorFacts.Daemon = nil
		}, `
WRONG: 10.2.0.11, of sync_addresses of director lb-a, is on no interface.
  The other directors reach this one there, so connections do not come this way.
  To do: Configure it on its interface, in the way of this distribution, or
  correct ha.toml.

WARNING: 10.1.0.11 of director lb-a is on eth1, not on eth0.
  The stream of connections goes another way than interface of [sync] says.
  To do: Move the address, or write interface = "eth1" in [sync] of ha.toml.
`},
		{"the relay of connections in trouble", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon.Sync = &director.SyncStatus{RelayError: "no streams", RelayStatus: &director.RelayStatus{
				Capture: director.CaptureStatus{Error: "nothing was heard", TickError: "no ticks"}, Inject: director.InjectStatus{Error: "no daemon"},
				Peers: []director.SyncPeerStatus{{Name: "lb-b", Links: []director.SyncLinkStatus{{From: "10.0.0.11", To: "10.0.0.12", Error: "no answer"}, {From: "10.0.0.11", To: "10.1.0.12"}}}},
			}}
		}, `
WRONG: connections are not synchronised.
  No streams.
  To do: See 'hadirector status' and the daemon's log.

WRONG: the kernel's connections are not heard, so the other directors do not get
  them.
  Nothing was heard.
  To do: See 'hadirector status' and the daemon's log.

WRONG: the kernel is not told the other directors' connections.
  No daemon.
  To do: See 'hadirector status' and the daemon's log.

WARNING: new connections are told to the other directors up to 2 s late.
  No ticks.
  To do: See 'hadirector status' and the daemon's log.

WARNING: there is no stream from 10.0.0.11 to 10.0.0.12 of director lb-b.
  No answer.
  To do: If director lb-b runs, let TCP to port 9652 pass between the two, and
  compare the key files.
`},
		{"firewall of the answers to probes", throughPair, func(f *Facts) {
			f.DirectorFacts.Daemon.Config.Hash = fingerprint(t, throughPair)
			f.Sysctls["net/ipv4/conf/eth0/accept_local"] = "1"
			f.DirectorFacts.Answers = []nft.Input{
				{Family: "inet", Table: "filter", Chain: "input"}, {Family: "inet", Table: "fine", Chain: "input", Port: true}, {Family: "ip6", Table: "f", Chain: "i"},
			}
		}, `
WARNING: the nftables chain inet filter input drops, and no rule of its table
  names a virtual address that answers probes (via = "vip").
  For connection tracking these answers belong to no connection: if they do not
  come in, all the real servers are down.
      nft insert rule inet filter input ip saddr 10.0.0.100 tcp sport 80 accept
`},
		{"firewall of the answers to many probes", manyThrough, func(f *Facts) {
			f.DirectorFacts.Daemon = nil
			for _, a := range []string{"10.0.0.22", "2001:db8::21"} {
				f.DirectorFacts.Ways[addr(a)] = netif.Way{Interface: "eth0"}
			}
			f.Sysctls["net/ipv4/conf/eth0/accept_local"] = "1"
			f.DirectorFacts.Answers = []nft.Input{{Family: "inet", Table: "filter", Chain: "input"}, {Family: "ip6", Table: "f", Chain: "i"}}
		}, `
WARNING: the nftables chain inet filter input drops, and no rule of its table
  names a virtual address that answers probes (via = "vip").
  For connection tracking these answers belong to no connection: if they do not
  come in, all the real servers are down.
      nft insert rule inet filter input ip saddr { 10.0.0.100, 10.0.0.101 } tcp sport { 80, 8080 } accept
      nft insert rule inet filter input ip saddr 10.0.0.102 udp sport 53 accept
      nft insert rule inet filter input ip6 saddr 2001:db8::100 tcp sport 8080 accept

WARNING: the nftables chain ip6 f i drops, and no rule of its table names a
  virtual address that answers probes (via = "vip").
  For connection tracking these answers belong to no connection: if they do not
  come in, all the real servers are down.
      nft insert rule ip6 f i ip6 saddr 2001:db8::100 tcp sport 8080 accept
`},
		{"firewall of the answers to probes, which are tracked", throughPair + "[ipvs]\nconntrack = true\n", func(f *Facts) {
			f.DirectorFacts.Daemon.Config.Hash = fingerprint(t, throughPair+"[ipvs]\nconntrack = true\n")
			f.Sysctls["net/ipv4/conf/eth0/accept_local"], f.Sysctls["net/ipv4/vs/conntrack"] = "1", "1"
			f.DirectorFacts.Answers = []nft.Input{{Family: "inet", Table: "filter", Chain: "input"}}
		}, ""},
		{"without privileges", aPair, func(f *Facts) {
			f.DirectorFacts.Daemon, f.DirectorFacts.IPVS, f.DirectorFacts.Tables = nil, Undecided, Undecided
			f.Unseen = []Unseen{{What: theKey, Why: "open /etc/ha.key: permission denied", Privilege: true}}
		}, `
UNKNOWN: the cluster key could not be looked at.
  Open /etc/ha.key: permission denied.
  To do: Run the doctor as root.
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := aDirector(t)
			tt.with(&f)
			got := said(t, Diagnose(parse(t, tt.config), f, Director))
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), strings.TrimSuffix(got, "\n")); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseUnit(t *testing.T) {
	for cgroup, want := range map[string]string{
		"0::/system.slice/keepalived.service\n":                                         "keepalived.service",
		"12:pids:/system.slice/frr.service\n1:name=systemd:/system.slice/frr.service\n": "frr.service",
		"0::/user.slice/user-0.slice/session-1.scope\n":                                 "",
		"0::/\n": "",
		"":       "",
	} {
		if got := parseUnit(cgroup); got != want {
			t.Errorf("parseUnit(%q) = %q, want %q", cgroup, got, want)
		}
	}
}
