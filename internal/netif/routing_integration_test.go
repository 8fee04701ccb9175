//go:build integration

package netif

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
)

// ownLines are the lines of the daemon's own that ip prints for a listing, without
// trailing blanks.
func ownLines(t *testing.T, listing string) []string {
	t.Helper()
	var own []string
	for _, l := range strings.Split(netnstest.Self().IP(t, listing), "\n") {
		if strings.Contains(l, "proto 112") || len(own) > 0 && strings.HasPrefix(l, "\tnexthop") {
			own = append(own, strings.Join(strings.Fields(strings.ReplaceAll(l, "proto 112", "")), " "))
		}
	}
	return own
}

func routes(t *testing.T, texts ...string) []vrrp.Route {
	t.Helper()
	var rs []vrrp.Route
	for _, s := range texts {
		rs = append(rs, route(t, s))
	}
	return rs
}

// routingNet is eth0 and eth1 with an address of each family.
func routingNet(t *testing.T) *netnstest.NS {
	t.Helper()
	self, far := netnstest.Self(), netnstest.New(t, "far")
	for i, eth := range []string{"eth0", "eth1"} {
		netnstest.Cable(t, self, eth, far, eth)
		self.IP(t, "addr add 10.0."+string(rune('0'+i))+".1/24 dev "+eth)
		self.IP(t, "addr add 2001:db8:"+string(rune('0'+i))+"::1/64 nodad dev "+eth)
	}
	return self
}

func TestRoutesComeAndGo(t *testing.T) {
	routingNet(t)
	w := NewRouting(quiet)
	want := routes(t,
		"198.51.100.0/24", "192.0.2.0/24 via 10.0.0.254 src 10.0.0.1 mtu 1400", "192.0.2.0/24 via 198.51.100.7 metric 9",
		"default via 10.0.1.254 dev eth1 table 100", "blackhole 203.0.113.0/24", "prohibit 203.0.113.0/25", "unreachable 203.0.113.128/25 metric 3",
		"default metric 77 nexthop via 10.0.0.254 nexthop via 10.0.1.254 dev eth1 weight 3",
		"default via fe80::99 table 1000", "2001:db8:a::/48 via 2001:db8:1::99 metric 5 mtu 1400", "blackhole 2001:db8:b::/48",
		"2001:db8:c::/48 nexthop via 2001:db8::99 weight 2 nexthop via 2001:db8:1::99",
	)
	for range 2 {
		if err := w.AcquireRouting("eth0", want, nil); err != nil {
			t.Fatal(err)
		}
		for listing, want := range map[string][]string{
			"-4 route show table main": {
				"default metric 77", "nexthop via 10.0.0.254 dev eth0 weight 1", "nexthop via 10.0.1.254 dev eth1 weight 3",
				"192.0.2.0/24 via 10.0.0.254 dev eth0 src 10.0.0.1 mtu 1400", "192.0.2.0/24 via 198.51.100.7 dev eth0 metric 9",
				"198.51.100.0/24 dev eth0 scope link",
				"prohibit 203.0.113.0/25", "blackhole 203.0.113.0/24", "unreachable 203.0.113.128/25 metric 3",
			},
			"-4 route show table 100":  {"default via 10.0.1.254 dev eth1"},
			"-6 route show table 1000": {"default via fe80::99 dev eth0 metric 1024 pref medium"},
			"-6 route show table main": {
				"2001:db8:a::/48 via 2001:db8:1::99 dev eth1 metric 5 mtu 1400 pref medium",
				"blackhole 2001:db8:b::/48 dev lo metric 1024 pref medium",
				"2001:db8:c::/48 metric 1024 pref medium", "nexthop via 2001:db8::99 dev eth0 weight 2", "nexthop via 2001:db8:1::99 dev eth1 weight 1",
			},
		} {
			if diff := cmp.Diff(want, ownLines(t, listing)); diff != "" {
				t.Errorf("ip %s (-want +got):\n%s", listing, diff)
			}
		}
	}
	for range 2 {
		if err := w.ReleaseRouting("eth0", want, nil); err != nil {
			t.Fatal(err)
		}
		for _, listing := range []string{"-4 route show table all", "-6 route show table all"} {
			if left := ownLines(t, listing); len(left) > 0 {
				t.Errorf("ip %s still has %q", listing, left)
			}
		}
	}
}

