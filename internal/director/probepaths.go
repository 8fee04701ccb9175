package director

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// probeScheduler is that of services with one real server: the simplest.
const probeScheduler = "rr"

// probeService is the service of a mark.
func probeService(mark uint32, six bool) ipvs.Service {
	s := ipvs.Service{Key: ipvs.FWMarkKey(mark, six), Scheduler: probeScheduler}
	s.Flags |= ipvs.FlagOnePacket // nothing is kept of datagrams
	return s
}

// probeEnd is a real server that is asked through its virtual address, as the kernel's table
// has it for that.
type probeEnd struct {
	service ipvs.Service
	dest    ipvs.Destination
	rs      *conf.RealServer
	vs      *conf.VirtualServer
}

// probeEnds yields the services that probes need. Virtual servers may share them. They
// are no part of a pool: what becomes of that leaves them alone.
func probeEnds(cfg *conf.Config) iter.Seq[probeEnd] {
	return func(yield func(probeEnd) bool) {
		for i := range cfg.VirtualServers {
			vs := &cfg.VirtualServers[i]
			for j := range vs.RealServers {
				rs := &vs.RealServers[j]
				for _, path := range rs.Paths {
					s := probeService(path.Mark, path.VIP.Is6())
					d := vs.Destination(s.Key, rs)
					d.Key, d.Weight = netip.AddrPortFrom(rs.Address.Addr(), 0), 1
					d.UpperThreshold, d.LowerThreshold = 0, 0
					if !yield(probeEnd{s, d, rs, vs}) {
						return
					}
					break // all have the same
				}
			}
		}
	}
}

// addProbes adds the services that probes need to the table.
func (d *Desired) addProbes(cfg *conf.Config) {
	keys := make(map[ipvs.ServiceKey]bool)
	for p := range probeEnds(cfg) {
		keys[p.service.Key] = true
		d.Table[p.service.Key] = ipvs.Entry{Service: p.service, Destinations: map[ipvs.DestinationKey]ipvs.Destination{p.dest.Key: p.dest}}
	}
	d.Probes = slices.SortedFunc(maps.Keys(keys), ipvs.ServiceKey.Compare)
}

// movingVIPs are the addresses that the virtual routers bring to director self, and take away
// again: not those that it owns.
func movingVIPs(cfg *conf.Config, self string) map[netip.Addr]bool {
	vips := make(map[netip.Addr]bool)
	for _, vr := range cfg.VirtualRouters {
		if vr.Priority[self] == vrrp.PriorityOwner {
			continue
		}
		for _, p := range slices.Concat(vr.VirtualAddresses, vr.ExcludedAddresses) {
			vips[p.Addr()] = true
		}
	}
	return vips
}

const acceptLocal = ".accept_local"

// probeNeeds are the kernel parameters that probes through virtual addresses ask for. A Master
// has the address that the answers come from, and takes them for forged ones otherwise. IPv6
// has no such rule.
func probeNeeds(cfg *conf.Config) (needs []Need) {
	servers := make(map[netip.Addr]bool)
	var names []string
	for p := range probeEnds(cfg) {
		if a := p.rs.Address.Addr(); a.Is4() {
			servers[a] = true
			if !slices.Contains(names, p.vs.Name) {
				names = append(names, p.vs.Name)
			}
		}
	}
	if len(servers) == 0 {
		return nil
	}
	n := need("net.ipv4.conf.*"+acceptLocal, "1", whose("checks through the address", names)+": the answers come from an address that the Master has too")
	n.On, n.OrAll = slices.SortedFunc(maps.Keys(servers), netip.Addr.Compare), true
	return []Need{n}
}

// openPaths tells for which marks the kernel is as probes need it, when that may have
// changed.
func (r *reconciler) openPaths() {
	if !r.pathsDue || r.paths == nil {
		return
	}
	r.pathsDue = false
	open := make(map[uint32]bool)
	answers := r.takesAnswers()
	for _, key := range r.want.Probes {
		e, there := r.known[key]
		if there && !r.doubt[key] && e.Equal(r.want.Table[key]) && (key.IPv6 || answers) {
			open[key.FWMark] = true
		}
	}
	if r.opened == nil || !maps.Equal(open, r.opened) {
		r.opened = open
		r.paths.Open(open)
	}
}

// takesAnswers tells whether the kernel takes answers from a virtual address, wherever that
// is.
func (r *reconciler) takesAnswers() bool {
	return r.parametersKnown && !slices.ContainsFunc(r.parametersAre, func(s ipvs.ParameterState) bool {
		return strings.HasSuffix(s.Name, acceptLocal) && !s.OK()
	})
}
