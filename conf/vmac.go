package conf

import (
	"fmt"

	"github.com/hadirector/hadirector/vrrp"
)

// vmac reads vmac, which is true, false or the name of the link, and what belongs to it.
func (p *parser) vmac(t *node, vr VirtualRouter) *vrrp.VMAC {
	n, base := t.kid("vmac"), t.kid("vmac_transmit_base")
	m := p.vmacLink(n, vr)
	transmit := p.boolean(base, false)
	if m == nil {
		if transmit && (n == nil || n.value == false) {
			p.warnf(base, "has no effect without vmac")
		}
		return nil
	}
	m.TransmitBase = transmit
	if vr.Unicast && !transmit {
		p.errorf(n, "unicast advertisements come from an address of the interface itself: set vmac_transmit_base = true")
	}
	if m.Link == vr.Interface {
		p.errorf(n, "%s is the interface itself: the virtual MAC address has a link of its own", m.Link)
	}
	return m
}

func (p *parser) vmacLink(n *node, vr VirtualRouter) *vrrp.VMAC {
	const want = "true, false or the link's name"
	if n == nil {
		return nil
	}
	switch v := n.value.(type) {
	case bool:
		if v && vr.VRID != 0 && len(vr.VirtualAddresses) > 0 {
			return &vrrp.VMAC{Link: defaultVMAC(vr)}
		}
	case string:
		if v == "true" || v == "false" {
			p.errorf(n, "%q is no name for a link: write %s without quotes", v, v)
		} else if name := p.interfaceName(n); name != "" {
			return &vrrp.VMAC{Link: name}
		}
	default:
		p.errorf(n, "want %s, found %s", want, describe(v))
	}
	return nil
}

// defaultVMAC is the name that keepalived gives such a link.
func defaultVMAC(vr VirtualRouter) string {
	if vr.family() == vrrp.IPv6 {
		return fmt.Sprintf("vrrp6.%d", vr.VRID)
	}
	return fmt.Sprintf("vrrp.%d", vr.VRID)
}

// vmacContradictions reports links that two virtual routers would make, or that are
// another's interface.
func (p *parser) vmacContradictions(c *Config) {
	links := map[string]string{}
	for _, vr := range c.VirtualRouters {
		if vr.VMAC == nil {
			continue
		}
		n := p.root.at("vrrp", vr.Name, "vmac")
		if other, ok := links[vr.VMAC.Link]; ok {
			p.errorf(n, "the link %s is already that of %s (line %d): give it a name of its own, vmac = \"NAME\"", vr.VMAC.Link, other,
				p.line(p.root.at("vrrp", other, "vmac")))
			continue
		}
		links[vr.VMAC.Link] = vr.Name
	}
	for _, vr := range c.VirtualRouters {
		if owner, ok := links[vr.Interface]; ok && owner != vr.Name {
			p.errorf(p.root.at("vrrp", vr.Name, "interface"), "%s is the link that %s makes with vmac: want the interface below it", vr.Interface, owner)
		}
	}
}