func TestForeignRoutesStay(t *testing.T) {
	self := routingNet(t)
	self.IP(t, "route add 192.0.2.0/24 via 10.0.0.254")
	self.IP(t, "route add 198.51.100.0/24 via 10.0.0.254")
	self.IP(t, "-6 route add 2001:db8:a::/48 via 2001:db8::99")
	before := self.IP(t, "route show table all") + self.IP(t, "-6 route show table all")
	w := NewRouting(quiet)
	same := routes(t, "192.0.2.0/24 via 10.0.0.254 dev eth0")
	must(t, w.AcquireRouting("eth0", same, nil))
	// The failures are joined, and do not keep the last one from being added.
	taken := routes(t, "198.51.100.0/24 via 10.0.0.253", "2001:db8:a::/48 via 2001:db8::98", "203.0.113.0/24 via 10.9.9.9", "203.0.113.0/24 dev nosuch0", "203.0.113.0/25")
	err := w.AcquireRouting("eth0", taken, nil)
	for _, want := range []string{
		"ip route add 198.51.100.0/24 via 10.0.0.253: another route is there, 198.51.100.0/24 via 10.0.0.254 dev eth0, give this one a metric of its own",
		"another route is there, 2001:db8:a::/48 via 2001:db8::99 dev eth0",
		"ip route add 203.0.113.0/24 via 10.9.9.9: network is unreachable: Nexthop has invalid gateway", // the kernel's words
		"find link nosuch0",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant in it: %s", err, want)
		}
	}
	if diff := cmp.Diff([]string{"203.0.113.0/25 dev eth0 scope link"}, ownLines(t, "route show table all")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	must(t, w.ReleaseRouting("eth0", append(same, taken...), nil))
	if after := self.IP(t, "route show table all") + self.IP(t, "-6 route show table all"); after != before {
		t.Errorf("the routes were\n%s\nand are now\n%s", before, after)
	}
}

