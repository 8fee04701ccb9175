package netif

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

func route(t *testing.T, s string) vrrp.Route {
	t.Helper()
	r, err := vrrp.ParseRoute(s, vrrp.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rule(t *testing.T, s string) vrrp.Rule {
	t.Helper()
	r, err := vrrp.ParseRule(s, vrrp.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var testLinks = map[string]int{"eth0": 2, "eth1": 3}

func testIndex(name string) (int, error) {
	if i, ok := testLinks[name]; ok {
		return i, nil
	}
	return 0, errors.New("no such link")
}

func testName(index int) string {
	for name, i := range testLinks {
		if i == index {
			return name
		}
	}
	return "?"
}

func TestKernelRoute(t *testing.T) {
	// What ip-route(8) documents as its defaults, and the route back.
	for text, want := range map[string]struct {
		table, metric, mtu uint32
		link               int
		scope              uint8
		back               string
	}{
		"192.0.2.0/24": {254, 0, 0, 2, unix.RT_SCOPE_LINK, "192.0.2.0/24 dev eth0"},
		"192.0.2.0/24 dev eth1 scope global table 7": {7, 0, 0, 3, 0, "192.0.2.0/24 dev eth1 table 7"},
		"default via 10.0.0.1 metric 5":              {254, 5, 0, 0, 0, "default via 10.0.0.1 metric 5"},
		"default via 10.0.0.1 dev eth1 mtu 65535":    {254, 0, 65520, 3, 0, "default via 10.0.0.1 dev eth1 mtu 65520"},
		"default via fe80::1":                        {254, 1024, 0, 2, 0, "default via fe80::1 dev eth0 metric 1024"},
		"2001:db8::/32 via 2001:db9::1 metric 7":     {254, 7, 0, 0, 0, "2001:db8::/32 via 2001:db9::1 metric 7"},
		"blackhole 192.0.2.0/24 table local":         {255, 0, 0, 0, 0, "blackhole 192.0.2.0/24 table local"},
		"default nexthop via 10.0.0.1 nexthop dev eth1 weight 3": {254, 0, 0, 0, 0,
			"default nexthop via 10.0.0.1 nexthop dev eth1 weight 3"},
	} {
		got, err := kernelRouteOf(route(t, text), "eth0", testIndex)
		if err != nil || got.table != want.table || got.metric != want.metric || got.mtu != want.mtu || got.link != want.link || got.scope != want.scope {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		if back := got.route(testName).String(); back != want.back {
			t.Errorf("%s: back is %q, want %q", text, back, want.back)
		}
	}
	for _, text := range []string{"192.0.2.0/24 dev eth9", "default nexthop dev eth9", "default nexthop via fe80::1 dev eth9"} {
		if k, err := kernelRouteOf(route(t, text), "eth0", testIndex); err == nil {
			t.Errorf("%s: %+v, want an error for the missing link", text, k)
		}
	}
}

func TestSameRoute(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		same       bool
	}{
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1", true}, // the kernel found the link
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 dev eth0", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.2", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 metric 1", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 table 9", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 mtu 1400", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 src 10.0.0.9", false},
		{"default via 10.0.0.1 dev eth1", "default via 10.0.0.1 scope link", false},
		{"blackhole 192.0.2.0/24", "prohibit 192.0.2.0/24", false},
		{"blackhole 192.0.2.0/24", "blackhole 192.0.2.0/24", true},
		{"default nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0 weight 2", "default nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.1", true},
		{"default nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0", "default nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.1", false},
		{"default nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth0", "default nexthop via 10.0.0.1", false},
	} {
		have, err1 := kernelRouteOf(route(t, tt.have), "eth0", testIndex)
		want, err2 := kernelRouteOf(route(t, tt.want), "eth0", testIndex)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if got := have.is(want); got != tt.same {
			t.Errorf("%q is %q: %v, want %v", tt.have, tt.want, got, tt.same)
		}
	}
}

// From any own routes to any others: after the steps, which never add what is there nor
// delete what is not, the wanted routes are there, others are untouched, and a second
// plan is empty. After the release none of them is left.
func TestPlanRoutesRandomWalk(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(n int) []kernelRoute {
		var rs []kernelRoute
		for range n {
			k := kernelRoute{
				routeKey: routeKey{to: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), 0, 0}), 16), table: uint32(100 + rng.IntN(2)), metric: uint32(rng.IntN(2))},
				kind:     unix.RTN_UNICAST, link: 1 + rng.IntN(2), mtu: uint32(rng.IntN(2) * 1400),
			}
			if !slices.ContainsFunc(rs, func(o kernelRoute) bool { return o.routeKey == k.routeKey }) {
				rs = append(rs, k)
			}
		}
		return rs
	}
	for i := range 2000 {
		have, want := pick(rng.IntN(6)), pick(rng.IntN(6))
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			now := slices.Clone(have)
			for _, s := range planAcquireRoutes(have, want) {
				now = applyRouteStep(t, now, s)
			}
			for _, k := range append(slices.Clone(have), want...) {
				w := slices.IndexFunc(want, func(w kernelRoute) bool { return w.routeKey == k.routeKey })
				expected := k
				if w >= 0 {
					expected = want[w]
				}
				if !slices.ContainsFunc(now, func(n kernelRoute) bool { return n.is(expected) }) {
					t.Errorf("have %v, want %v: %v is missing in %v", have, want, expected, now)
				}
			}
			if again := planAcquireRoutes(now, want); len(again) != 0 {
				t.Errorf("second plan is %v, want none", again)
			}
			gone := keysOf(want)
			for _, s := range planReleaseRoutes(now, gone) {
				now = applyRouteStep(t, now, s)
			}
			for _, h := range have {
				if left := slices.ContainsFunc(now, func(n kernelRoute) bool { return n.is(h) }); left == slices.Contains(gone, h.routeKey) {
					t.Errorf("have %v, released %v: ended with %v", have, gone, now)
				}
			}
			if again := planReleaseRoutes(now, gone); len(again) != 0 || len(now) > len(have) {
				t.Errorf("after the release %v is left, the plan is %v", now, again)
			}
		})
	}
}

