package conf_test

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// complete gives every key of [vrrp.NAME] that everything has not, and each type of
// track.
const complete = `
[director.a]
address = "10.0.0.11"
priority = 150
[director.b]
address = "10.0.0.12"
[director.c]
address = "10.0.0.13"
priority = 50
[vrrp.out]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
excluded_addresses = ["2001:db8::100/64", "10.0.0.99/24"]
checksum = "rfc9568"
start_delay = "30s"
source = { b = "10.0.0.112", a = "10.0.0.111" }
sync_group = "site"
track = { uplink = -60, gateway = "fault", pool = 20 }
vmac = true
announce = { rounds = 3, spacing = "2s", refresh = "1h" }
link_up_delay = "2s"
link_down_delay = "150ms"
virtual_routes = ["default via 10.0.0.1 table 100", "blackhole 192.0.2.0/24"]
virtual_rules = ["from 10.0.0.100 lookup 100 priority 1000", "iif eth0 prohibit"]
hmac = { keys = { 7 = "0123456789abcdef0123456789abcdef" } }
on_split = "hold"
[vrrp.in]
interface = "eth1"
vrid = 51
virtual_addresses = ["fe80::100/64"]
sync_group = "site"
track = { pool = 20, uplink = -60 }
unicast = true
unicast_ttl = 64
unicast_min_ttl = 62
source = { a = "fe80::a", b = "fe80::b", c = "2001:db8::c" }
vmac = "vm6"
vmac_transmit_base = true
accept = false
virtual_rules = ["lookup 100"]
hmac = { mode = "permissive", active = 1, window = "4m", keys = { 255 = "fedcba9876543210fedcba9876543210", 1 = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F" } }
[virtual_server.six]
address = "[2001:db8::100]:80"
protocol = "tcp"
[track.uplink]
type = "interface"
interface = "eth2"
[track.gateway]
type = "ping"
address = "fe80::1"
interface = "eth0"
interval = "500ms"
timeout = "250ms"
rise = 3
fall = 4
[track.pool]
type = "virtual_server"
virtual_server = "six"
[track.script]
type = "script"
command = ["/usr/lib/check \"it\"", "", "-x"]
user = "65534"
interval = "10s"
[track.file]
type = "file"
path = "/run/number"
interval = "2s"
[track.process]
type = "process"
process = "/usr/sbin/named -u bind"
full_command = true
quorum = 2
rise = 5
[sync]
key_file = "/etc/key"
`