// A reload changes a route in place, releases the old one after that, and what another
// program removes or changes is put back by the next call.
func TestRoutesChangeAndAreRestored(t *testing.T) {
	self := routingNet(t)
	var log logBuffer
	w := NewRouting(slog.New(slog.NewTextHandler(&log, nil)))
	v1, v2 := routes(t, "192.0.2.0/24 via 10.0.0.254", "2001:db8:a::/48 via 2001:db8::99"), routes(t, "192.0.2.0/24 via 10.0.0.253 mtu 1400", "2001:db8:a::/48 via 2001:db8::98")
	want := []string{"192.0.2.0/24 via 10.0.0.253 dev eth0 mtu 1400", "2001:db8:a::/48 via 2001:db8::98 dev eth0 metric 1024 pref medium"}
	check := func(when string) {
		t.Helper()
		got := append(ownLines(t, "-4 route show"), ownLines(t, "-6 route show")...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	must(t, w.AcquireRouting("eth0", v1, nil))
	must(t, w.AcquireRouting("eth0", v2, nil))
	check("changed")
	must(t, w.ReleaseRouting("eth0", v1, nil))
	check("the old form released")
	if log.String() != "" {
		t.Errorf("a reload logs %s", log.String())
	}
	self.IP(t, "route del 192.0.2.0/24")
	self.IP(t, "-6 route del 2001:db8:a::/48")
	must(t, w.AcquireRouting("eth0", v2, nil))
	check("restored")
	if n := strings.Count(log.String(), "put back"); n != 1 || !strings.Contains(log.String(), `route="192.0.2.0/24 via 10.0.0.253 mtu 1400"`) {
		t.Errorf("the log has %d lines:\n%s", n, log.String())
	}
	// Another's route with the same key: ours is changed without hurting it.
	self.IP(t, "route append 192.0.2.0/24 via 10.0.0.252")
	if err := w.AcquireRouting("eth0", v1[:1], nil); err == nil || !strings.Contains(err.Error(), "via 10.0.0.252") {
		t.Errorf("error %v, want one that names the other route", err)
	}
	if out := self.IP(t, "route show 192.0.2.0/24"); strings.TrimSpace(out) != "192.0.2.0/24 via 10.0.0.252 dev eth0" {
		t.Errorf("the other's route was touched: %s", out)
	}
	self.IP(t, "link del eth0")
	must(t, w.ReleaseRouting("eth0", v2, nil))
}

// What a killed run has left is found by its mark and key.
func TestLeftoverRoutesAndRulesAreReleased(t *testing.T) {
	self := routingNet(t)
	rs := routes(t, "192.0.2.0/24 via 10.0.0.254", "default dev eth1 table 100")
	rules := []vrrp.Rule{rule(t, "from 10.0.0.100 table 100")}
	must(t, NewRouting(quiet).AcquireRouting("eth0", rs, rules))
	self.IP(t, "link set eth1 down")
	self.IP(t, "link set eth1 name lan1")
	self.IP(t, "link set lan1 up")
	must(t, NewRouting(quiet).ReleaseRouting("eth0", rs, rules))
	if left := append(ownLines(t, "route show table all"), ownLines(t, "-d rule show")...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	self.IP(t, "link del lan1")
}

func TestRulesComeAndGo(t *testing.T) {
	self := routingNet(t)
	self.IP(t, "rule add from 10.9.9.9 table 9 priority 50")
	t.Cleanup(func() { self.IP(t, "rule del from 10.9.9.9 table 9 priority 50") })
	before := self.IP(t, "rule show") + self.IP(t, "-6 rule show")
	var log logBuffer
	w := NewRouting(slog.New(slog.NewTextHandler(&log, nil)))
	var rules []vrrp.Rule
	for _, s := range []string{
		"from 10.9.9.9 priority 50 table 9", // somebody else's
		"from 10.0.0.100 table 100", "not from 10.0.0.0/8 to 192.0.2.0/24 iif eth0 oif eth1 fwmark 0x10/0xf0 priority 100 table main",
		"fwmark 5 priority 101 blackhole", "fwmark 0 priority 102 prohibit", "to 192.0.2.9 priority 103 unreachable",
		"from 2001:db8::/32 priority 100 table 1000",
	} {
		rules = append(rules, rule(t, s))
	}
	want4 := []string{
		"49: from 10.0.0.100 lookup 100", // the kernel has chosen one before the first
		"100: not from 10.0.0.0/8 to 192.0.2.0/24 fwmark 0x10/0xf0 iif eth0 oif eth1 lookup main",
		"101: from all fwmark 0x5 blackhole", "102: from all fwmark 0 prohibit", "103: from all to 192.0.2.9 unreachable",
	}
	want6 := []string{"100: from 2001:db8::/32 lookup 1000"}
	check := func() {
		t.Helper()
		if diff := cmp.Diff(want4, ownLines(t, "-d rule show")); diff != "" {
			t.Errorf("ip rule (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want6, ownLines(t, "-d -6 rule show")); diff != "" {
			t.Errorf("ip -6 rule (-want +got):\n%s", diff)
		}
	}
	for range 2 {
		must(t, w.AcquireRouting("eth0", nil, rules))
		check()
	}
	if log.String() != "" {
		t.Errorf("log: %s", log.String())
	}
	self.IP(t, "rule del priority 101")
	must(t, w.AcquireRouting("eth0", nil, rules))
	check()
	if !strings.Contains(log.String(), `rule="from all fwmark 0x5 priority 101 blackhole"`) {
		t.Errorf("log: %s", log.String())
	}
	for range 2 {
		must(t, w.ReleaseRouting("eth0", nil, rules))
	}
	if after := self.IP(t, "rule show") + self.IP(t, "-6 rule show"); after != before {
		t.Errorf("the rules were\n%s\nand are now\n%s", before, after)
	}
}
