package director

import (
	"time"

	"github.com/hadirector/hadirector/conf"
)

// OverrideStatus is an operator's change of a real server.
type OverrideStatus struct {
	Override
	// SafeToStop says that the real server takes no new connections, and none is left,
	// nor a client who would come back to it: by the kernel's table as last read.
	SafeToStop bool `json:"safe_to_stop"`
}

// overrideStatus adds what an operator wants of a real server.
func (p *published) overrideStatus(r *RealStatus, vs *conf.VirtualServer, rs *conf.RealServer) {
	o, ok := p.facts.Overrides[ServerID{vs.Name, rs.Name}]
	if !ok {
		return
	}
	if now, in := o.apply(*rs); in {
		r.Weight = now.Weight
	}
	safe := o.quiet() && p.pass.Read && r.Active == 0 && r.Inactive == 0 && r.Persistent == 0
	for at := range places(vs) {
		if d, in := p.pass.Table[at.of.Key].Destinations[at.key]; at.rs == rs && in && d.Weight > 0 {
			safe = false
		}
	}
	r.Override = &OverrideStatus{Override: o, SafeToStop: safe}
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
	for _, id := range p.facts.sortedLeaving() {
		l := p.facts.Leaving[id]
		c := p.pass.Observed[id.service][id.key]
		list = append(list, LeavingStatus{
			VirtualServer: l.Server.VirtualServer, Service: id.service.String(), RealServer: l.Server.RealServer, Address: id.key.String(),
			Since: l.Since, Until: l.Until, Active: c.Active, Inactive: c.Inactive,
		})
	}
	return list
}
