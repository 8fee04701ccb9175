package conf_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

func TestFindDirector(t *testing.T) {
	c := parse(t, good)
	fqdn := parse(t, "[director.\"lb-a.example\"]\naddress = \"10.0.0.11\"\n[director.lb-a]\naddress = \"10.0.0.12\"\n")
	none := parse(t, "[virtual_server.x]\naddress = \"10.0.0.1:80\"\nprotocol = \"tcp\"\n")
	a, b, other := netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("127.0.0.1")
	const candidates = "; candidates: lb-a (10.0.0.11), lb-b (10.0.0.12); choose with --director NAME or HADIRECTOR_NAME"
	const told = "which director this is cannot be told: "
	for _, tt := range []struct {
		name            string
		c               *conf.Config
		flag, env, host string
		local           []netip.Addr
		want, wantErr   string
	}{
		{"flag before everything", c, "lb-b", "lb-a", "lb-a", []netip.Addr{a}, "lb-b", ""},
		{"environment before the host name", c, "", "lb-b", "lb-a", []netip.Addr{a}, "lb-b", ""},
		{"host name before the address", c, "", "", "lb-b", []netip.Addr{a}, "lb-b", ""},
		{"host name up to the dot", c, "", "", "lb-b.example.org", []netip.Addr{a}, "lb-b", ""},
		{"host name in full first", fqdn, "", "", "lb-a.example", nil, "lb-a.example", ""},
		{"address", c, "", "", "localhost", []netip.Addr{other, b}, "lb-b", ""},
		{"flag of nobody", c, "lb-c", "lb-a", "lb-a", []netip.Addr{a}, "",
			told + `--director says "lb-c", which is no director's name; did you mean "lb-a"?` + candidates},
		{"environment of nobody", c, "", "zebra", "lb-a", []netip.Addr{a}, "",
			told + `HADIRECTOR_NAME says "zebra", which is no director's name` + candidates},
		{"no match", c, "", "", "web-1.example", []netip.Addr{other}, "",
			told + `the host name "web-1.example" is no director's name and no director's address is a local one` + candidates},
		{"two matches", c, "", "", "x", []netip.Addr{b, a}, "",
			told + `the addresses of several directors are local: lb-a (10.0.0.11), lb-b (10.0.0.12)` + candidates},
		{"no directors", none, "", "", "x", []netip.Addr{a}, "", ""},
		{"no directors, but a flag", none, "lb-a", "", "x", nil, "",
			`--director says "lb-a", which is no director's name: f has no [director.NAME]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.FindDirector(tt.flag, tt.env, tt.host, tt.local)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got != tt.want || text != tt.wantErr {
				t.Errorf("got %q and error\n%s\nwant %q and\n%s", got, text, tt.want, tt.wantErr)
			}
		})
	}
}

// One VRID serves both families on one interface, and one link-local address several
// interfaces. Peers are those of the directors' family.
func TestInstanceIPv6(t *testing.T) {
	c := parse(t, `
[director.a]
address = "2001:db8::11"
priority = 150
[director.b]
address = "2001:db8::12"
[vrrp.four]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24"]
[vrrp.six]
interface = "eth0"
vrid = 51
virtual_addresses = ["fe80::100/64", "2001:db8::100/64"]
unicast = true
[vrrp.other]
interface = "eth1"
vrid = 51
virtual_addresses = ["fe80::100/64", "2001:db8:1::/127", "2001:db8:1::2"]
[virtual_server.six]
address = "[2001:db8::100]:80"
protocol = "tcp"
`)
	in, ok := instanceOf(c, "six", "a", true)
	want := vrrp.Instance{
		Name: "six",
		ID:   vrrp.ID{Interface: "eth0", Family: vrrp.IPv6, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 150, AdvertInterval: 100 * time.Millisecond, Preempt: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("fe80::100/64"), netip.MustParsePrefix("2001:db8::100/64")},
			Source:    netip.MustParseAddr("2001:db8::11"),
		},
		Unicast: true,
		Peers:   []netip.Addr{netip.MustParseAddr("2001:db8::12")},
		Senders: []vrrp.Sender{{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::12")}}},
		Prefer:  netip.MustParseAddr("2001:db8::11"),
	}
	if diff := cmp.Diff(want, in, sameValues); !ok || diff != "" {
		t.Errorf("ok %v, -want +got:\n%s", ok, diff)
	}
	for _, in := range c.Instances("b", true) {
		if err := in.Validate(); err != nil {
			t.Errorf("%s: the protocol refuses it: %v", in.Name, err)
		}
	}
	if four, _ := instanceOf(c, "four", "a", true); four.ID.Family != vrrp.IPv4 {
		t.Errorf("%+v", four)
	}
	if other, _ := instanceOf(c, "other", "a", true); other.Addresses[2] != netip.MustParsePrefix("2001:db8:1::2/128") {
		t.Errorf("%+v", other)
	}
}

func TestInstance(t *testing.T) {
	c := parse(t, `
[director.a]
address = "10.0.0.11"
priority = 200
[director.b]
address = "10.0.0.12"
[director.c]
address = "10.0.0.13"
priority = 50
[vrrp.web]
interface = "eth0"
vrid = 51
virtual_addresses = ["10.0.0.100/24", "10.0.0.99/24"]
advert_interval = "1s"
preempt_delay = "5s"
priority = { b = 201 }
[vrrp.always]
interface = "eth0"
vrid = 52
virtual_addresses = ["10.0.0.101/24"]
preempt = true
unicast = true
[vrrp.never]
interface = "eth1"
vrid = 51
virtual_addresses = ["10.0.0.102/24"]
preempt = false
version = 2
password = "secret12"
`)
	in, ok := instanceOf(c, "web", "b", false)
	want := vrrp.Instance{
		Name: "web",
		ID:   vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 201, AdvertInterval: time.Second, PreemptDelay: 5 * time.Second,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24"), netip.MustParsePrefix("10.0.0.99/24")},
		},
		Peers: []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.13")},
		Senders: []vrrp.Sender{
			{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.11")}},
			{Name: "c", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.13")}},
		},
		Prefer: netip.MustParseAddr("10.0.0.12"),
	}
	if diff := cmp.Diff(want, in, sameValues); !ok || diff != "" {
		t.Errorf("ok %v, -want +got:\n%s", ok, diff)
	}
	if err := in.Validate(); err != nil {
		t.Errorf("the protocol refuses it: %v", err)
	}
	if in, _ := instanceOf(c, "always", "c", false); in.Source != netip.MustParseAddr("10.0.0.13") || !in.Unicast || in.Priority != 50 {
		t.Errorf("unicast: %+v", in)
	}
	never, _ := instanceOf(c, "never", "a", false)
	if never.Version != vrrp.Version2 || never.AdvertInterval != time.Second || never.Auth != vrrp.Password("secret12") {
		t.Errorf("version 2: %+v", never)
	}
	if err := never.Validate(); err != nil {
		t.Errorf("version 2: the protocol refuses it: %v", err)
	}
	for _, tt := range []struct {
		name          string
		unready, then bool
	}{{"web", false, true}, {"always", true, true}, {"never", false, false}} {
		unready, _ := instanceOf(c, tt.name, "a", false)
		ready, _ := instanceOf(c, tt.name, "a", true)
		if unready.Preempt != tt.unready || ready.Preempt != tt.then {
			t.Errorf("%s preempts: %v before it is ready, %v then; want %v, %v", tt.name, unready.Preempt, ready.Preempt, tt.unready, tt.then)
		}
	}
	if _, ok := instanceOf(c, "none", "a", true); ok {
		t.Error("an instance that is not there")
	}
	if _, ok := instanceOf(c, "web", "none", true); ok {
		t.Error("a director that is not there")
	}
	names := ""
	for _, in := range c.Instances("a", true) {
		names += in.Name + " "
	}
	if names != "web always never " || c.Instances("none", true) != nil {
		t.Errorf("instances %q", names)
	}
}

// instanceOf is a director's view of one virtual router, if both exist.
func instanceOf(c *conf.Config, name, director string, ready bool) (vrrp.Instance, bool) {
	for _, in := range c.Instances(director, ready) {
		if in.Name == name {
			return in, true
		}
	}
	return vrrp.Instance{}, false
}
