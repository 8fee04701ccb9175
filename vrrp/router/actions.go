package router

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// errNoSocket is what a Master sends with when its socket could not be opened
// again.
var errNoSocket = errors.New("no socket")

// act carries out one action of the state machine.
func (m *member) act(now time.Time, a vrrp.Action) {
	m.dirty = true
	switch a := a.(type) {
	case vrrp.SendAdvert:
		m.send(a.Advert)
	case vrrp.AcquireAddrs:
		m.filter(now) // first, so that nothing slips through
		m.acquire(now, a.Addresses)
		m.route(now)
		if m.in.VMAC != nil {
			m.lookAgain(now, nil)
		}
	case vrrp.ReleaseAddrs:
		leaving := !m.serves()
		if leaving {
			m.unroute(now, routingOf(m.in))
		}
		m.release(now, a.Addresses)
		switch {
		case leaving:
			m.filter(now)
		case m.refused:
			m.accept(a.Addresses)
		}
	case vrrp.Announce:
		m.announce(a.Addresses)
	case vrrp.Transitioned:
		m.state = a.To
		m.counters.Transitions++
		m.runner.report(m, vrrp.Report{Instance: m.in.Name, At: now, Transition: a.Transition})
	}
}

func (m *member) send(a vrrp.Advert) {
	err := errNoSocket
	if m.socket.conn != nil {
		err = m.socket.conn.Send(a)
	}
	m.note("send", err)
	if err != nil {
		m.counters.SendErrors++
		return
	}
	m.counters.AdvertsSent++
}

// acquire puts addresses on the interface. What fails is tried again every
// retryInterval, and announced when it has succeeded: the virtual router stays
// Master, because its advertisements have already made the others give way.
func (m *member) acquire(now time.Time, addrs []netip.Prefix) {
	m.unreleased = without(m.unreleased, addrs)
	m.unacquired = without(m.unacquired, addrs)
	m.losses.seen, m.losses.due = false, time.Time{}
	err := m.holders.acquire(m, m.in.Link(), addrs)
	if err != nil {
		m.unacquired = append(m.unacquired, addrs...)
	}
	m.wrote(now, "acquire", err)
}

// release takes addresses away. What fails is tried again every retryInterval: an
// address on a Backup takes traffic from the Master. That holds without an interface
// of that name too, which may have another name now.
func (m *member) release(now time.Time, addrs []netip.Prefix) {
	m.unacquired = without(m.unacquired, addrs)
	m.unreleased = without(m.unreleased, addrs)
	err := m.holders.release(m, m.in.Link(), addrs)
	if err != nil {
		m.unreleased = append(m.unreleased, addrs...)
	}
	m.wrote(now, "release", err)
}

func (m *member) wrote(now time.Time, op string, err error) {
	m.note(op, err)
	if err != nil {
		m.counters.AddressErrors++
		m.addrError = err.Error()
	}
	if len(m.unacquired)+len(m.unreleased) == 0 {
		m.addrError = ""
		return
	}
	m.wakeBy(now.Add(retryInterval))
}

func (m *member) announce(addrs []netip.Prefix) {
	err := m.opts.Announcer.Announce(m.in.Link(), addrs)
	m.note("announce", err)
	if err != nil {
		m.counters.AnnounceErrors++
		return
	}
	m.counters.Announcements++
}

// without returns the elements of a that are not in b, in their order.
func without[T comparable](a, b []T) []T {
	return withoutFunc(a, b, func(x, y T) bool { return x == y })
}

func withoutFunc[T any](a, b []T, equal func(x, y T) bool) []T {
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool {
		return slices.ContainsFunc(b, func(y T) bool { return equal(x, y) })
	})
}
