package director

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// OverrideStatus is an operator's change of a real server.
type OverrideStatus struct {
	Override
	// SafeToStop says that the real server takes no new connections, and none is left,
	// nor a client who would come back to it: by the kernel's table as last read. Only the
	// Master can tell.
	SafeToStop bool `json:"safe_to_stop"`
	// CountedOn are the directors that are Master of the virtual server's addresses, as far
	// as they are known: their kernels count the connections. Another one only has those
	// that it has been told of.
	CountedOn []string `json:"counted_on"`
}

// counted tells where a virtual server's connections are counted.
type counted struct {
	on []string
	// here says that this director is the only one.
	here bool
}

// countedOn asks the virtual routers who is Master of a virtual server's addresses. Without
// any, they come here.
func (d *Director) countedOn(p *published, vs *conf.VirtualServer) counted {
	c := counted{on: []string{}, here: true}
	for _, vr := range p.force.cfg.VirtualRouters {
		if !carries(vr, vs.VIPs()) {
			continue
		}
		name := d.o.Self
		if p.facts().VRRP[vr.Name] != vrrp.Master {
			c.here = false
			addr := d.o.VRRP.Snapshots()[vr.Name].MasterAddr
			if !addr.IsValid() {
				continue
			}
			name = directorName(p.force.cfg, p.senders, addr)
		}
		if !slices.Contains(c.on, name) {
			c.on = append(c.on, name)
		}
	}
	if c.here {
		c.on = []string{d.o.Self}
	}
	return c
}

// carries tells whether a virtual router has one of the addresses.
func carries(vr conf.VirtualRouter, addrs []netip.Addr) bool {
	return slices.ContainsFunc(slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses), func(p netip.Prefix) bool {
		return slices.Contains(addrs, p.Addr())
	})
}

// overrideStatus adds what an operator wants of a real server, or else its checks want.
func (p *published) overrideStatus(r *RealStatus, vs *conf.VirtualServer, rs *conf.RealServer, counted func() counted) {
	o, ok := p.facts().Overrides[ServerID{vs.Name, rs.Name}]
	if !ok {
		r.Weight, r.WeightBy = p.facts().weightOf(rs, r.Held)
		r.Weight = p.facts().Pools[vs.Name].Rising[rs.Name].of(r.Weight)
		return
	}
	if now, in := o.apply(*rs); in {
		r.Weight = now.Weight
	}
	c := counted()
	safe := c.here && o.quiet() && p.pass.Read && r.Active == 0 && r.Inactive == 0 && r.Persistent == 0
	for at := range places(vs) {
		if d, in := p.pass.Table()[at.of.Key].Destinations[at.key]; at.rs == rs && in && (d.Weight > 0 || p.pass.Changed[at.of.Key]) {
			safe = false
		}
	}
	r.Override = &OverrideStatus{Override: o, SafeToStop: safe, CountedOn: c.on}
}

// UnnamedStatus is an override of a real server that the configuration does not name.
type UnnamedStatus struct {
	VirtualServer string `json:"virtual_server"`
	RealServer    string `json:"real_server"`
	Override
}

func (p *published) unnamedStatus(now time.Time) []UnnamedStatus {
	list := []UnnamedStatus{}
	_, unnamed := p.overrides.split(p.force.servers, now)
	for _, id := range unnamed.sorted() {
		list = append(list, UnnamedStatus{id.VirtualServer, id.RealServer, unnamed[id]})
	}
	return list
}

// LeavingStatus is a real server that is not in the configuration any more, by the names
// that it had there.
type LeavingStatus struct {
	VirtualServer string    `json:"virtual_server"`
	Service       string    `json:"service"` // "tcp 10.0.0.100:80"
	RealServer    string    `json:"real_server"`
	Address       string    `json:"address"`
	Since         time.Time `json:"since"`
	Until         time.Time `json:"until"`
	Active        uint32    `json:"active_connections"`
	Inactive      uint32    `json:"inactive_connections"`
}

func (p *published) leavingStatus() []LeavingStatus {
	list := []LeavingStatus{}
	for _, id := range p.facts().sortedLeaving() {
		l := p.facts().Leaving[id]
		c := p.pass.Observed[id.service][id.key]
		list = append(list, LeavingStatus{
			VirtualServer: l.Server.VirtualServer, Service: id.service.String(), RealServer: l.Server.RealServer, Address: id.key.String(),
			Since: l.Since, Until: l.Until, Active: c.Active, Inactive: c.Inactive,
		})
	}
	return list
}
