package conf

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// address reads an IP address without port and prefix length.
func (p *parser) address(n *node) netip.Addr {
	return p.addressThat(n, p.usable)
}

// addressOnLink is address where the interface is known, so that link-local ones are
// well.
func (p *parser) addressOnLink(n *node) netip.Addr {
	return p.addressThat(n, func(n *node, a netip.Addr) netip.Addr {
		switch {
		case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
			return a
		case a.Is6() && a.IsLinkLocalUnicast():
			p.errorf(n, "%q has a zone: the interface is known, so write %q", a, a.WithZone(""))
			return netip.Addr{}
		}
		return p.usable(n, a)
	})
}

func (p *parser) addressThat(n *node, usable func(*node, netip.Addr) netip.Addr) netip.Addr {
	const want = `an IP address, such as "10.0.0.11"`
	s, ok := read[string](p, n, want)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err == nil {
		return usable(n, a)
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		p.errorf(n, "%q has a port: want the address alone, %q", s, ap.Addr())
	} else if px, err := netip.ParsePrefix(s); err == nil {
		p.errorf(n, "%q has a prefix length: want the address alone, %q", s, px.Addr())
	} else {
		p.errorf(n, "%q is not an IP address%s", shorten(s), looksLikeHost(s))
	}
	return netip.Addr{}
}

// looksLikeHost explains why a host name is refused.
func looksLikeHost(s string) string {
	host, _, _ := strings.Cut(s, ":")
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) ||
		!strings.ContainsFunc(host, unicode.IsLetter) {
		return ""
	}
	return ": host names are not looked up"
}

// usable refuses the addresses that no machine of the cluster can have.
func (p *parser) usable(n *node, a netip.Addr) netip.Addr {
	switch {
	case a.Is4In6():
		p.errorf(n, "%s is an IPv4 address in IPv6 form: write %q", a, a.Unmap())
	case a.Zone() != "":
		p.errorf(n, "%s has a zone: link-local addresses have no place here", a)
	case a.IsUnspecified():
		p.errorf(n, "%s is no machine's address", a)
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		p.errorf(n, "%s is not a unicast address", a)
	case a.IsLinkLocalUnicast() && a.Is6():
		p.errorf(n, "%s is link-local: without an interface it leads nowhere", a)
	default:
		return a
	}
	return netip.Addr{}
}

// addressPort reads ADDRESS:PORT.
func (p *parser) addressPort(n *node) netip.AddrPort {
	s, ok := read[string](p, n, `ADDRESS:PORT, such as "10.0.0.100:80"`)
	if !ok {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(s)
	if err == nil {
		if a := p.usable(n, ap.Addr()); a.IsValid() {
			return netip.AddrPortFrom(a, ap.Port())
		}
		return netip.AddrPort{}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		p.errorf(n, "%q has no port: want ADDRESS:PORT, such as %q", s, netip.AddrPortFrom(a, 80))
	} else if fault := addressPortFault(s); fault != "" {
		p.errorf(n, "%q is not ADDRESS:PORT: %s", shorten(s), fault)
	} else {
		p.errorf(n, "%q is not ADDRESS:PORT, such as \"10.0.0.100:80\" or \"[2001:db8::1]:80\"%s", shorten(s), looksLikeHost(s))
	}
	return netip.AddrPort{}
}

// addressPortFault says what is wrong with a text that nearly is ADDRESS:PORT; empty if
// that is not clear.
func addressPortFault(s string) string {
	if _, err := netip.ParsePrefix(s); err == nil {
		return "it has a prefix length in the place of a port"
	} else if host, port, ok := cutLast(s, ":"); ok {
		px, noPrefix := netip.ParsePrefix(strings.Trim(host, "[]"))
		a, noAddress := netip.ParseAddr(strings.Trim(host, "[]"))
		number, noNumber := strconv.Atoi(port)
		first, _, list := strings.Cut(port, ",")
		switch {
		case noPrefix == nil:
			return "it has a prefix length, write " + strconv.Quote(px.Addr().String()) + " and the port"
		case noAddress != nil && noNumber == nil && leadingZero(host):
			return "a number with a leading zero could be octal, write it without"
		case noAddress != nil:
		case noNumber == nil && (number < 0 || number > 65535):
			return "a port is at most 65535"
		case list:
			return "several are an array, such as [" + strconv.Quote(net.JoinHostPort(a.String(), first)) + ", …]"
		case noNumber != nil && port != "" && !strings.ContainsFunc(port, func(r rune) bool { return !unicode.IsLetter(r) && r != '-' }):
			return "want the port's number, names of services are not looked up"
		}
	}
	return ""
}

func leadingZero(ip string) bool {
	return slices.ContainsFunc(strings.Split(ip, "."), func(part string) bool { return len(part) > 1 && part[0] == '0' })
}
