//go:build integration

package nft

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestInputs(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.12")
	for _, tt := range []struct {
		name, rules string
		want        []Input
	}{
		{"nothing", "", nil},
		{"accepts", "table inet filter { chain input { type filter hook input priority 0; policy accept; }; }", nil},
		{"another hook", "table inet filter { chain way { type filter hook forward priority 0; policy drop; }; }", nil},
		{"drops", "table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; }; }",
			[]Input{{Family: "inet", Table: "filter", Chain: "input"}}},
		{"names both", "table ip f { chain i { type filter hook input priority 0; policy drop; ip protocol vrrp accept; udp dport 8850 accept; }; }",
			[]Input{{Family: "ip", Table: "f", Chain: "i", VRRP: true, Port: true}}},
		{"by sets", "table inet f { chain i { type filter hook input priority 0; policy drop; meta l4proto { esp, vrrp } accept; tcp dport { 22, 8000-9000 } accept; }; }",
			[]Input{{Family: "inet", Table: "f", Chain: "i", VRRP: true, Port: true}}},
		{"by sets that have others", "table inet f { chain i { type filter hook input priority 0; policy drop; meta l4proto { esp, ah } accept; tcp dport { 22, 9000-9100, 8000-8100 } accept; }; }",
			[]Input{{Family: "inet", Table: "f", Chain: "i"}}},
		{"by a range", "table ip6 f { chain i { type filter hook input priority 0; policy drop; udp dport 8800-8900 accept; }; }",
			[]Input{{Family: "ip6", Table: "f", Chain: "i", Port: true}}},
		{"by the sender", "table inet f { chain i { type filter hook input priority 0; policy drop; ip saddr { 10.0.0.11, 10.0.0.12 } accept; }; }",
			[]Input{{Family: "inet", Table: "f", Chain: "i", VRRP: true, Port: true}}},
		{"in another chain", "table inet f { chain cluster { ip protocol 112 accept; }; chain i { type filter hook input priority 0; policy drop; jump cluster; }; }",
			[]Input{{Family: "inet", Table: "f", Chain: "i", VRRP: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := netnstest.New(t, "firewall")
			if tt.rules != "" {
				ns.Run(t, "nft", tt.rules)
			}
			var got []Input
			var err error
			ns.Do(func() { got, err = Inputs(8850, peer) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("inputs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBarriers(t *testing.T) {
	group, own := netip.MustParseAddr("224.0.0.81"), netip.MustParseAddr("169.254.88.49")
	drops := func(rules string) string {
		return "table inet f { chain i { type filter hook input priority 0; policy drop; " + rules + " }; }"
	}
	input := []Barrier{{Family: "inet", Table: "f", Chain: "i"}}
	for _, tt := range []struct {
		name, rules string
		want        []Barrier
	}{
		{"nothing", "", nil},
		{"accepts", "table inet f { chain i { type filter hook input priority 0; policy accept; }; }", nil},
		{"drops", drops("iifname lo accept; tcp dport 22 accept;"), input},
		{"by name", drops("iifname hasync0 accept;"), nil},
		{"by names", drops("iifname { lo, hasync0 } accept;"), nil},
		{"by other names", drops("iifname { lo, eth0 } accept;"), input},
		{"by number", drops("iif hasync0 accept;"), nil},
		{"by the group", drops("ip daddr 224.0.0.81 accept;"), nil},
		{"by the address", drops("ip saddr 169.254.0.0/16 accept;"), input}, // a prefix names none
		{"what is sent", "table ip f { chain o { type filter hook output priority 0; policy drop; }; }", []Barrier{{Family: "ip", Table: "f", Chain: "o", Out: true}}},
		{"what is sent, by name", "table ip f { chain o { type filter hook output priority 0; policy drop; oifname hasync0 accept; }; }", nil},
		{"IPv6", "table ip6 f { chain i { type filter hook input priority 0; policy drop; }; }", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := netnstest.New(t, "barrier")
			ns.IP(t, "link add hasync0 type veth peer name hasync1")
			if tt.rules != "" {
				ns.Run(t, "nft", tt.rules)
			}
			var got []Barrier
			var err error
			ns.Do(func() { got, err = Barriers("hasync0", group, own) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("barriers (-want +got):\n%s", diff)
			}
		})
	}
}
