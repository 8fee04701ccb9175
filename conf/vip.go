package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// virtualAddresses reads the addresses with the prefix length that they get on the
// interface. They are of one family, because an advertisement is.
func (p *parser) virtualAddresses(n *node) []netip.Prefix {
	as := p.addresses(n, `["10.0.0.100/24"]`, func(e *node, a netip.Prefix, as []netip.Prefix) bool {
		if len(as) > 0 && a.Addr().Is4() != as[0].Addr().Is4() {
			p.errorf(e, "%s is %s, and %s is %s: a virtual router has one family; make two instances, which may have the same vrid",
				a.Addr(), family(a.Addr()), as[0].Addr(), family(as[0].Addr()))
			return false
		}
		return true
	})
	if n == nil {
		return nil
	}
	if _, ok := n.value.([]any); !ok {
		return nil
	}
	if c := len(n.elems); c == 0 || c > 255 {
		p.errorf(n, "want 1 to 255 addresses, as many as an advertisement carries, found %d", c)
	}
	return as
}

// excludedAddresses reads the addresses that a Master holds and does not advertise.
func (p *parser) excludedAddresses(n *node) []netip.Prefix {
	return p.addresses(n, `["10.0.0.110/24", "2001:db8::110/64"]`, func(*node, netip.Prefix, []netip.Prefix) bool { return true })
}

// addresses reads an array of addresses and takes each that fits those before it.
func (p *parser) addresses(n *node, example string, fits func(e *node, a netip.Prefix, before []netip.Prefix) bool) []netip.Prefix {
	if !p.array(n, "an array of addresses, such as "+example) {
		return nil
	}
	var as []netip.Prefix
	for _, e := range n.elems {
		a := p.virtualAddress(e)
		if !a.IsValid() {
			continue
		}
		if slices.ContainsFunc(as, func(b netip.Prefix) bool { return b.Addr() == a.Addr() }) {
			p.errorf(e, "%s is named twice", a.Addr())
			continue
		}
		if fits(e, a, as) {
			as = append(as, a)
		}
	}
	return as
}

// array tells whether n is an array; a string alone gets the brackets shown that it
// lacks.
func (p *parser) array(n *node, want string) bool {
	if s, ok := stringOf(n); ok {
		p.errorf(n, "want %s, found %s: write [%q]", want, describe(s), shorten(s))
		return false
	}
	_, ok := read[[]any](p, n, want)
	return ok
}

func (p *parser) virtualAddress(n *node) netip.Prefix {
	s, ok := read[string](p, n, `an address with its prefix length, such as "10.0.0.100/24"`)
	if !ok {
		return netip.Prefix{}
	}
	if text, _, _ := strings.Cut(s, "/"); strings.Contains(text, "%") {
		if a, err := netip.ParseAddr(text); err == nil {
			p.errorf(n, "%q has a zone: the interface is the instance's, so write %q", s, strings.Replace(s, "%"+a.Zone(), "", 1))
			return netip.Prefix{}
		}
	}
	px, err := netip.ParsePrefix(s)
	if a, errAddr := netip.ParseAddr(s); errAddr == nil && a.Zone() == "" {
		// A single address, as for keepalived and ip address.
		px, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		p.errorf(n, "%q is not an address with its prefix length, such as \"10.0.0.100/24\"%s", shorten(s), looksLikeHost(s))
		return netip.Prefix{}
	}
	a := px.Addr()
	if a.Is4() || !a.IsLinkLocalUnicast() { // a virtual router has an interface, so link-local is well here
		a = p.usable(n, a)
	}
	// Networks of two addresses use both (RFC 3021, RFC 6164).
	wide := a.IsValid() && px.Bits() < a.BitLen()-1
	switch {
	case !a.IsValid():
	case a.IsLoopback():
		p.errorf(n, "%s is a loopback address: no client can reach it", s)
	case wide && a.Is6() && a == px.Masked().Addr():
		p.errorf(n, "%s is the anycast address of the network's routers (RFC 4291 section 2.6.1)", s)
	case wide && a == px.Masked().Addr():
		p.errorf(n, "%s is the network's own address", s)
	case wide && a.Is4() && a == broadcast(px):
		p.errorf(n, "%s is the network's broadcast address", s)
	default:
		return px
	}
	return netip.Prefix{}
}

// broadcast returns the last address of an IPv4 network.
func broadcast(px netip.Prefix) netip.Addr {
	b := px.Addr().As4()
	for i := px.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