func TestCompleteInstances(t *testing.T) {
	c := parse(t, complete)
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	out, _ := instanceOf(c, "out", "b", true)
	wantOut := vrrp.Instance{
		Name: "out",
		ID:   vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 100, AdvertInterval: 100 * time.Millisecond, Preempt: true,
			Addresses:     []netip.Prefix{prefix("10.0.0.100/24")},
			Source:        addr("10.0.0.112"),
			Excluded:      []netip.Prefix{prefix("2001:db8::100/64"), prefix("10.0.0.99/24")},
			StartDelay:    30 * time.Second,
			Announcements: vrrp.Announcements{Rounds: 3, Spacing: 2 * time.Second, Refresh: time.Hour},
		},
		Group: "site",
		Peers: []netip.Addr{addr("10.0.0.111"), addr("10.0.0.13")},
		Senders: []vrrp.Sender{
			{Name: "a", Addresses: []netip.Addr{addr("10.0.0.111")}},
			{Name: "c", Addresses: []netip.Addr{addr("10.0.0.13")}},
		},
		Prefer:   addr("10.0.0.12"),
		Checksum: vrrp.ChecksumPlain,
		HMAC: &vrrp.HMAC{
			Keys: []vrrp.HMACKey{{ID: 7, Secret: []byte("0123456789abcdef0123456789abcdef")}}, ActiveKey: 7,
			Mode: vrrp.HMACEnforce, Window: 5 * time.Second,
		},
		VMAC:        &vrrp.VMAC{Link: "vrrp.51"},
		LinkUpDelay: 2 * time.Second, LinkDownDelay: 150 * time.Millisecond,
		Routes: []vrrp.Route{
			{To: prefix("0.0.0.0/0"), Via: addr("10.0.0.1"), Table: 100},
			{Type: "blackhole", To: prefix("192.0.2.0/24")},
		},
		Rules: []vrrp.Rule{
			{Family: vrrp.IPv4, From: prefix("10.0.0.100/32"), Table: 100, Priority: 1000},
			{Family: vrrp.IPv4, In: "eth0", Action: "prohibit"},
		},
	}
	if diff := cmp.Diff(wantOut, out, sameValues); diff != "" {
		t.Errorf("out, -want +got:\n%s", diff)
	}
	in, _ := instanceOf(c, "in", "a", false)
	secret, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	wantIn := vrrp.Instance{
		Name: "in",
		ID:   vrrp.ID{Interface: "eth1", Family: vrrp.IPv6, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 150, AdvertInterval: 100 * time.Millisecond,
			Addresses: []netip.Prefix{prefix("fe80::100/64")}, Source: addr("fe80::a"),
		},
		Group:   "site",
		Unicast: true,
		Peers:   []netip.Addr{addr("fe80::b"), addr("2001:db8::c")},
		Senders: []vrrp.Sender{
			{Name: "b", Addresses: []netip.Addr{addr("fe80::b")}},
			{Name: "c", Addresses: []netip.Addr{addr("2001:db8::c")}},
		},
		Prefer: addr("10.0.0.11"),
		TTL:    64, MinTTL: 62,
		HMAC: &vrrp.HMAC{
			Keys:      []vrrp.HMACKey{{ID: 1, Secret: secret}, {ID: 255, Secret: []byte("fedcba9876543210fedcba9876543210")}},
			ActiveKey: 1, Mode: vrrp.HMACPermissive, Window: 4 * time.Minute,
		},
		VMAC:   &vrrp.VMAC{Link: "vm6", TransmitBase: true},
		Rules:  []vrrp.Rule{{Family: vrrp.IPv6, Table: 100}},
		Refuse: true,
	}
	if diff := cmp.Diff(wantIn, in, sameValues); diff != "" {
		t.Errorf("in, -want +got:\n%s", diff)
	}
	for _, d := range []string{"a", "b", "c"} {
		for _, in := range c.Instances(d, true) {
			if err := in.Validate(); err != nil {
				t.Errorf("%s of %s: the protocol refuses it: %v", in.Name, d, err)
			}
		}
	}
	if got := c.VirtualRouters[0].OnSplit; got != conf.SplitHold {
		t.Errorf("on_split %v", got)
	}
	wantTrack := []conf.Tracking{{Track: "uplink", Weight: -60}, {Track: "gateway", Fault: true}, {Track: "pool", Weight: 20}}
	if diff := cmp.Diff(wantTrack, c.VirtualRouters[0].Track); diff != "" {
		t.Errorf("track, -want +got:\n%s", diff)
	}
}

// RFC 9568 section 6.4.3: the address owner accepts packets whatever Accept_Mode is. It may
// send from the virtual address, which is its own.
func TestOwner(t *testing.T) {
	c := parse(t, "[director.a]\naddress = \"10.0.0.11\"\n[director.b]\naddress = \"10.0.0.12\"\n"+
		"[vrrp.out]\ninterface = \"eth0\"\nvrid = 51\nvirtual_addresses = [\"10.0.0.100/24\"]\naccept = false\npriority = { a = 255 }\nsource = { a = \"10.0.0.100\" }\n")
	for _, tt := range []struct {
		director string
		want     bool
	}{{"a", false}, {"b", true}} {
		if in, _ := instanceOf(c, "out", tt.director, true); in.Refuse != tt.want {
			t.Errorf("%s refuses: %v, want %v", tt.director, in.Refuse, tt.want)
		}
	}
}

// The names are those that keepalived gives such links.
func TestDefaultVMAC(t *testing.T) {
	c := parse(t, "[director.a]\naddress = \"10.0.0.11\"\n[director.b]\naddress = \"10.0.0.12\"\n"+
		"[vrrp.four]\ninterface = \"eth0\"\nvrid = 255\nvirtual_addresses = [\"10.0.0.100/24\"]\nvmac = true\n"+
		"[vrrp.six]\ninterface = \"eth0\"\nvrid = 255\nvirtual_addresses = [\"fe80::100/64\"]\nvmac = true\n")
	for name, want := range map[string]string{"four": "vrrp.255", "six": "vrrp6.255"} {
		if in, _ := instanceOf(c, name, "a", true); in.VMAC == nil || in.Link() != want || in.ID.Interface != "eth0" {
			t.Errorf("%s: on %s, want %s", name, in.Link(), want)
		}
	}
}

