package router

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// lookInterval is how often a Master looks whether its routes, its rules, the packet
// filter and a link of its own are still as they should be. Nobody tells when they are
// not.
const lookInterval = 5 * time.Second

// routing is routes and rules.
type routing struct {
	routes []vrrp.Route
	rules  []vrrp.Rule
}

// without returns what is not in other.
func (r routing) without(other routing) routing {
	return routing{withoutFunc(r.routes, other.routes, vrrp.Route.Equal), without(r.rules, other.rules)}
}

func (r routing) empty() bool { return len(r.routes)+len(r.rules) == 0 }

func routingOf(in vrrp.Instance) routing { return routing{in.Routes, in.Rules} }

// routingChanged gives a Master that has other routes or rules than before the new
// ones, and takes away those that are gone. They go also when it is Master no more:
// what it had until then was not among its settings when it left.
func (m *member) routingChanged(now time.Time, old vrrp.Instance) {
	if m.state == vrrp.Master {
		if !sameRouting(old, m.in) {
			m.route(now)
		}
		if old.Refuse != m.in.Refuse {
			m.filter(now)
		}
	}
	m.unroute(now, routingOf(old).without(routingOf(m.in)))
}

// route gives a Master its routes and rules, and looks every lookInterval whether they
// are still there.
func (m *member) route(now time.Time) {
	if len(m.in.Routes)+len(m.in.Rules) == 0 {
		return
	}
	m.unrouted = m.unrouted.without(routingOf(m.in))
	err := m.opts.routing().AcquireRouting(m.in.Link(), m.in.Routes, m.in.Rules)
	m.note("acquire routes", err)
	m.lookAgain(now, err)
}

// unroute takes routes and rules away. What fails is tried again every retryInterval:
// a route on a Backup leads the machine's own traffic astray.
func (m *member) unroute(now time.Time, r routing) {
	if r.empty() {
		return
	}
	m.unrouted = m.unrouted.without(r)
	err := m.opts.routing().ReleaseRouting(m.in.Link(), r.routes, r.rules)
	m.note("release routes", err)
	if err != nil {
		m.unrouted.routes = append(m.unrouted.routes, r.routes...)
		m.unrouted.rules = append(m.unrouted.rules, r.rules...)
		m.wakeBy(now.Add(retryInterval))
	}
}

// filter makes the packet filter agree with Refuse as long as the addresses may be there.
func (m *member) filter(now time.Time) {
	switch {
	case m.in.Refuse && m.serves():
		m.refused = true
		err := m.opts.filter().Refuse(m.in.Link(), m.params.Held())
		m.note("refuse packets", err)
		m.lookAgain(now, err)
	case m.refused:
		m.refused = false
		m.accept(m.params.Held())
	}
}

// serves tells whether the addresses may be there: those of a Master, or those that a
// predecessor left.
func (m *member) serves() bool {
	snap := m.vr.Snapshot()
	return snap.State == vrrp.Master || snap.Leftovers
}

func (m *member) accept(addrs []netip.Prefix) {
	m.note("accept packets", m.opts.filter().Accept(m.in.Link(), addrs))
}

// look puts back routes, rules and a packet filter that somebody else has taken away,
// and mends a link of its own that somebody has changed.
func (m *member) look(now time.Time) {
	if m.state == vrrp.Master {
		m.mendDevice(now)
		m.filter(now)
		m.route(now)
	}
}

func (m *member) lookAgain(now time.Time, err error) {
	if err != nil {
		m.wakeBy(now.Add(retryInterval))
	} else {
		m.wakeBy(now.Add(lookInterval))
	}
}

// sameRouting tells whether two instances have the same routes and rules.
func sameRouting(a, b vrrp.Instance) bool {
	return slices.EqualFunc(a.Routes, b.Routes, vrrp.Route.Equal) && slices.Equal(a.Rules, b.Rules)
}
