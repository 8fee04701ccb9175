package conf

import (
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

var directorGrammar = grammar{keys: []string{"address", "priority", "sync_addresses"}}

// directors reads [director.NAME].
func (p *parser) directors(n *node) []Director {
	var ds []Director
	first := map[netip.Addr]Director{}
	for name, t := range p.named(n, directorGrammar, "[director.NAME]") {
		p.table(t, directorGrammar)
		d := Director{
			Name:     name,
			Address:  p.address(p.required(t, "address", `the IP address where the other directors reach it, such as "10.0.0.11"`)),
			Priority: p.priority(t.kid("priority"), defaultPriority),

			SyncAddresses: p.syncAddresses(t.kid("sync_addresses")),
		}
		if other, ok := first[d.Address]; ok {
			p.errorf(t.at("address"), "%s is already the address of %s", d.Address, other.Name)
		} else if d.Address.IsValid() {
			first[d.Address] = d
		}
		if len(ds) > 0 && d.Address.IsValid() && ds[0].Address.IsValid() && d.Address.Is4() != ds[0].Address.Is4() {
			p.errorf(t.at("address"), "%s is %s, but the address of %s is %s: directors reach each other over one family",
				d.Address, family(d.Address), ds[0].Name, family(ds[0].Address))
		}
		ds = append(ds, d)
	}
	p.checkSyncAddresses(n, ds)
	return ds
}

func (p *parser) priority(n *node, def vrrp.Priority) vrrp.Priority {
	v := vrrp.Priority(p.integer(n, int64(def), 1, int64(vrrp.PriorityOwner)))
	if n != nil && v == vrrp.PriorityOwner {
		p.warnf(n, "255 is for the owner of the virtual addresses: it takes them at once, ready or not; want 1 to 254")
	}
	return v
}

func family(a netip.Addr) string { return familyName(a.Is6()) }

func familyName(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}