// The order of a table does not matter, and every value does.
func TestFingerprintOfTracks(t *testing.T) {
	a := parse(t, complete)
	b := parse(t, strings.NewReplacer(
		`{ uplink = -60, gateway = "fault", pool = 20 }`, `{ pool = 20, uplink = -60, gateway = "fault" }`,
		`{ b = "10.0.0.112", a = "10.0.0.111" }`, `{ a = "10.0.0.111", b = "10.0.0.112" }`).Replace(complete))
	if a.Fingerprint() != b.Fingerprint() {
		t.Errorf("the order of a table changes the fingerprint: %q", conf.DiffKeys(a.Canonical(), b.Canonical()))
	}
	for _, change := range []struct{ old, new, want string }{
		{`checksum = "rfc9568"`, ``, "vrrp.out.checksum"},
		{`start_delay = "30s"`, ``, "vrrp.out.start_delay"},
		{`"2001:db8::100/64", "10.0.0.99/24"`, `"2001:db8::100/64"`, "vrrp.out.excluded_addresses"},
		{`a = "10.0.0.111"`, `a = "10.0.0.110"`, "vrrp.out.source.a"},
		{`uplink = -60, gateway`, `uplink = -61, gateway`, "vrrp.out.track.uplink"},
		{`gateway = "fault"`, `gateway = 1`, "vrrp.out.track.gateway"},
		{"vmac = true", "", "vrrp.out.vmac vrrp.out.vmac_transmit_base"},
		{"rounds = 3", "rounds = 4", "vrrp.out.announce.rounds"},
		{`link_up_delay = "2s"`, "", "vrrp.out.link_up_delay"},
		{`link_down_delay = "150ms"`, "", "vrrp.out.link_down_delay"},
		{`"blackhole 192.0.2.0/24"`, ``, "vrrp.out.virtual_routes"},
		{`"iif eth0 prohibit"`, ``, "vrrp.out.virtual_rules"},
		{`7 = "0123456789abcdef`, `7 = "0123456789Abcdef`, "vrrp.out.hmac.keys.7"},
		{`on_split = "hold"`, "", "vrrp.out.on_split"},
		{"unicast_ttl = 64", "unicast_ttl = 63", "vrrp.in.unicast_ttl"},
		{"unicast_min_ttl = 62", "unicast_min_ttl = 61", "vrrp.in.unicast_min_ttl"},
		{"accept = false", "", "vrrp.in.accept"},
		{"active = 1", "active = 255", "vrrp.in.hmac.active"},
		{`mode = "permissive"`, `mode = "receive-only"`, "vrrp.in.hmac.mode"},
		{`window = "4m"`, `window = "3m"`, "vrrp.in.hmac.window"},
		{`window = "4m"`, `anti_replay = "monotonic"`, "vrrp.in.hmac.anti_replay vrrp.in.hmac.window"},
		{`interface = "eth2"`, `interface = "eth3"`, "track.uplink.interface"},
		{`timeout = "250ms"`, `timeout = "251ms"`, "track.gateway.timeout"},
		{`"", "-x"`, `"-x"`, "track.script.command"},
		{`user = "65534"`, ``, "track.script.user"},
		{`path = "/run/number"`, `path = "/run/numbers"`, "track.file.path"},
		{`quorum = 2`, `quorum = 3`, "track.process.quorum"},
		{"rise = 5", "rise = 6", "track.process.rise"},
	} {
		if strings.Count(complete, change.old) != 1 {
			t.Errorf("%q is not in the text exactly once", change.old)
		}
		b := parse(t, strings.Replace(complete, change.old, change.new, 1))
		if got := conf.DiffKeys(a.Canonical(), b.Canonical()); strings.Join(got, " ") != change.want {
			t.Errorf("%q to %q: differences %q, want %s", change.old, change.new, got, change.want)
		}
	}
}

