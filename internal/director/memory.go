package director

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// Memory is what a virtual server's pool depends on besides what is now. The zero value
// is that of one that has just started. Nobody writes to its maps.
type Memory struct {
	// Lost and AllLost say whether the quorum was lost before, without and with the backups.
	Lost, AllLost bool
	// Held are the real servers, by name, that were good when a panic began, or have been
	// since; nil: there is none.
	Held map[string]bool
	// Rising are the real servers that are on their way to their whole weight.
	Rising map[string]Rise
}

// remember keeps what a virtual server has to remember of what is now. good are the real
// servers that were good until now and may not be any more.
//
// It must be told of each change of the facts before the next one: what a panic holds is
// then the same however many events come at once.
func (f Facts) remember(vs *conf.VirtualServer, good ...string) {
	if vs.QuorumHysteresis == 0 && vs.PanicThreshold == 0 && vs.SlowStart == 0 {
		delete(f.Pools, vs.Name) // there is nothing to remember
		return
	}
	m := f.Pools[vs.Name]
	if !f.panics(vs) {
		m.Held = nil
	} else if m.Held == nil || len(good) > 0 {
		standing, joined := f.standing(vs)
		if m.Held == nil {
			joined = standing
		}
		maps.Copy(joined, m.Held)
		m.Held = joined
		for _, name := range good {
			m.Held[name] = true
		}
	}
	f.Pools[vs.Name] = m // which decides with it
	m.Rising = f.stillRising(vs)
	f.Pools[vs.Name] = m
	if vs.QuorumHysteresis > 0 {
		c := f.compose(vs)
		m.Lost, m.AllLost = c.lost, c.allLost
	}
	if m.Held == nil && len(m.Rising) == 0 && !m.Lost && !m.AllLost {
		delete(f.Pools, vs.Name)
		return
	}
	f.Pools[vs.Name] = m
}

// rememberAll is remember for every virtual server.
func (f Facts) rememberAll(cfg *conf.Config) {
	for i := range cfg.VirtualServers {
		f.remember(&cfg.VirtualServers[i])
	}
}

// standing are the checked real servers of a virtual server that are not down, by name, and
// passing those of them whose checks all pass. What operators want of them does not count: a
// panic is about checks.
func (f Facts) standing(vs *conf.VirtualServer) (standing, passing map[string]bool) {
	standing, passing = make(map[string]bool), make(map[string]bool)
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		if len(rs.Checks) == 0 {
			continue
		}
		status := f.status(rs)
		if status != healthcheck.Down {
			standing[rs.Name] = true
		}
		if status == healthcheck.Up {
			passing[rs.Name] = true
		}
	}
	return standing, passing
}

// panics tells whether too few checked real servers pass to believe the checks. A panic
// begins with verdicts alone, not with what is assumed until there are some; but it goes on
// until enough pass, also after a reload that has exchanged the checks, and after a restart.
func (f Facts) panics(vs *conf.VirtualServer) bool {
	if vs.PanicThreshold == 0 {
		return false
	}
	goesOn := f.Pools[vs.Name].Held != nil
	left, checked := 0, 0
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		if len(rs.Checks) == 0 {
			continue
		}
		checked++
		if f.status(rs) == healthcheck.Up || !goesOn && !f.fails(rs) {
			left++
		}
	}
	return left*100_00 < vs.PanicThreshold*checked
}

// held are the real servers, by name, that a panic keeps in although they are down; nil:
// there is none. Where none of those is left that were good before, all are.
func (f Facts) held(vs *conf.VirtualServer) map[string]bool {
	if !f.panics(vs) {
		return nil
	}
	was := f.Pools[vs.Name].Held
	standing, _ := f.standing(vs)
	some := len(standing) > 0
	all := make(map[string]bool)
	for _, rs := range vs.RealServers {
		if len(rs.Checks) > 0 {
			all[rs.Name] = true
			some = some || was[rs.Name]
		}
	}
	if some {
		return was
	}
	return all
}

// carriedPools is what virtual servers still remember with another configuration. Theirs and
// their real servers' names may be others.
func carriedPools(before, after *conf.Config, pools map[string]Memory) map[string]Memory {
	kept := make(map[string]Memory, len(pools))
	if len(pools) == 0 {
		return kept
	}
	old := predecessors(before, after)
	for i := range after.VirtualServers {
		vs := &after.VirtualServers[i]
		if old[vs] == nil {
			continue
		}
		if was, ok := pools[old[vs].Name]; ok {
			kept[vs.Name] = was.carried(old[vs], vs)
		}
	}
	return kept
}

