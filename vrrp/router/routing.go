package router

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// lookInterval is how often a Master looks whether its routes, its rules and the packet
// filter are still there. Nobody tells when they go.
const lookInterval = 5 * time.Second

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
		m.filter(now)
	}
}

// route gives a Master its routes and rules, and looks every lookInterval whether they
// are still there.
func (m *member) route(now time.Time) {
	if len(m.in.Routes)+len(m.in.Rules) == 0 {
		return
	}
	err := m.opts.routing().AcquireRouting(m.in.Link(), m.in.Routes, m.in.Rules)
	m.note("acquire routes", err)
	m.lookAgain(now, err)
}

func (m *member) unroute() {
	if len(m.in.Routes)+len(m.in.Rules) > 0 {
		m.note("release routes", m.opts.routing().ReleaseRouting(m.in.Link(), m.in.Routes, m.in.Rules))
	}
}

// filter makes the packet filter agree with Refuse as long as the state is Master.
func (m *member) filter(now time.Time) {
	switch {
	case m.in.Refuse && m.vr.Snapshot().State == vrrp.Master:
		m.refused = true
		err := m.opts.filter().Refuse(m.in.Link(), m.params.Held())
		m.note("refuse packets", err)
		m.lookAgain(now, err)
	case m.refused:
		m.refused = false
		m.accept(m.params.Held())
	}
}

func (m *member) accept(addrs []netip.Prefix) {
	m.note("accept packets", m.opts.filter().Accept(m.in.Link(), addrs))
}

// look puts back routes, rules and a packet filter that somebody else has taken away.
func (m *member) look(now time.Time) {
	if m.state == vrrp.Master {
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