// The digests are of "hadirector vrrp hmac key " and the key, by sha256sum.
const effectiveRouters = `interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
excluded_addresses = ["2001:db8::100/64", "10.0.0.99/24"]
version = 3
checksum = "rfc9568"
advert_interval = "100ms"
start_delay = "30s"
preempt = "when-ready"
preempt_delay = "0s"
priority = { a = 150, b = 100, c = 50 }
track = { uplink = -60, gateway = "fault", pool = 20 }
sync_group = "site"
on_split = "hold"
unicast = false
source = { a = "10.0.0.111", b = "10.0.0.112" }
hmac = { mode = "enforce", active = 7, keys = { 7 = "(hidden eb18e9bd)" }, window = "5s" }
vmac = "vrrp.51"
vmac_transmit_base = false
accept = true
announce = { rounds = 3, spacing = "2s", refresh = "1h" }
link_up_delay = "2s"
link_down_delay = "150ms"
virtual_routes = ["default via 10.0.0.1 table 100", "blackhole 192.0.2.0/24"]
virtual_rules = ["from 10.0.0.100/32 priority 1000 table 100", "from all iif eth0 prohibit"]

[vrrp.in]
interface = "eth1"
vrid = 51
virtual_addresses = ["fe80::100/64"]
version = 3
advert_interval = "100ms"
start_delay = "0s"
preempt = "when-ready"
preempt_delay = "0s"
priority = { a = 150, b = 100, c = 50 }
track = { pool = 20, uplink = -60 }
sync_group = "site"
on_split = "take"
unicast = true
unicast_ttl = 64
unicast_min_ttl = 62
source = { a = "fe80::a", b = "fe80::b", c = "2001:db8::c" }
hmac = { mode = "permissive", active = 1, keys = { 1 = "(hidden fc3d6b33)", 255 = "(hidden 1559fc5c)" }, window = "4m" }
vmac = "vm6"
vmac_transmit_base = true
accept = false
announce = { rounds = 5, spacing = "1.1s", refresh = "1m" }
link_up_delay = "0s"
link_down_delay = "0s"
virtual_rules = ["from all table 100"]

[track.uplink]
type = "interface"
interface = "eth2"

[track.gateway]
type = "ping"
address = "fe80::1"
interface = "eth0"
interval = "500ms"
timeout = "250ms"
rise = 3
fall = 4

[track.pool]
type = "virtual_server"
virtual_server = "six"

[track.script]
type = "script"
command = ["/usr/lib/check \"it\"", "", "-x"]
user = "65534"
interval = "10s"
timeout = "10s"
rise = 1
fall = 1

[track.file]
type = "file"
path = "/run/number"
interval = "2s"

[track.process]
type = "process"
process = "/usr/sbin/named -u bind"
full_command = true
quorum = 2
interval = "1s"
rise = 5
fall = 1
`

// The effective text of a virtual router with everything, and of every type of track.
func TestEffectiveRouter(t *testing.T) {
	text := parse(t, complete).String()
	_, text, _ = strings.Cut(text, "[vrrp.out]\n")
	routers, rest, _ := strings.Cut(text, "[virtual_server.six]")
	_, tracks, _ := strings.Cut(rest, "[track.uplink]")
	tracks, _, _ = strings.Cut(tracks, "[ipvs]")
	if diff := cmp.Diff(effectiveRouters, routers+"[track.uplink]"+tracks[:len(tracks)-1]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Without clocks there is no window, and the printed text says the same.
func TestHMACWithoutClocks(t *testing.T) {
	without := parse(t, strings.Replace(complete, `window = "4m"`, `anti_replay = "monotonic"`, 1))
	if h := without.VirtualRouters[1].HMAC; !h.Monotonic || h.Window != 0 {
		t.Errorf("monotonic %v, window %v", h.Monotonic, h.Window)
	}
	if want := `, anti_replay = "monotonic" }`; !strings.Contains(without.Canonical(), want) {
		t.Errorf("the effective text lacks %q", want)
	}
	if h := parse(t, strings.Replace(complete, `window = "4m"`, `anti_replay = "time"`, 1)).VirtualRouters[1].HMAC; h.Monotonic || h.Window != 5*time.Second {
		t.Errorf("time: monotonic %v, window %v", h.Monotonic, h.Window)
	}
}
