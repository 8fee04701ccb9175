package conf_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/syncd"
)

// Connections travel by the relay as soon as directors can know each other. What the relay
// alone has is 0 where there is none.
func TestSyncMode(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       *conf.Sync
	}{
		{"no sync", "", nil},
		{"no key", "[sync]\n", &conf.Sync{Port: 9651}},
		{"a key", "[sync]\nkey_file = \"/k\"\n",
			&conf.Sync{Mode: conf.SyncRelay, KeyFile: "/k", Port: 9651, StreamPort: 9652, MaxWait: 30 * time.Second, MaxConnections: 1048576}},
		{"kernel, with a key", "[sync]\nmode = \"kernel\"\nkey_file = \"/k\"\nport = 9652\nstream_port = 1\nmax_wait = \"1s\"\nmax_connections = 1\n",
			&conf.Sync{KeyFile: "/k", Port: 9652}},
		{"relay, all given", "[sync]\nmode = \"relay\"\nkey_file = \"/k\"\ninterface = \"eth1\"\nsync_id = 51\nport = 1\nstream_port = 2\nmax_wait = \"0s\"\nmax_connections = 16777216\n",
			&conf.Sync{Mode: conf.SyncRelay, Interface: "eth1", SyncID: 51, KeyFile: "/k", Port: 1, StreamPort: 2, MaxConnections: 16777216}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parse(t, good+tt.text).Sync); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A director without sync addresses has one link, to its address.
func TestSyncLinks(t *testing.T) {
	const key = "[sync]\nkey_file = \"/k\"\n"
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name, lbA, lbB string
		want           [2][]netip.Addr
	}{
		{"none", "", "", [2][]netip.Addr{{addr("10.0.0.11")}, {addr("10.0.0.12")}}},
		{"two", "sync_addresses = [\"10.1.0.11\", \"2001:db8:1::11\"]\n", "sync_addresses = [\"10.1.0.12\", \"2001:db8:1::12\"]\n",
			[2][]netip.Addr{{addr("10.1.0.11"), addr("2001:db8:1::11")}, {addr("10.1.0.12"), addr("2001:db8:1::12")}}},
		{"a director's own address among them", "sync_addresses = [\"10.1.0.11\", \"10.0.0.11\"]\n", "sync_addresses = [\"10.1.0.12\", \"10.0.0.12\"]\n",
			[2][]netip.Addr{{addr("10.1.0.11"), addr("10.0.0.11")}, {addr("10.1.0.12"), addr("10.0.0.12")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, strings.Replace(good, directors, "priority = 150\n"+tt.lbA+"[director.lb-b]\naddress = \"10.0.0.12\"\n"+tt.lbB, 1)+key)
			if len(c.Warnings) > 0 {
				t.Errorf("warnings:\n%v", c.Warnings)
			}
			if got := [2][]netip.Addr{c.Directors[0].SyncLinks(), c.Directors[1].SyncLinks()}; !cmp.Equal(tt.want, got, sameValues) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// In kernel mode the effective text leaves out what has no effect there.
func TestEffectiveSync(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"relay", "[sync]\nkey_file = \"/k\"\n", `[sync]
mode = "relay"
sync_id = 0
key_file = "/k"
port = 9651
stream_port = 9652
max_wait = "30s"
max_connections = 1048576

`},
		{"kernel", "[sync]\ninterface = \"eth1\"\nsync_id = 7\nmode = \"kernel\"\nkey_file = \"/k\"\nmax_wait = \"1s\"\n", `[sync]
mode = "kernel"
interface = "eth1"
sync_id = 7
key_file = "/k"
port = 9651

`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, good+tt.text)
			if !strings.Contains(c.String(), tt.want) {
				t.Errorf("effective text\n%s\nwant in it\n%s", c, tt.want)
			}
			if again := parse(t, c.String()); !cmp.Equal(c.Sync, again.Sync) || len(again.Warnings) > 0 {
				t.Errorf("the effective text gives %+v, and warns\n%v", again.Sync, again.Warnings)
			}
		})
	}
}

// Directors that synchronise in different ways are told by the keys.
func TestSyncDiffKeys(t *testing.T) {
	const key = "[sync]\nkey_file = \"/k\"\n"
	links := strings.Replace(good, directors, withAddresses+"sync_addresses = [\"10.1.0.12\", \"2001:db8:1::12\"]\n", 1) + key
	for _, tt := range []struct {
		name, a, b string
		want       []string
	}{
		{"mode", good + key, good + key + "mode = \"kernel\"\n",
			[]string{"sync.max_connections", "sync.max_wait", "sync.mode", "sync.stream_port"}},
		{"stream port", good + key, good + key + "stream_port = 1\n", []string{"sync.stream_port"}},
		{"a default that is told", good + key, good + key + "mode = \"relay\"\nmax_wait = \"30000ms\"\n", nil},
		{"what has no effect", good + key + "mode = \"kernel\"\n", good + key + "mode = \"kernel\"\nmax_connections = 5\n", nil},
		{"a sync address", links, strings.Replace(links, "10.1.0.12", "10.1.0.13", 1), []string{"director.lb-b.sync_addresses"}},
		{"a scope", good + key, strings.Replace(good, `forward = "dr"`, `sync = "off"`, 1) + key, []string{"virtual_server.web.sync"}},
	} {
		a, b := parse(t, tt.a), parse(t, tt.b)
		if diff := cmp.Diff(tt.want, conf.DiffKeys(a.Canonical(), b.Canonical())); diff != "" {
			t.Errorf("%s, -want +got:\n%s", tt.name, diff)
		}
		if equal := a.Fingerprint() == b.Fingerprint(); equal != (tt.want == nil) {
			t.Errorf("%s: equal fingerprints: %t", tt.name, equal)
		}
	}
}

