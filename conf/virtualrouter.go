package conf

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

var virtualRouterGrammar = grammar{
	keys: []string{"interface", "vrid", "virtual_addresses", "version", "advert_interval", "preempt", "preempt_delay",
		"unicast", "password", "priority"},
	later: []string{"track"},
}

// virtualRouters reads [vrrp.NAME].
func (p *parser) virtualRouters(n *node, ds []Director) []VirtualRouter {
	var vrs []VirtualRouter
	for name, t := range p.named(n, virtualRouterGrammar, "[vrrp.NAME]") {
		p.table(t, virtualRouterGrammar)
		vr := VirtualRouter{
			Name:             name,
			Interface:        p.interfaceName(p.required(t, "interface", `the interface's name, such as "eth0"`)),
			VRID:             vrrp.VRID(p.integer(p.required(t, "vrid", "an integer from 1 to 255"), 0, 1, 255)),
			Version:          p.version(t.kid("version")),
			VirtualAddresses: p.virtualAddresses(p.required(t, "virtual_addresses", `an array such as ["10.0.0.100/24"]`)),
			Preempt:          p.preempt(t.kid("preempt")),
			PreemptDelay:     p.duration(t.kid("preempt_delay"), 0, 0, maxPreemptDelay, time.Nanosecond),
			Unicast:          p.boolean(t.kid("unicast"), false),
			Priority:         p.priorities(t.kid("priority"), ds),
		}
		p.checkFamily(t, vr)
		vr.AdvertInterval = p.advertInterval(t.kid("advert_interval"), vr.Version)
		vr.Auth = p.password(t.kid("password"), vr.Version)
		if vr.Preempt == PreemptNever && vr.PreemptDelay > 0 {
			p.warnf(t.at("preempt_delay"), "has no effect with preempt = false")
		}
		vrs = append(vrs, vr)
	}
	return vrs
}

// checkFamily looks at what the virtual addresses' family asks of the rest.
func (p *parser) checkFamily(t *node, vr VirtualRouter) {
	if len(vr.VirtualAddresses) == 0 || vr.family() != vrrp.IPv6 {
		return
	}
	if vr.Version == vrrp.Version2 {
		p.errorf(t.at("version"), "version 2 knows IPv4 only, and the virtual addresses are IPv6: want 3")
	}
	addresses := t.kid("virtual_addresses")
	if first := vr.VirtualAddresses[0].Addr(); len(vr.VirtualAddresses) == len(addresses.elems) && !first.IsLinkLocalUnicast() {
		p.warnf(addresses.elems[0], "the first IPv6 virtual address should be link-local, such as \"fe80::100/64\" (RFC 9568 section 5.2.9): %s is not", first)
	}
}

// maxInterfaceName is the kernel's IFNAMSIZ without the zero at its end.
const maxInterfaceName = 15

func (p *parser) interfaceName(n *node) string {
	s := p.text(n, `an interface's name, such as "eth0"`, "")
	switch {
	case s == "":
	case len(s) > maxInterfaceName:
		p.errorf(n, "%q is too long: an interface's name has at most %d bytes", shorten(s), maxInterfaceName)
	case s == "." || s == ".." || strings.ContainsAny(s, "/: \t"):
		p.errorf(n, "%q cannot be an interface's name", s)
	default:
		return s
	}
	return ""
}

func (p *parser) version(n *node) vrrp.Version {
	switch v := p.integer(n, defaultVersion, 0, 255); v {
	case 2:
		return vrrp.Version2
	case 3:
	default:
		p.errorf(n, "%d is not a version of VRRP: want 2 or 3", v)
	}
	return vrrp.Version3
}

// advertInterval reads Advertisement_Interval within what the version's packet can
// carry: RFC 9568 section 5.2.7 counts centiseconds in 12 bits, RFC 3768 section
// 5.3.7 whole seconds in 8.
func (p *parser) advertInterval(n *node, v vrrp.Version) time.Duration {
	if v == vrrp.Version2 {
		return p.duration(n, defaultAdvertInterval2, time.Second, 255*time.Second, time.Second)
	}
	return p.duration(n, defaultAdvertInterval, 10*time.Millisecond, 40950*time.Millisecond, 10*time.Millisecond)
}

func (p *parser) preempt(n *node) Preempt {
	const want = `"when-ready", true or false`
	if n == nil {
		return PreemptWhenReady
	}
	switch v := n.value.(type) {
	case bool:
		if v {
			return PreemptAlways
		}
		return PreemptNever
	case string:
		if v == whenReady {
			return PreemptWhenReady
		}
		hint := didYouMean(p.suggest(v, []string{whenReady}))
		if v == "true" || v == "false" {
			hint = ": write " + v + " without quotes"
		}
		p.errorf(n, "%q is none of %s%s", shorten(v), want, hint)
	default:
		p.errorf(n, "want %s, found %s", want, describe(v))
	}
	return PreemptWhenReady
}

// virtualAddresses reads the addresses with the prefix length that they get on the
// interface.
func (p *parser) virtualAddresses(n *node) []netip.Prefix {
	const want = `an array of addresses, such as ["10.0.0.100/24"]`
	if n == nil {
		return nil
	}
	if s, ok := n.value.(string); ok {
		p.errorf(n, "want %s, found %s: write [%q]", want, describe(s), shorten(s))
		return nil
	}
	if _, ok := read[[]any](p, n, want); !ok {
		return nil
	}
	if c := len(n.elems); c == 0 || c > 255 {
		p.errorf(n, "want 1 to 255 addresses, as many as an advertisement carries, found %d", c)
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
		if len(as) > 0 && a.Addr().Is4() != as[0].Addr().Is4() {
			p.errorf(e, "%s is %s, and %s is %s: a virtual router has one family; make two instances, which may have the same vrid",
				a.Addr(), family(a.Addr()), as[0].Addr(), family(as[0].Addr()))
			continue
		}
		as = append(as, a)
	}
	return as
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

// priorities reads the priorities of one instance, and takes those that are not
// there from the directors.
func (p *parser) priorities(n *node, ds []Director) map[string]vrrp.Priority {
	all := make(map[string]vrrp.Priority, len(ds))
	names := make([]string, 0, len(ds))
	for _, d := range ds {
		all[d.Name] = d.Priority
		names = append(names, d.Name)
	}
	if n == nil {
		return all
	}
	if n.array {
		p.keyErrorf(n, "an array of tables has no place here: write %s once", n.path())
		return all
	}
	if _, ok := read[map[string]any](p, n, "a table of directors, such as { "+example(names)+" }; one priority for every instance stands in [director.NAME]"); !ok {
		return all
	}
	for _, k := range n.kids {
		if _, ok := all[k.name]; !ok {
			if p.root.kid("director").kid(k.name) != nil {
				continue // refused where it is defined
			}
			p.keyErrorf(k, "no director is named %q%s", shorten(k.name), didYouMean(p.suggest(k.name, names)))
			continue
		}
		all[k.name] = p.priority(k, all[k.name])
	}
	return all
}

// example writes priorities for at most two directors.
func example(names []string) string {
	switch len(names) {
	case 0:
		return "lb-a = 150, lb-b = 100"
	case 1:
		return bareOrQuoted(names[0]) + " = 150"
	}
	return bareOrQuoted(names[0]) + " = 150, " + bareOrQuoted(names[1]) + " = 100"
}
