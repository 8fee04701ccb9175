package router

import (
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// routingChanged gives a Master that has other routes or rules than before the new
// ones, and takes away those that are gone.
func (m *member) routingChanged(now time.Time, old vrrp.Instance) {
	if m.state != vrrp.Master {
		return
	}
	routes := withoutFunc(old.Routes, m.in.Routes, vrrp.Route.Equal)
	rules := without(old.Rules, m.in.Rules)
	if len(routes)+len(rules) > 0 {
		m.note("release routes", m.opts.routing().ReleaseRouting(m.in.Link(), routes, rules))
	}
	if !sameRouting(old, m.in) {
		m.route(now)
	}
	if old.Refuse != m.in.Refuse {
		m.filter()
	}
}

// route gives a Master its routes and rules.
func (m *member) route(now time.Time) {
	m.unrouted = false
	if len(m.in.Routes)+len(m.in.Rules) == 0 {
		return
	}
	err := m.opts.routing().AcquireRouting(m.in.Link(), m.in.Routes, m.in.Rules)
	m.note("acquire routes", err)
	if err != nil {
		m.unrouted = true
		m.wakeBy(now.Add(retryInterval))
	}
}

func (m *member) unroute() {
	m.unrouted = false
	if len(m.in.Routes)+len(m.in.Rules) > 0 {
		m.note("release routes", m.opts.routing().ReleaseRouting(m.in.Link(), m.in.Routes, m.in.Rules))
	}
}

// filter makes the packet filter agree with Refuse as long as the state is Master.
func (m *member) filter() {
	switch {
	case m.in.Refuse && m.vr.Snapshot().State == vrrp.Master:
		m.refused = true
		m.note("refuse packets", m.opts.filter().Refuse(m.in.Link(), m.params.Held()))
	case m.refused:
		m.refused = false
		m.note("accept packets", m.opts.filter().Accept(m.in.Link(), m.params.Held()))
	}
}

// sameRouting tells whether two instances have the same routes and rules.
func sameRouting(a, b vrrp.Instance) bool {
	return slices.EqualFunc(a.Routes, b.Routes, vrrp.Route.Equal) && slices.Equal(a.Rules, b.Rules)
}
