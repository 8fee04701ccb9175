package director

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// Facts are what the loop has learned so far. The zero value is that of a director
// that has just started.
type Facts struct {
	// VRRP is each virtual router's state, by instance name.
	VRRP map[string]vrrp.State
	// Health is each target's status; a target that is missing is Unknown.
	Health map[healthcheck.Target]healthcheck.Status
	// Values are what targets say beside their status, or have said until they were down;
	// one that is missing says nothing.
	Values map[healthcheck.Target]healthcheck.Value
	// Pools are what virtual servers remember, by name; one that is missing remembers
	// nothing. Nobody writes to what is in it.
	Pools map[string]Memory
	// Assumed are the targets whose status is not their own check's verdict yet.
	Assumed map[healthcheck.Target]bool
	// Tracks is each track's state, by its name; one that is missing has no verdict.
	Tracks map[string]TrackState
	// Programmed says that the kernel was as desired after the last pass.
	Programmed bool
	DataPlane  DataPlane
	// Unmet are the kernel parameters that were not as clients need them after the last
	// pass, in words.
	Unmet []string
	// Unsynced are the connections of other directors that this one waits for, in words.
	Unsynced []string
	// Overrides are what operators want instead of the configuration.
	Overrides Overrides
	// Leaving are the real servers that a reload has removed and the table still has.
	Leaving map[identity]Leaving
}

// Desired is what the kernel should look like.
type Desired struct {
	// Table belongs to the loop; the reconciler has one of its own.
	Table ipvs.Table
	// Marks are the packets that get the firewall marks of services in Table.
	Marks []ipvs.Marking
	// Probes are those services of Table that are for checks alone: see conf.RealServer.Paths.
	Probes []ipvs.ServiceKey
	// Translations are what happens to connections of services in Table beside IPVS.
	Translations []ipvs.Translation
	// Private says that the private interface of the kernel's sync daemons should be there.
	Private bool
	// Daemons are the kernel's sync daemons that should run. An empty Interface
	// stands for the one that holds SyncAddr.
	Daemons  []syncd.Daemon
	SyncAddr netip.Addr
	// Parameters are the kernel parameters that all this asks for.
	Parameters []Need
	// Leaving are those of Table that the configuration does not name.
	Leaving map[identity]Leaving
	// Generation counts the desired states of a run from 1.
	Generation uint64
	// changed are the services that differ from those of the desired state that the
	// reconciler was given before, and entries what they are now, unless they are gone.
	changed map[ipvs.ServiceKey]bool
	entries ipvs.Table
	// look says that the outcome is to be told by a table that was read for it.
	look bool
}

// since returns the services of d that differ from those of an earlier desired state.
func (d Desired) since(earlier Desired) map[ipvs.ServiceKey]bool {
	changed := make(map[ipvs.ServiceKey]bool)
	for key, e := range d.Table {
		if was, there := earlier.Table[key]; !there || !e.Equal(was) {
			changed[key] = true
		}
	}
	for key := range earlier.Table {
		if _, there := d.Table[key]; !there {
			changed[key] = true
		}
	}
	return changed
}

// Compile says what the kernel of director self should look like.
//
// Virtual servers are programmed on every director, whatever its role, so that a
// takeover has only addresses to move and synchronised connections find their real
// servers. A real server without a first verdict is in the table: a start must not
// empty a pool that worked.
func Compile(cfg *conf.Config, self string, f Facts) Desired {
	d := Desired{Table: make(ipvs.Table, len(cfg.VirtualServers))}
	for i := range cfg.VirtualServers {
		vs := &cfg.VirtualServers[i]
		compileServer(d.Table, vs, f)
		d.Marks = append(d.Marks, vs.Marked...)
	}
	addLeaving(d.Table, f.Leaving)
	d.addProbes(cfg)
	d.addTranslations(cfg, self, f.Leaving)
	d.Parameters = Needs(cfg, f.Leaving)
	d.Leaving = maps.Clone(f.Leaving)
	d.compileSync(cfg, self, f)
	return d
}

// compileServer adds a virtual server's services to the table.
func compileServer(t ipvs.Table, vs *conf.VirtualServer, f Facts) {
	pool, _ := Pool(vs, f)
	for service := range vs.Services() {
		e := ipvs.Entry{Service: service, Destinations: make(map[ipvs.DestinationKey]ipvs.Destination, len(pool))}
		for i := range pool {
			dest := vs.Destination(service.Key, &pool[i])
			e.Destinations[dest.Key] = dest
		}
		t[service.Key] = e
	}
}

// recompile is [Compile] after a change of facts that are about these virtual servers
// alone: what it says of all others is as it was. The result goes on with d's table.
func (d Desired) recompile(touched map[*conf.VirtualServer]bool, f Facts) Desired {
	t := make(ipvs.Table)
	for vs := range touched {
		compileServer(t, vs, f)
	}
	leaving := make(map[identity]Leaving)
	for id, l := range f.Leaving {
		if _, ok := t[id.service]; ok {
			leaving[id] = l
		}
	}
	addLeaving(t, leaving)
	next := d
	next.changed = make(map[ipvs.ServiceKey]bool)
	for key, e := range t {
		if !e.Equal(d.Table[key]) {
			next.changed[key] = true
		}
	}
	for key := range next.changed {
		next.Table[key] = t[key]
	}
	return next
}

// roles tells whether this director is Master of any virtual router, and whether it
// stands by for any. Without virtual routers it does both: connections are then
// shared between directors that something else chooses from.
func roles(cfg *conf.Config, states map[string]vrrp.State) (master, backup bool) {
	if len(cfg.VirtualRouters) == 0 {
		return true, true
	}
	for _, vr := range cfg.VirtualRouters {
		if states[vr.Name] == vrrp.Master {
			master = true
		} else {
			backup = true
		}
	}
	return master, backup
}

// Targets returns every check to be made, once for all the virtual servers that
// share it.
func Targets(cfg *conf.Config) map[healthcheck.Target]healthcheck.Spec {
	specs := make(map[string]healthcheck.Spec, len(cfg.Checks))
	for _, s := range cfg.Checks {
		specs[s.Name] = s
	}
	targets := make(map[healthcheck.Target]healthcheck.Spec)
	for _, vs := range cfg.VirtualServers {
		for i := range vs.RealServers {
			for t := range targetsOf(&vs.RealServers[i]) {
				targets[t] = specs[t.Check]
			}
		}
	}
	return targets
}

// Instances returns the virtual routers of director self.
func Instances(cfg *conf.Config, self string, ready bool) map[string]vrrp.Instance {
	instances := make(map[string]vrrp.Instance, len(cfg.VirtualRouters))
	for _, in := range cfg.Instances(self, ready) {
		instances[in.Name] = in
	}
	return instances
}

// NotReady returns, in words for the operator, what this director still lacks to be
// as good a Master as its peer. A director that is not ready does not preempt; it
// does take over when there is no Master. waiting is how many checks have no verdict of
// their own yet.
func NotReady(waiting int, f Facts) []string {
	var why []string
	if !f.Programmed {
		why = append(why, "ipvs table is not as configured")
	}
	why = append(why, f.Unmet...)
	why = append(why, f.Unsynced...)
	switch {
	case waiting == 1:
		why = append(why, "1 check has no verdict yet")
	case waiting > 1:
		why = append(why, fmt.Sprintf("%d checks have no verdict yet", waiting))
	}
	return why
}