func applyRouteStep(t *testing.T, now []kernelRoute, s routeStep) []kernelRoute {
	t.Helper()
	i := slices.IndexFunc(now, func(k kernelRoute) bool { return k.routeKey == s.route.routeKey })
	switch {
	case s.verb == addRoute && i < 0:
		return append(now, s.route)
	case s.verb == replaceRoute && i >= 0:
		now[i] = s.route
		return now
	case s.verb == deleteRoute && i >= 0:
		return slices.Delete(now, i, i+1)
	}
	t.Errorf("%s %v: have %v", s.verb, s.route, now)
	return now
}

func TestPlanRules(t *testing.T) {
	ours := func(s string, priority uint32) kernelRule {
		r := rule(t, s)
		r.Priority = priority
		if r.Mark != 0 && r.Mask == 0 {
			r.Mask = 1<<32 - 1 // as the kernel shows it
		}
		return kernelRule{r, true}
	}
	theirs := func(s string, priority uint32) kernelRule { k := ours(s, priority); k.ours = false; return k }
	rules := func(texts ...string) []vrrp.Rule {
		var rs []vrrp.Rule
		for _, s := range texts {
			rs = append(rs, rule(t, s))
		}
		return rs
	}
	for _, tt := range []struct {
		name     string
		have     []kernelRule
		want     []vrrp.Rule
		keep     []vrrp.Rule
		add, del []string
	}{
		{"nothing there", nil, rules("from 10.0.0.1 table 5"), nil, []string{"from 10.0.0.1/32 table 5"}, nil},
		{"there, the kernel chose the priority", []kernelRule{ours("from 10.0.0.1 fwmark 1 table 5", 32765)}, rules("from 10.0.0.1 fwmark 1 table 5"), nil,
			nil, []string{"from 10.0.0.1/32 fwmark 0x1/0xffffffff priority 32765 table 5"}},
		{"there with another priority", []kernelRule{ours("from 10.0.0.1 table 5", 32765)}, rules("from 10.0.0.1 priority 9 table 5"), nil,
			[]string{"from 10.0.0.1/32 priority 9 table 5"}, nil},
		{"somebody else's", []kernelRule{theirs("from 10.0.0.1 table 5", 9)}, rules("from 10.0.0.1 priority 9 table 5"), nil, nil, nil},
		{"another action", []kernelRule{ours("from 10.0.0.1 blackhole", 9)}, rules("from 10.0.0.1 prohibit"), nil, []string{"from 10.0.0.1/32 prohibit"}, nil},
		{"a priority was added: the new one stays", []kernelRule{ours("from 10.0.0.1 table 5", 32765), ours("from 10.0.0.1 table 5", 9)},
			rules("from 10.0.0.1 table 5"), rules("from 10.0.0.1 priority 9 table 5"), nil, []string{"from 10.0.0.1/32 priority 32765 table 5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := func(rs []vrrp.Rule) []string {
				var out []string
				for _, r := range rs {
					out = append(out, r.String())
				}
				return out
			}
			if diff := cmp.Diff(tt.add, text(planAcquireRules(tt.have, tt.want))); diff != "" {
				t.Errorf("add (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.del, text(planReleaseRules(tt.have, tt.want, tt.keep))); diff != "" {
				t.Errorf("del (-want +got):\n%s", diff)
			}
		})
	}
}
