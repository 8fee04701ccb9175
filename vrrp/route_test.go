package vrrp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compareNet = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestParseRoute(t *testing.T) {
	net, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, tt := range []struct {
		text   string
		family Family
		want   Route
		back   string // what String gives, if not text
	}{
		{"default via 10.0.0.1", IPv6, Route{To: net("0.0.0.0/0"), Via: addr("10.0.0.1")}, ""},
		{"default via 2001:db8::1", IPv4, Route{To: net("::/0"), Via: addr("2001:db8::1")}, ""},
		{"default dev eth0", IPv4, Route{To: net("0.0.0.0/0"), Dev: "eth0"}, "0.0.0.0/0 dev eth0"},
		{"default dev eth0", IPv6, Route{To: net("::/0"), Dev: "eth0"}, "::/0 dev eth0"},
		{"default dev eth0 src 10.0.0.1", IPv6, Route{To: net("0.0.0.0/0"), Dev: "eth0", Source: addr("10.0.0.1")}, ""},
		{"unicast 192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.100 scope global table 100 metric 20 mtu 1400", IPv4, Route{
			To: net("192.0.2.0/24"), Via: addr("10.0.0.1"), Dev: "eth0", Source: addr("10.0.0.100"),
			Scope: "global", Table: 100, Metric: 20, MTU: 1400,
		}, "192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.100 scope global table 100 metric 20 mtu 1400"},
		{"192.0.2.1", IPv4, Route{To: net("192.0.2.1/32")}, "192.0.2.1/32"},
		{"2001:db8::/32 via fe80::1 dev eth0", IPv4, Route{To: net("2001:db8::/32"), Via: addr("fe80::1"), Dev: "eth0"}, ""},
		{"blackhole 192.0.2.0/24", IPv4, Route{Type: "blackhole", To: net("192.0.2.0/24")}, ""},
		{"unreachable default metric 4294967295", IPv4, Route{Type: "unreachable", To: net("0.0.0.0/0"), Metric: 1<<32 - 1}, "unreachable 0.0.0.0/0 metric 4294967295"},
		{"prohibit 192.0.2.0/24 table local", IPv4, Route{Type: "prohibit", To: net("192.0.2.0/24"), Table: 255}, ""},
		{"192.0.2.0/24 table main", IPv4, Route{To: net("192.0.2.0/24")}, "192.0.2.0/24"},
		{"192.0.2.0/24 table 254", IPv4, Route{To: net("192.0.2.0/24")}, "192.0.2.0/24"},
		{"192.0.2.0/24 table default priority 0x10", IPv4, Route{To: net("192.0.2.0/24"), Table: 253, Metric: 16}, "192.0.2.0/24 table default metric 16"},
		{"192.0.2.0/24 oif eth0 preference 7", IPv4, Route{To: net("192.0.2.0/24"), Dev: "eth0", Metric: 7}, "192.0.2.0/24 dev eth0 metric 7"},
		{"default metric 5 nexthop via 10.0.0.1 dev eth0 weight 3 nexthop via 10.0.0.2 weight 1 nexthop dev eth1", IPv6, Route{
			To: net("0.0.0.0/0"), Metric: 5,
			Hops: []Hop{{Via: addr("10.0.0.1"), Dev: "eth0", Weight: 3}, {Via: addr("10.0.0.2")}, {Dev: "eth1"}},
		}, "default metric 5 nexthop via 10.0.0.1 dev eth0 weight 3 nexthop via 10.0.0.2 nexthop dev eth1"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParseRoute(tt.text, tt.family)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, compareNet); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			back := tt.back
			if back == "" {
				back = tt.text
			}
			if got.String() != back {
				t.Errorf("String:\n got %s\nwant %s", got, back)
			}
		})
	}
}

func TestParseRouteErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                          "no destination",
		"blackhole":                                 "no destination",
		"10.0.0":                                    `destination "10.0.0": neither a prefix nor an address`,
		"10.0.0.1/8":                                `destination "10.0.0.1/8": the network is 10.0.0.0/8`,
		"::ffff:10.0.0.0/104":                       `destination "::ffff:10.0.0.0/104": neither a prefix nor an address`,
		"default gateway 10.0.0.1":                  `"gateway" is no word of a route`,
		"default via":                               "via: no address follows",
		"default via 10.0.0.256":                    `via: "10.0.0.256" is no address`,
		"default via 0.0.0.0":                       `via: "0.0.0.0" is no machine's address`,
		"default via fe80::1%eth0":                  `via: "fe80::1%eth0": an interface is named by dev`,
		"10.0.0.0/8 via 2001:db8::1":                `"2001:db8::1" is of another family than the address before`,
		"default via 10.0.0.1 via 10.0.0.2":         "via: given twice",
		"default dev eth0 oif eth1":                 "dev: given twice",
		"default metric 1 preference 2":             "metric: given twice",
		"default dev eth/0":                         `dev: "eth/0" is no name of an interface`,
		"default dev averyverylongname":             `dev: "averyverylongname" is no name of an interface`,
		"default dev eth0 scope site":               `scope: "site" is none of global, link, host`,
		"2001:db8::/32 dev eth0 scope link":         "scope: IPv6 routes have none",
		"default table 0":                           "table: 0 is not from 1 to 4294967295",
		"default table web":                         `table: "web" is no number from 0 to 4294967295`,
		"default metric -1":                         `metric: "-1" is no number from 0 to 4294967295`,
		"default mtu 9":                             "mtu: 9 is not from 68 to 65535",
		"blackhole 10.0.0.0/8 via 10.0.0.1":         "blackhole: such a route leads nowhere, it takes neither via, dev nor nexthop",
		"default via 10.0.0.1 nexthop via 10.0.0.2": "nexthop: the route has via or dev as well",
		"default nexthop weight 2":                  "nexthop 1: neither via nor dev",
		"default nexthop via 10.0.0.1 nexthop via 10.0.0.2 mtu 9": `nexthop 2: "mtu" is no word of a next hop`,
		"default nexthop dev a weight 257":                        "nexthop 1: weight: 257 is not from 1 to 256",
		"default nexthop dev a dev b":                             "nexthop 1: dev: given twice",
	} {
		if r, err := ParseRoute(text, IPv4); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, error %v, want %s", text, r, err, want)
		}
	}
}

func TestParseRule(t *testing.T) {
	net := netip.MustParsePrefix
	for _, tt := range []struct {
		text   string
		family Family
		want   Rule
		back   string
	}{
		{"from all table 100", IPv4, Rule{Family: IPv4, Table: 100}, ""},
		{"table main", IPv6, Rule{Family: IPv6, Table: 254}, "from all table main"},
		{"from 10.0.0.100 lookup 100", IPv6, Rule{Family: IPv4, From: net("10.0.0.100/32"), Table: 100}, "from 10.0.0.100/32 table 100"},
		{"not from 2001:db8::/32 to ::/0 iif eth0 oif eth1 fwmark 10 priority 100 table local", IPv4,
			Rule{Family: IPv6, Not: true, From: net("2001:db8::/32"), In: "eth0", Out: "eth1", Mark: 10, Priority: 100, Table: 255},
			"not from 2001:db8::/32 iif eth0 oif eth1 fwmark 0xa priority 100 table local"},
		{"to 10.0.0.0/8 dev eth0 pref 7 prohibit", IPv4, Rule{Family: IPv4, To: net("10.0.0.0/8"), In: "eth0", Priority: 7, Action: "prohibit"},
			"from all to 10.0.0.0/8 iif eth0 priority 7 prohibit"},
		{"from any fwmark 0x10/0xf0 order 9 blackhole", IPv4, Rule{Family: IPv4, Mark: 16, Mask: 240, Priority: 9, Action: "blackhole"},
			"from all fwmark 0x10/0xf0 priority 9 blackhole"},
		{"fwmark 0/0x1 unreachable", IPv4, Rule{Family: IPv4, Mask: 1, Action: "unreachable"}, "from all fwmark 0x0/0x1 unreachable"},
		{"fwmark 0 unreachable", IPv4, Rule{Family: IPv4, Mask: 1<<32 - 1, Action: "unreachable"}, "from all fwmark 0x0/0xffffffff unreachable"},
		{"fwmark 1/0xffffffff table 9", IPv4, Rule{Family: IPv4, Mark: 1, Table: 9}, "from all fwmark 0x1 table 9"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParseRule(tt.text, tt.family)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, compareNet); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			back := tt.back
			if back == "" {
				back = tt.text
			}
			if got.String() != back {
				t.Errorf("String:\n got %s\nwant %s", got, back)
			}
		})
	}
}

func TestParseRuleErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "neither table nor blackhole, unreachable or prohibit",
		"from 10.0.0.1":                        "neither table nor blackhole, unreachable or prohibit",
		"from 10.0.0.1 table 5 prohibit":       "table: the rule is prohibit as well",
		"from 10.0.0.1/8 table 5":              `from: "10.0.0.1/8": the network is 10.0.0.0/8`,
		"from 10.0.0.1 to 2001:db8::1 table 5": `"2001:db8::1" is of another family than the address before`,
		"from 10.0.0.1 not table 5":            `"not" is no word of a rule`,
		"table 5 lookup 6":                     "table: given twice",
		"prohibit blackhole":                   "action: given twice",
		"priority 0 table 5":                   "priority: 0 is not from 1 to 4294967295",
		"fwmark 1/0 table 5":                   `fwmark: "1/0": a mask of 0 matches every mark`,
		"fwmark 3/1 table 5":                   `fwmark: "3/1": the mark has bits that the mask leaves out`,
		"fwmark 1_0 table 5":                   `fwmark: "1_0" is no number from 0 to 4294967295`,
		"iif":                                  "iif: no interface follows",
	} {
		if r, err := ParseRule(text, IPv4); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, error %v, want %s", text, r, err, want)
		}
	}
}

// FuzzParseRoute: what is accepted is of one family, and the same after being
// written and read again, whatever family is offered then.
func FuzzParseRoute(f *testing.F) {
	f.Add("unicast 192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.100 scope global table 100 metric 20 mtu 1400", false)
	f.Add("default nexthop via fe80::1 dev eth0 weight 3 nexthop dev eth1", true)
	f.Add("blackhole default", true)
	f.Fuzz(func(t *testing.T, s string, v6 bool) {
		family, other := IPv4, IPv6
		if v6 {
			family, other = IPv6, IPv4
		}
		r, err := ParseRoute(s, family)
		if err != nil {
			return
		}
		is := FamilyOf(r.To.Addr())
		for _, a := range []netip.Addr{r.Via, r.Source} {
			if a.IsValid() && FamilyOf(a) != is {
				t.Fatalf("%q: %v is of another family than %v", s, a, r.To)
			}
		}
		if !r.To.IsValid() || r.To != r.To.Masked() || r.Table == tableMain {
			t.Fatalf("%q: not canonical: %#v", s, r)
		}
		again, err := ParseRoute(r.String(), other)
		if err != nil || !again.Equal(r) {
			t.Fatalf("%q: written %q, read %v, %v", s, r, again, err)
		}
	})
}

// FuzzParseRule: what is accepted is the same after being written and read again.
func FuzzParseRule(f *testing.F) {
	f.Add("not from 2001:db8::/32 to ::/0 iif eth0 oif eth1 fwmark 10/0xf priority 100 table local", false)
	f.Add("fwmark 0 prohibit", true)
	f.Fuzz(func(t *testing.T, s string, v6 bool) {
		family := IPv4
		if v6 {
			family = IPv6
		}
		r, err := ParseRule(s, family)
		if err != nil {
			return
		}
		if (r.Table == 0) == (r.Action == "") {
			t.Fatalf("%q: table %d and action %q", s, r.Table, r.Action)
		}
		again, err := ParseRule(r.String(), r.Family)
		if err != nil || again != r {
			t.Fatalf("%q: written %q, read %v, %v", s, r, again, err)
		}
	})
}
