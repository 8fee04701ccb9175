package director

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// VirtualStatus is one virtual server.
type VirtualStatus struct {
	Name string `json:"name"`
	// Address is its address and port, or its firewall mark; of several addresses or
	// ranges of ports all of them, in one text.
	Address string `json:"address"`
	// Addresses are the same one by one; for a firewall mark, those that get it.
	Addresses []string `json:"addresses"`
	Protocol  string   `json:"protocol"`
	Scheduler string   `json:"scheduler"`
	Services  int      `json:"services"` // in the kernel
	Up        int      `json:"up"`
	Quorum    int      `json:"quorum"`
	// Serves is what takes connections: "real-servers", "backup-servers", "sorry-server" or
	// "empty".
	Serves string `json:"serves"`
	// Panic says that too many real servers fail their checks, and that the last good ones
	// stay in.
	Panic       bool         `json:"panic"`
	SorryActive bool         `json:"sorry_active"`
	RealServers []RealStatus `json:"real_servers"`
}

// RealStatus is one real server of a virtual server.
type RealStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Forward string `json:"forward"`
	// Weight is the configured one, or what its checks or an operator have made of it; 0
	// takes no new connections.
	Weight uint32 `json:"weight"`
	// WeightBy is the check that has made it what it is.
	WeightBy string `json:"weight_by,omitempty"`
	// ConfiguredWeight is the file's.
	ConfiguredWeight uint32          `json:"configured_weight"`
	Override         *OverrideStatus `json:"override,omitempty"`
	// Status is what its checks say together: "up" if all pass, "down" if one fails,
	// "unknown", or "unchecked".
	Status string `json:"status"`
	// Cause is that of the first check that fails, with its name if there are several.
	Cause string    `json:"cause,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Check names the checks, Checks is each of them.
	Check  string        `json:"check,omitempty"`
	Checks []CheckStatus `json:"checks"`
	// Views are the verdicts of other directors, where they have been others than this one's for
	// longer than checks take.
	Views []ViewStatus `json:"views,omitempty"`
	// Backup says that it takes connections below the quorum alone, and Held that it stays in
	// although it is down, for a panic.
	Backup bool `json:"backup,omitempty"`
	Held   bool `json:"held,omitempty"`
	// SlowStart is the part of its weight, in percent, that it has on the way to all of it.
	SlowStart int `json:"slow_start,omitempty"`
	// InPool says that the kernel's table should hold it.
	InPool bool `json:"in_pool"`
	// InTable says that the kernel's table holds it in every service of the virtual
	// server, as last read. The connections are those of all of them.
	InTable     bool   `json:"in_table"`
	Active      uint32 `json:"active_connections"`
	Inactive    uint32 `json:"inactive_connections"`
	Persistent  uint32 `json:"persistent_clients"` // that come back to it
	SorryServer bool   `json:"sorry_server,omitempty"`
}

func (d *Director) virtualStatus(p *published) []VirtualStatus {
	list := make([]VirtualStatus, 0, len(p.force.cfg.VirtualServers))
	probes, facts := d.o.Health.Snapshots(), p.facts()
	for i := range p.force.cfg.VirtualServers {
		vs := &p.force.cfg.VirtualServers[i]
		servers, serves := Pool(vs, facts)
		held, rising := facts.held(vs), facts.Pools[vs.Name].Rising
		pooled := func(rs *conf.RealServer) bool { // asked in the order of the pool
			in := len(servers) > 0 && servers[0].Name == rs.Name
			if in {
				servers = servers[1:]
			}
			return in
		}
		v := VirtualStatus{
			Name: vs.Name, Addresses: []string{}, Protocol: vs.Service.Key.Protocol.String(), Scheduler: vs.Service.Scheduler,
			Quorum: vs.Quorum, SorryActive: serves == poolSorry, Serves: string(serves), Panic: held != nil, RealServers: make([]RealStatus, 0, len(vs.RealServers)+1),
		}
		for range vs.Services() {
			v.Services++
		}
		for _, to := range vs.Ports() {
			v.Addresses = append(v.Addresses, to.String())
		}
		v.Address = strings.Join(v.Addresses, ", ")
		if mark := vs.Service.Key.FWMark; mark != 0 {
			v.Address = fmt.Sprint(mark)
		}
		counted := sync.OnceValue(func() counted { return d.countedOn(p, vs) }) // few have overrides
		for j := range vs.RealServers {
			rs := &vs.RealServers[j]
			r := p.realStatus(vs, rs)
			r.Held = held[rs.Name] && facts.status(rs) == healthcheck.Down
			p.overrideStatus(&r, vs, rs, counted)
			r.checkStatus(rs, facts, probes)
			if facts.status(rs) != healthcheck.Down {
				v.Up++
			}
			r.Views = p.views[ServerID{vs.Name, rs.Name}]
			r.Backup, r.InPool = rs.Backup, pooled(rs)
			r.SlowStart = rising[rs.Name].Step * 100 / slowSteps
			v.RealServers = append(v.RealServers, r)
		}
		if vs.SorryServer != nil {
			r := p.realStatus(vs, vs.SorryServer)
			r.SorryServer, r.Status, r.InPool = true, "unchecked", pooled(vs.SorryServer)
			r.Checks = []CheckStatus{}
			v.RealServers = append(v.RealServers, r)
		}
		list = append(list, v)
	}
	return list
}

// realStatus is the kernel's side of a real server.
func (p *published) realStatus(vs *conf.VirtualServer, rs *conf.RealServer) RealStatus {
	r := RealStatus{Name: rs.Name, Address: rs.Address.String(), Forward: rs.Forward.String(), Weight: rs.Weight, ConfiguredWeight: rs.Weight, InTable: true}
	for service := range vs.Services() {
		dest := vs.Destination(service.Key, rs).Key
		if _, ok := p.pass.Table()[service.Key].Destinations[dest]; !ok {
			r.InTable = false
			continue
		}
		conns := p.pass.Observed[service.Key][dest]
		r.Active, r.Inactive = r.Active+conns.Active, r.Inactive+conns.Inactive
		r.Persistent += conns.Persistent
	}
	return r
}
