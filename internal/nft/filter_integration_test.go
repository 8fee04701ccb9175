//go:build integration || ipvs

package nft

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestMain(m *testing.M) {
	netnstest.Enter()
	m.Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// answering returns those of some addresses that answer to a ping, in order. All are asked at
// once: one that is silent takes a second.
func answering(t *testing.T, ns *netnstest.NS, addrs ...string) []string {
	t.Helper()
	const all = `for a; do { ping -n -q -c 1 -W 1 "$a" >/dev/null 2>&1 && echo "$a"; } & done; wait`
	return slices.Sorted(strings.FieldsSeq(ns.Run(t, "sh", append([]string{"-c", all, "sh"}, addrs...)...)))
}

var vips = prefixes("10.0.0.100/24", "2001:db8::100/64")

// filterNet is a client on eth0 and a server on eth1 of the test's own namespace, which
// has the virtual addresses on eth0 and is the client's gateway by them.
func filterNet(t *testing.T) (self, client, server *netnstest.NS) {
	t.Helper()
	self, client, server = netnstest.Self(), netnstest.New(t, "client"), netnstest.New(t, "server")
	for _, ns := range []*netnstest.NS{self, client, server} {
		ns.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0") // or link-local addresses would be silent at first
	}
	netnstest.Cable(t, self, "eth0", client, "eth0")
	netnstest.Cable(t, self, "eth1", server, "eth0")
	for _, a := range []string{"10.0.0.1/24", "10.0.0.100/24", "2001:db8::1/64", "2001:db8::100/64"} {
		self.IP(t, "addr add "+a+" dev eth0"+nodad(a))
	}
	for _, a := range []string{"10.1.0.1/24", "2001:db8:1::1/64"} {
		self.IP(t, "addr add "+a+" dev eth1"+nodad(a))
	}
	self.Sysctl(t, "net/ipv4/ip_forward", "1")
	self.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	client.IP(t, "addr add 10.0.0.9/24 dev eth0")
	client.IP(t, "addr add 2001:db8::9/64 nodad dev eth0")
	client.IP(t, "route add 10.1.0.0/24 via 10.0.0.100")
	client.IP(t, "-6 route add 2001:db8:1::/64 via 2001:db8::100")
	server.IP(t, "addr add 10.1.0.9/24 dev eth0")
	server.IP(t, "addr add 2001:db8:1::9/64 nodad dev eth0")
	server.IP(t, "route add default via 10.1.0.1")
	server.IP(t, "-6 route add default via 2001:db8:1::1")
	return self, client, server
}

func nodad(addr string) string {
	if strings.Contains(addr, ":") {
		return " nodad"
	}
	return ""
}

func tables(t *testing.T) string {
	t.Helper()
	return netnstest.Self().Run(t, "nft", "list", "tables")
}

// Virtual routers share the table: one that ends takes its own addresses out only, also
// if another has the same.
func TestAddressesAreKeptApart(t *testing.T) {
	f := New()
	set := func(name string) string {
		t.Helper()
		out := netnstest.Self().Run(t, "nft", "list", "set", "inet", "hadirector", name)
		_, elems, _ := strings.Cut(out, "elements = ")
		elems, _, _ = strings.Cut(elems, "}")
		return strings.Join(strings.Fields(elems), " ")
	}
	must(t, f.Refuse("eth0", prefixes("10.0.0.100/24", "10.0.0.101/32", "2001:db8::100/64")))
	must(t, f.Refuse("eth1", prefixes("10.0.0.101/24", "10.0.0.102/24")))
	must(t, f.Accept("eth0", prefixes("10.0.0.100/24", "10.0.0.101/32")))
	if got := set("refused4"); got != "{ 10.0.0.101, 10.0.0.102" {
		t.Errorf("refused4 is %q", got)
	}
	if got := set("refused6"); got != "{ 2001:db8::100" {
		t.Errorf("refused6 is %q", got)
	}
	must(t, f.Close())
	if got := tables(t); got != "" {
		t.Errorf("after Close: %q", got)
	}
}

// A table that a killed run has left goes at the start, others' stay, and one that
// another program flushes comes back.
func TestTheTableIsCleanedAndRestored(t *testing.T) {
	self := netnstest.Self()
	self.Run(t, "nft", "add", "table", "inet", "filter")
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	must(t, New().Refuse("eth0", vips))
	f := New()
	must(t, f.Close())
	if got := tables(t); got != "table inet filter\n" {
		t.Errorf("after the start: %q", got)
	}
	must(t, f.Close())
	if restored, err := f.Restore(); restored || err != nil {
		t.Errorf("Restore of nothing = %v, %v", restored, err)
	}
	must(t, f.Refuse("eth0", vips))
	before := self.Run(t, "nft", "list", "table", "inet", "hadirector")
	for what, mend := range map[string]func() (bool, error){
		"Restore": f.Restore,
		"Refuse":  func() (bool, error) { return true, f.Refuse("eth0", vips) },
	} {
		self.Run(t, "nft", "flush", "ruleset")
		if restored, err := mend(); !restored || err != nil {
			t.Errorf("%s = %v, %v", what, restored, err)
		}
		if after := self.Run(t, "nft", "list", "table", "inet", "hadirector"); after != before {
			t.Errorf("%s: the table was\n%s\nand is now\n%s", what, before, after)
		}
	}
	if restored, err := f.Restore(); restored || err != nil {
		t.Errorf("Restore of what is there = %v, %v", restored, err)
	}
	// A process follows that refuses nothing.
	if restored, err := New().Restore(); restored || err != nil {
		t.Errorf("Restore of what an earlier process has left = %v, %v", restored, err)
	}
	if got := tables(t); got != "" {
		t.Errorf("what an earlier process has left is still there: %q", got)
	}
	must(t, f.Close())
}

func TestTheTableAsNftPrintsIt(t *testing.T) {
	f := New()
	must(t, f.Refuse("eth0", vips))
	must(t, f.GuardLink("vrrp.51"))
	got := netnstest.Self().Run(t, "nft", "-n", "list", "table", "inet", "hadirector")
	for _, want := range []string{
		"type filter hook input priority 110; policy accept;",
		"ip daddr @refused4 drop", "icmpv6 type { 135, 136 } accept", "ip6 daddr @refused6 drop",
		`elements = { "vrrp.51" }`, "type filter hook output priority 0; policy accept;",
		"oifname @links", "ip6 saddr :: drop",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	must(t, f.UnguardLink("vrrp.51"))
	must(t, f.Accept("eth0", vips))
	if got := tables(t); got != "" {
		t.Errorf("left: %q", got)
	}
}