// Every service of a virtual server has its scope: each address and port, or the mark.
func TestSyncScopes(t *testing.T) {
	const text = `
[virtual_server.ports]
address = ["10.0.0.100:80-81", "10.0.0.101:443"]
protocol = "tcp"
sync = "off"
[virtual_server.ports.real_server]
a = { address = "10.0.0.21:0" }
[virtual_server.six]
address = "[2001:db8::100]:80"
protocol = "tcp"
sync = "established"
[virtual_server.every]
address = "10.0.0.102:0"
protocol = "sctp"
persistence = "60s"
sync = "templates"
[virtual_server.one]
address = "10.0.0.102:9"
protocol = "sctp"
[virtual_server.mark]
fwmark = 10
mark = ["10.0.0.103:80"]
protocol = "tcp"
persistence = "60s"
sync = "templates"
[virtual_server.mark6]
fwmark = 10
family = "ipv6"
sync = "off"
[virtual_server.high]
fwmark = 0x68000007
sync = "all"
[sync]
key_file = "/k"
`
	const probed = "[virtual_server.probed]\naddress = \"10.0.0.104:80\"\nprotocol = \"tcp\"\ncheck = \"way\"\n" +
		"[virtual_server.probed.real_server]\na = { address = \"10.0.0.21:80\" }\n[check.way]\ntype = \"tcp\"\nvia = \"vip\"\n"
	plain := parse(t, text).SyncScopes()
	withProbes := parse(t, strings.Replace(text, "0x68000007", "0x69000007", 1)+probed).SyncScopes()
	elsewhere := parse(t, text+probed+"[ipvs]\nprobe_marks = 0x7f000000\n").SyncScopes()
	const (
		tcp, sctp = syncd.ProtocolTCP, syncd.ProtocolSCTP
		template  = syncd.FlagTemplate
	)
	for _, tt := range []struct {
		scopes   syncd.Scopes
		protocol syncd.Protocol
		virtual  string
		fwmark   uint32
		flags    syncd.Flags
		state    syncd.State
		want     bool
	}{
		{plain, tcp, "10.0.0.100:80", 0, 0, 1, false},
		{plain, tcp, "10.0.0.100:81", 0, 0, 1, false},
		{plain, tcp, "10.0.0.100:82", 0, 0, 1, true},
		{plain, tcp, "10.0.0.101:443", 0, 0, 1, false},
		{plain, tcp, "10.0.0.101:80", 0, 0, 1, true},
		{plain, syncd.ProtocolUDP, "10.0.0.100:80", 0, 0, 0, true},
		{plain, tcp, "[2001:db8::100]:80", 0, 0, 1, true},
		{plain, tcp, "[2001:db8::100]:80", 0, 0, 2, false},
		{plain, sctp, "10.0.0.102:7", 0, 0, 8, false},
		{plain, sctp, "10.0.0.102:0", 0, template, 0, true},
		{plain, sctp, "10.0.0.102:9", 0, 0, 8, true},
		{plain, tcp, "10.0.0.103:80", 10, 0, 1, false},
		{plain, syncd.ProtocolIP, "0.0.0.10:0", 10, template, 0, true},
		{plain, syncd.ProtocolIP, "[0:a::]:0", 10, template, 0, false},
		// The marks of probes are anybody's until there are probes.
		{plain, tcp, "10.0.0.104:80", 0x68000007, 0, 1, true},
		{withProbes, tcp, "10.0.0.104:80", 0x68000007, 0, 1, false},
		{withProbes, tcp, "10.0.0.104:80", 0x68000000, 0, 1, false},
		{withProbes, tcp, "10.0.0.104:80", 0x68ffffff, 0, 1, false},
		{withProbes, tcp, "10.0.0.104:80", 0x69000007, 0, 1, true},
		{withProbes, tcp, "10.0.0.104:80", 0, 0, 1, true},
		{elsewhere, tcp, "10.0.0.104:80", 0x68000007, 0, 1, true},
		{elsewhere, tcp, "10.0.0.104:80", 0x7f000001, 0, 1, false},
	} {
		c := syncd.Conn{Protocol: tt.protocol, Virtual: netip.MustParseAddrPort(tt.virtual), FWMark: tt.fwmark, Flags: tt.flags, State: tt.state}
		if got := tt.scopes.Passes(c, func(syncd.Conn) bool { return false }); got != tt.want {
			t.Errorf("%s passes: %t, want %t", c, got, tt.want)
		}
	}
}