// predecessors are what the virtual servers of a configuration were in the one before: those
// that have one of their services, else their name.
func predecessors(before, after *conf.Config) map[*conf.VirtualServer]*conf.VirtualServer {
	was := make(map[*conf.VirtualServer]*conf.VirtualServer, len(after.VirtualServers))
	byName, byService := make(map[string]*conf.VirtualServer), make(map[ipvs.ServiceKey]*conf.VirtualServer)
	for i := range before.VirtualServers {
		vs := &before.VirtualServers[i]
		byName[vs.Name] = vs
		for service := range vs.Services() {
			byService[service.Key] = vs
		}
	}
	for i := range after.VirtualServers {
		vs := &after.VirtualServers[i]
		old := byName[vs.Name]
		for service := range vs.Services() {
			if same, ok := byService[service.Key]; ok {
				old = same
				break
			}
		}
		if old != nil {
			was[vs] = old
		}
	}
	return was
}

// carried is what a virtual server remembers that was another one before.
func (m Memory) carried(before, after *conf.VirtualServer) Memory {
	names := make(map[netip.AddrPort]string, len(before.RealServers))
	for _, rs := range before.RealServers {
		names[rs.Address] = rs.Name
	}
	kept := Memory{Lost: m.Lost, AllLost: m.AllLost, Rising: make(map[string]Rise)}
	if m.Held != nil {
		kept.Held = make(map[string]bool)
	}
	for _, rs := range after.RealServers {
		name, was := names[rs.Address]
		if was && m.Held[name] {
			kept.Held[rs.Name] = true
		}
		if r, rises := m.Rising[name]; was && rises && after.SlowStart > 0 {
			kept.Rising[rs.Name] = r
		}
	}
	return kept
}

// slowSteps is in how many steps a real server gets its whole weight.
const slowSteps = 10

// Rise is a real server's way to its whole weight.
type Rise struct {
	Since time.Time
	For   time.Duration
	Step  int // of slowSteps, from 1 on; 0: it is not on its way
}

// of is what a weight is on the way: its part, rounded up, so that only 0 is nothing.
func (r Rise) of(weight uint32) uint32 {
	if r.Step == 0 {
		return weight
	}
	return uint32((uint64(weight)*uint64(r.Step) + slowSteps - 1) / slowSteps)
}

// next is when the next step is due. The first is taken at once, and the last is the end.
func (r Rise) next() time.Time { return r.Since.Add(r.For * time.Duration(r.Step) / (slowSteps - 1)) }

// rise lets a real server begin with a part of its weight.
func (f Facts) rise(vs *conf.VirtualServer, name string, at time.Time) {
	m := f.Pools[vs.Name]
	m.Rising = maps.Clone(m.Rising)
	if m.Rising == nil {
		m.Rising = make(map[string]Rise)
	}
	m.Rising[name] = Rise{Since: at, For: vs.SlowStart, Step: 1}
	f.Pools[vs.Name] = m
}

// stillRising are those of the real servers on their way to their whole weight that are in.
func (f Facts) stillRising(vs *conf.VirtualServer) map[string]Rise {
	was := f.Pools[vs.Name].Rising
	if len(was) == 0 {
		return nil
	}
	held := f.held(vs)
	is := make(map[string]Rise, len(was))
	for i := range vs.RealServers {
		rs := &vs.RealServers[i]
		if r, rises := was[rs.Name]; rises && (f.status(rs) != healthcheck.Down || held[rs.Name]) {
			is[rs.Name] = r
		}
	}
	if len(is) == 0 {
		return nil
	}
	return is
}

// risen takes the steps that are due, and returns the names of the virtual servers that
// they are about.
func (f Facts) risen(now time.Time) []string {
	var names []string
	for vs, m := range f.Pools {
		rising := make(map[string]Rise)
		due := false
		for name, r := range m.Rising {
			for r.Step < slowSteps && !now.Before(r.next()) {
				r.Step, due = r.Step+1, true
			}
			if r.Step < slowSteps {
				rising[name] = r
			}
		}
		if due {
			m.Rising = rising
			f.Pools[vs] = m
			names = append(names, vs)
		}
	}
	return names
}

// nextRise is when the next step of any real server is due; zero: never.
func (f Facts) nextRise() time.Time {
	var next time.Time
	for _, m := range f.Pools {
		for _, r := range m.Rising {
			if t := r.next(); next.IsZero() || t.Before(next) {
				next = t
			}
		}
	}
	return next
}

// rise brings the steps that are due to the kernel.
func (d *Director) rise(now time.Time) {
	names := d.facts.risen(now)
	if len(names) == 0 {
		return
	}
	touched := make(map[*conf.VirtualServer]bool)
	for i := range d.force.cfg.VirtualServers {
		if vs := &d.force.cfg.VirtualServers[i]; slices.Contains(names, vs.Name) {
			touched[vs] = true
			d.facts.remember(vs)
		}
	}
	d.give(d.desired.recompile(touched, d.facts))
}
