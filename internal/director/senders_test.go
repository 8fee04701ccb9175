package director

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

func TestWithSenders(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.12"), netip.MustParseAddr("fe80::12")
	configured := []vrrp.Sender{{Name: "lb-b", Addresses: []netip.Addr{a}}, {Name: "lb-c"}}
	got := withSenders(configured, map[string][]netip.Addr{"lb-b": {a, b}, "lb-d": {b}})
	want := []vrrp.Sender{{Name: "lb-b", Addresses: []netip.Addr{a, b}}, {Name: "lb-c"}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(configured[0].Addresses) != 1 {
		t.Error("the configuration was written to")
	}
}

// A director that is no longer heard keeps its addresses, and one that tells none is
// not forgotten either.
func TestLearnSenders(t *testing.T) {
	a, b := netip.MustParseAddr("fe80::12"), netip.MustParseAddr("fe80::13")
	d := &Director{senders: make(map[string][]netip.Addr)}
	tell := func(addrs ...netip.Addr) bool {
		p := Peer{Name: "lb-b"}
		p.Sources = addrs
		return d.learnSenders([]Peer{p})
	}
	for i, step := range []struct {
		told []netip.Addr
		news bool
		want []netip.Addr
	}{
		{[]netip.Addr{a}, true, []netip.Addr{a}},
		{[]netip.Addr{a}, false, []netip.Addr{a}},
		{nil, false, []netip.Addr{a}},
		{[]netip.Addr{b}, true, []netip.Addr{b}},
	} {
		if news := tell(step.told...); news != step.news || d.senders["lb-b"][0] != step.want[0] {
			t.Errorf("step %d: news %v, knows %v; want %v, %v", i, news, d.senders["lb-b"], step.news, step.want)
		}
	}
}

func TestDirectorName(t *testing.T) {
	cfg := parse(t, pairTOML)
	told := map[string][]netip.Addr{"lb-b": {netip.MustParseAddr("fe80::12")}}
	for addr, want := range map[string]string{
		"10.0.0.11": "lb-a", "10.0.0.12": "lb-b", "fe80::12%eth0": "lb-b", "10.0.0.13": "10.0.0.13", "fe80::13": "fe80::13",
	} {
		if got := directorName(cfg, told, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}
