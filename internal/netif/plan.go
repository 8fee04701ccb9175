package netif

import (
	"net/netip"
	"slices"
)

// step is one change to an interface's addresses.
type step struct {
	add    bool
	prefix netip.Prefix
}

// String is the step as an operator would type it, without the interface.
func (s step) String() string {
	if s.add {
		return "ip addr add " + s.prefix.String()
	}
	return "ip addr del " + s.prefix.String()
}

// planAcquire gives the steps after which an interface that has the addresses have
// also has want, each with the prefix length that want gives it and no other: an
// address left over with another length would outlive the release. The new entry
// comes first, so that the address is there at every moment.
func planAcquire(have []address, want []netip.Prefix) []step {
	var steps []step
	for _, w := range want {
		i := slices.IndexFunc(have, func(a address) bool { return a.prefix == w })
		switch {
		case i < 0:
			steps = append(steps, step{true, w})
		case have[i].unusable:
			// Duplicate address detection holds it or has condemned it. Added anew, it
			// is exempt.
			steps = append(steps, step{false, w}, step{true, w})
		}
		for _, a := range have {
			if a.prefix.Addr() == w.Addr() && a.prefix != w {
				steps = append(steps, step{false, a.prefix})
			}
		}
	}
	return steps
}

// planRelease gives the steps after which none of the addresses gone answers on the
// interface, whatever its prefix length there. held tells with which length an
// address was last acquired: when that is not the one to release, the address has
// been acquired anew since, with another length, and stays.
func planRelease(have []address, gone []netip.Prefix, held func(netip.Addr) (netip.Prefix, bool)) []step {
	var steps []step
	for _, g := range gone {
		keep, ok := held(g.Addr())
		for _, a := range have {
			if a.prefix.Addr() != g.Addr() || ok && keep != g && a.prefix == keep {
				continue
			}
			steps = append(steps, step{false, a.prefix})
		}
	}
	return steps
}
