package conf

import (
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

var virtualRouterGrammar = grammar{
	keys: []string{"interface", "vrid", "virtual_addresses", "excluded_addresses", "version", "checksum", "advert_interval",
		"start_delay", "preempt", "preempt_delay", "priority", "track", "sync_group", "on_split",
		"unicast", "unicast_ttl", "unicast_min_ttl", "source", "password", "hmac",
		"vmac", "vmac_transmit_base", "accept", "announce", "link_up_delay", "link_down_delay",
		"virtual_routes", "virtual_rules"},
}

// virtualRouters reads [vrrp.NAME].
func (p *parser) virtualRouters(n *node, ds []Director) []VirtualRouter {
	var vrs []VirtualRouter
	for name, t := range p.named(n, virtualRouterGrammar, "[vrrp.NAME]") {
		p.table(t, virtualRouterGrammar)
		vr := VirtualRouter{
			Name:              name,
			Interface:         p.interfaceName(p.required(t, "interface", `the interface's name, such as "eth0"`)),
			VRID:              vrrp.VRID(p.integer(p.required(t, "vrid", "an integer from 1 to 255"), 0, 1, 255)),
			Version:           p.version(t.kid("version")),
			VirtualAddresses:  p.virtualAddresses(p.required(t, "virtual_addresses", `an array such as ["10.0.0.100/24"]`)),
			ExcludedAddresses: p.excludedAddresses(t.kid("excluded_addresses")),
			StartDelay:        p.duration(t.kid("start_delay"), 0, 0, maxStartDelay, time.Nanosecond),
			Preempt:           p.preempt(t.kid("preempt")),
			PreemptDelay:      p.duration(t.kid("preempt_delay"), 0, 0, maxPreemptDelay, time.Nanosecond),
			Priority:          p.priorities(t.kid("priority"), ds),
			Track:             p.tracking(t.kid("track")),
			SyncGroup:         p.syncGroup(t.kid("sync_group")),
			OnSplit:           p.onSplit(t.kid("on_split")),
			Accept:            p.boolean(t.kid("accept"), true),
			Announce:          p.announce(t.kid("announce")),
			LinkUpDelay:       p.duration(t.kid("link_up_delay"), 0, 0, maxLinkDelay, time.Nanosecond),
			LinkDownDelay:     p.duration(t.kid("link_down_delay"), 0, 0, maxLinkDelay, time.Nanosecond),
		}
		p.checkFamily(t, vr)
		vr.AdvertInterval = p.advertInterval(t.kid("advert_interval"), vr.Version)
		p.transport(t, &vr, ds)
		vr.Auth = p.password(t.kid("password"), vr.Version)
		vr.HMAC = p.hmac(t.kid("hmac"), vr.AdvertInterval)
		vr.VMAC = p.vmac(t, vr)
		vr.Routes, vr.Rules = p.routing(t, vr)
		p.checkVirtualRouter(t, vr)
		vrs = append(vrs, vr)
	}
	return vrs
}

// checkVirtualRouter looks for contradictions within one virtual router.
func (p *parser) checkVirtualRouter(t *node, vr VirtualRouter) {
	if vr.Preempt == PreemptNever && vr.PreemptDelay > 0 {
		p.warnf(t.at("preempt_delay"), "has no effect with preempt = false")
	}
	if t.kid("hmac") != nil && t.kid("password") != nil {
		p.keyErrorf(t.kid("hmac"), "hmac and password exclude each other")
	}
	// A Backup takes over after three intervals; keepalived wants less than two.
	if down := 2 * vr.AdvertInterval; vr.LinkDownDelay >= down {
		p.warnf(t.at("link_down_delay"), "another director takes over while this one still calls its link usable: want less than two advertisement intervals, %s",
			formatDuration(down))
	}
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
