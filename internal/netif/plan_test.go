package netif

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func has(ps ...string) []address {
	var as []address
	for _, p := range prefixes(ps...) {
		as = append(as, address{prefix: p})
	}
	return as
}

func lines(steps []step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.String())
	}
	return out
}

func TestPlanAcquire(t *testing.T) {
	tests := []struct {
		name string
		have []address
		want []netip.Prefix
		plan []string
	}{
		{"bare interface", nil, prefixes("10.0.0.100/24", "10.0.0.101/24"),
			[]string{"ip addr add 10.0.0.100/24", "ip addr add 10.0.0.101/24"}},
		{"beside the own address", has("10.0.0.1/24"), prefixes("10.0.0.100/24"),
			[]string{"ip addr add 10.0.0.100/24"}},
		{"already there", has("10.0.0.1/24", "10.0.0.100/24"), prefixes("10.0.0.100/24"), nil},
		{"there with another length: new one first", has("10.0.0.100/32"), prefixes("10.0.0.100/24"),
			[]string{"ip addr add 10.0.0.100/24", "ip addr del 10.0.0.100/32"}},
		{"there with both lengths", has("10.0.0.100/32", "10.0.0.100/24"), prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/32"}},
		{"condemned by duplicate address detection", []address{{prefix: prefix("2001:db8::100/64"), unusable: true}},
			prefixes("2001:db8::100/64"),
			[]string{"ip addr del 2001:db8::100/64", "ip addr add 2001:db8::100/64"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.plan, lines(planAcquire(tt.have, tt.want))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanRelease(t *testing.T) {
	tests := []struct {
		name string
		have []address
		held []netip.Prefix
		gone []netip.Prefix
		plan []string
	}{
		{"there", has("10.0.0.1/24", "10.0.0.100/24"), prefixes("10.0.0.100/24"), prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/24"}},
		{"not there", has("10.0.0.1/24"), prefixes("10.0.0.100/24"), prefixes("10.0.0.100/24"), nil},
		{"left by another run", has("10.0.0.100/24"), nil, prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/24"}},
		{"left with another length", has("10.0.0.100/32"), nil, prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/32"}},
		{"there with another length too", has("10.0.0.100/24", "10.0.0.100/32"), prefixes("10.0.0.100/24"), prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/24", "ip addr del 10.0.0.100/32"}},
		{"the length was changed: the new one stays", has("10.0.0.100/24", "10.0.0.100/32"), prefixes("10.0.0.100/32"), prefixes("10.0.0.100/24"),
			[]string{"ip addr del 10.0.0.100/24"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			held := func(a netip.Addr) (netip.Prefix, bool) {
				i := slices.IndexFunc(tt.held, func(p netip.Prefix) bool { return p.Addr() == a })
				if i < 0 {
					return netip.Prefix{}, false
				}
				return tt.held[i], true
			}
			if diff := cmp.Diff(tt.plan, lines(planRelease(tt.have, tt.gone, held))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// From any state to any other: after the plan the wanted addresses are there with
// the wanted lengths only, others are untouched, no wanted address that was there
// was missing in between, and a second plan is empty.
func TestPlanRandomWalk(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(n int) []netip.Prefix {
		var ps []netip.Prefix
		for range n {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(4))}), 24+rng.IntN(3)*4)
			if !slices.Contains(ps, p) {
				ps = append(ps, p)
			}
		}
		return ps
	}
	for i := range 2000 {
		var have []address
		for _, p := range pick(rng.IntN(6)) {
			have = append(have, address{prefix: p})
		}
		var want []netip.Prefix
		for _, p := range pick(rng.IntN(4)) {
			if !slices.ContainsFunc(want, func(q netip.Prefix) bool { return q.Addr() == p.Addr() }) {
				want = append(want, p)
			}
		}
		wanted := func(a netip.Addr) bool {
			return slices.ContainsFunc(want, func(p netip.Prefix) bool { return p.Addr() == a })
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			now := slices.Clone(have)
			for _, s := range planAcquire(have, want) {
				now = applyStep(t, now, s)
				for _, a := range have {
					if !slices.ContainsFunc(now, func(b address) bool { return b.prefix.Addr() == a.prefix.Addr() }) {
						t.Errorf("have %v, want %v: %v is missing after %q", have, want, a.prefix.Addr(), s)
					}
				}
			}
			for _, w := range want {
				if n := countAddr(now, w.Addr()); n != 1 || !slices.ContainsFunc(now, func(a address) bool { return a.prefix == w }) {
					t.Errorf("have %v, want %v: ended with %v", have, want, now)
				}
			}
			if again := planAcquire(now, want); len(again) != 0 {
				t.Errorf("second acquire plan is %v, want none", lines(again))
			}
			nothing := func(netip.Addr) (netip.Prefix, bool) { return netip.Prefix{}, false }
			for _, s := range planRelease(now, want, nothing) {
				now = applyStep(t, now, s)
			}
			for _, a := range have {
				if n := countAddr(now, a.prefix.Addr()); wanted(a.prefix.Addr()) != (n == 0) {
					t.Errorf("have %v, released %v: ended with %v", have, want, now)
				}
			}
			if again := planRelease(now, want, nothing); len(again) != 0 {
				t.Errorf("second release plan is %v, want none", lines(again))
			}
		})
	}
}

func applyStep(t *testing.T, now []address, s step) []address {
	t.Helper()
	i := slices.IndexFunc(now, func(a address) bool { return a.prefix == s.prefix })
	switch {
	case s.add && i >= 0:
		t.Errorf("%q: it is there already", s)
	case s.add:
		return append(now, address{prefix: s.prefix})
	case i < 0:
		t.Errorf("%q: it is not there", s)
	default:
		return slices.Delete(now, i, i+1)
	}
	return now
}

func countAddr(as []address, addr netip.Addr) (n int) {
	for _, a := range as {
		if a.prefix.Addr() == addr {
			n++
		}
	}
	return n
}
