package conf

import (
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

// The forms of the checksum by their names in the file.
const (
	checksumPseudo = "pseudo-header"
	checksumPlain  = "rfc9568"
)

// transport reads how advertisements travel: the checksum, unicast and its TTLs, and
// the addresses that they come from.
func (p *parser) transport(t *node, vr *VirtualRouter, ds []Director) {
	vr.Checksum = p.checksum(t.kid("checksum"), *vr)
	vr.Unicast = p.boolean(t.kid("unicast"), false)
	vr.UnicastTTL = int(p.integer(t.kid("unicast_ttl"), defaultTTL, 1, 255))
	vr.UnicastMinTTL = int(p.integer(t.kid("unicast_min_ttl"), defaultTTL, 1, 255))
	vr.Source = p.sources(t.kid("source"), ds)
	switch {
	case !vr.Unicast:
		for _, key := range []string{"unicast_ttl", "unicast_min_ttl"} {
			if n := t.kid(key); n != nil && n.value != int64(defaultTTL) {
				p.warnf(n, "has no effect without unicast = true: multicast is sent and taken with 255")
			}
		}
		vr.UnicastTTL, vr.UnicastMinTTL = defaultTTL, defaultTTL
	case vr.UnicastMinTTL > vr.UnicastTTL && t.kid("unicast_min_ttl") == nil:
		p.errorf(t.kid("unicast_ttl"), "%d is less than unicast_min_ttl, which is %d unless it is given: the directors would discard each other's advertisements",
			vr.UnicastTTL, vr.UnicastMinTTL)
	case vr.UnicastMinTTL > vr.UnicastTTL:
		p.errorf(t.kid("unicast_min_ttl"), "%d is more than unicast_ttl, %d: the directors would discard each other's advertisements",
			vr.UnicastMinTTL, vr.UnicastTTL)
	}
}

func (p *parser) checksum(n *node, vr VirtualRouter) vrrp.ChecksumForm {
	if n == nil {
		return vrrp.ChecksumPseudoHeader
	}
	form := p.choice(n, "a form of the checksum", checksumPseudo, []string{checksumPseudo, checksumPlain},
		map[string]string{"pseudo": checksumPseudo, "plain": checksumPlain})
	switch {
	case vr.Version == vrrp.Version2:
		p.keyErrorf(n, "is for version 3: version 2 has one form only")
	case len(vr.VirtualAddresses) > 0 && vr.family() == vrrp.IPv6:
		p.keyErrorf(n, "is for IPv4: over IPv6 there is one form only")
	case form == checksumPlain:
		return vrrp.ChecksumPlain
	}
	return vrrp.ChecksumPseudoHeader
}

// checksumName is the inverse of checksum.
func checksumName(form vrrp.ChecksumForm) string {
	if form == vrrp.ChecksumPlain {
		return checksumPlain
	}
	return checksumPseudo
}

// sourceContradictions looks at the addresses that advertisements come from beside
// the rest of the file.
func (p *parser) sourceContradictions(t *node, vr VirtualRouter, c *Config, vips map[netip.Addr]string) {
	senders := map[netip.Addr]string{}
	for _, d := range c.Directors {
		n := t.at("source", d.Name)
		a, given := vr.Source[d.Name]
		other, taken := senders[vr.sender(d)]
		if vr.sender(d).IsValid() {
			senders[vr.sender(d)] = d.Name
		}
		switch {
		case taken && len(vr.Source) > 0:
			p.errorf(n, "%s would send from %s, and so would %s: peers are told apart by their addresses", d.Name, vr.sender(d), other)
		case !given:
		case len(vr.VirtualAddresses) > 0 && vrrp.FamilyOf(a) != vr.family():
			p.errorf(n, "%s is %s, the virtual addresses are %s", a, family(a), family(vr.VirtualAddresses[0].Addr()))
		case vips[a] != "" && !(vr.Holds(a) && vr.Priority[d.Name] == vrrp.PriorityOwner): // an owner keeps its addresses
			p.errorf(n, "%s is a virtual address of %s: it moves, and the address to send from must not", a, vips[a])
		case !vr.Unicast && a.Is6() && !a.IsLinkLocalUnicast():
			p.warnf(n, "%s is not link-local, as the source of IPv6 multicast has to be (RFC 9568 section 5.1.2.1)", a)
		}
	}
}

// unicastContradictions looks for a way to the other directors.
func (p *parser) unicastContradictions(t *node, vr VirtualRouter, c *Config) {
	if ds := p.root.kid("director"); ds == nil || len(ds.kids) < 2 {
		p.errorf(t.at("unicast"), "there is no second director to send to")
		return
	}
	for _, d := range c.Directors {
		if _, given := vr.Source[d.Name]; given || len(vr.VirtualAddresses) == 0 || !d.Address.IsValid() {
			continue
		}
		if vrrp.FamilyOf(d.Address) != vr.family() {
			p.errorf(t.at("unicast"), "the address of %s is %s, the virtual addresses are %s", d.Name, family(d.Address), family(vr.VirtualAddresses[0].Addr()))
			return
		}
	}
}
