package router

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// member is one virtual router: its state machine, its sockets and what it has in the
// kernel. The goroutine of its runner owns everything below the line.
type member struct {
	opts    Options
	holders *holders
	id      vrrp.ID
	made    time.Time
	pub     atomic.Pointer[published]

	// ----
	settings
	runner *runner
	number int // in the sync group
	vr     *vrrp.VirtualRouter
	params vrrp.Params // what vr has
	state  vrrp.State  // as last reported by vr
	log    *slog.Logger
	notes  notes
	losses losses

	links  map[string]Link
	linked bool // links have been told at least once
	port   port
	socket socket

	// What could not be written, or was found missing. retryAt is when it is tried
	// again, or looked at again; zero if there is nothing to do.
	unacquired, unreleased []netip.Prefix
	unrouted               routing // what could not be released of it
	refused                bool    // packets to the addresses are
	retryAt                time.Time

	counters  vrrp.Counters
	discarded map[string]uint64 // shared with readers: copied on write
	mismatch  string
	unguarded string
	addrError string
	dirty     bool // readers have not seen the newest

	// carried are reports that nobody has read yet, on the way from one runner to
	// another.
	carried []vrrp.Report
}

func newMember(o Options, h *holders, cfg settings) *member {
	m := &member{
		opts: o, holders: h, id: cfg.in.ID, made: time.Now(), settings: cfg,
		vr: vrrp.NewVirtualRouter(cfg.in.ID.VRID, cfg.in.Params), params: cfg.in.Params,
	}
	m.setLogger()
	m.publish()
	return m
}

func (m *member) setLogger() {
	m.log = m.opts.Logger.With("virtual_router", m.in.Name, "interface", m.id.Interface,
		"vrid", uint8(m.id.VRID), "family", m.id.Family.String())
}

// told takes in settings that differ from the old ones.
func (m *member) told(now time.Time, old vrrp.Instance) {
	m.dirty = true
	m.reconcile(now)
	m.routingChanged(now, old)
}

func (m *member) received(rx Received) {
	m.dirty = true
	if err := m.params.Check(rx.From, rx.Advert); err != nil {
		m.discard(err)
		return
	}
	m.counters.AdvertsReceived++
	m.compare(rx)
	m.handle(time.Now(), vrrp.AdvertReceived{From: rx.From, Advert: rx.Advert})
}

// handle gives an event to the sync group.
func (m *member) handle(now time.Time, ev vrrp.Event) { m.runner.handle(now, m.number, ev) }

// reconcile makes the virtual router agree with its settings and its links.
func (m *member) reconcile(now time.Time) {
	if !m.linked {
		return
	}
	m.dirty = true
	if m.state == vrrp.Initialize {
		m.filter(now) // before a link is made, which writes the filter
	}
	params := m.in.Params
	params.Source = m.params.Source // until another is known
	trouble := m.in.Fault
	if t := m.usePort(now); trouble == "" {
		trouble = t
	}
	if trouble == "" && m.awaitsDevice(now) {
		return
	}
	if trouble == "" {
		src, err := source(m.in, m.port.base.Addrs, m.virtual, m.socket.source)
		if err != nil {
			trouble = err.Error()
		} else {
			params.Source = src
		}
	}
	replaced := false
	if trouble == "" {
		var err error
		replaced, err = m.socket.ensure(m, params.Source)
		m.note("open", err)
		if err != nil {
			trouble = err.Error()
			m.wakeBy(now.Add(retryInterval))
		}
	}
	m.params = params
	m.handle(now, vrrp.ParamsChanged{Params: params})
	switch {
	case trouble != "":
		// In this order, so that a Master can still say priority 0.
		m.handle(now, vrrp.Failed{Detail: trouble})
		if m.port.link.Index != m.socket.index {
			m.closeSocket()
		}
	case m.state == vrrp.Initialize:
		// To make a link may have taken time since now.
		m.handle(now, vrrp.Startup{Adopt: m.in.Adopt && !m.tooLate(time.Now())})
	case m.state == vrrp.Fault:
		m.handle(now, vrrp.Recovered{})
	case replaced && m.state == vrrp.Master:
		// The new interface has none of our addresses.
		m.acquire(now, params.Held())
		m.announce(params.Held())
	default:
		m.guardAddrs(now)
	}
}

// tooLate tells whether a virtual router starts so late that whoever hears nothing of it
// has called it down: its link was not known before, or was being made.
func (m *member) tooLate(now time.Time) bool {
	return now.Sub(m.made) >= vrrp.MasterDownInterval(m.in.Version, m.in.Priority, m.in.AdvertInterval)
}

// wakeBy makes sure that retry runs at t at the latest.
func (m *member) wakeBy(t time.Time) {
	if m.retryAt.IsZero() || t.Before(m.retryAt) {
		m.retryAt = t
	}
}

// retry tries again what failed: the sockets, the addresses, the routes, and addresses
// of a Master that somebody else has removed.
func (m *member) retry(now time.Time) {
	m.dirty = true
	m.retryAt = time.Time{}
	if len(m.unreleased) > 0 {
		m.release(now, m.unreleased)
	}
	m.unroute(now, m.unrouted)
	lost := m.lost(now)
	if len(lost) > 0 {
		m.losses.restored(m, now, lost)
	}
	if again := append(lost, m.unacquired...); len(again) > 0 {
		m.acquire(now, again)
		m.announce(again)
	}
	m.look(now)
	m.reconcile(now)
}

// end takes away what a virtual router that has been shut down still has. A release
// that fails is tried again, because an address that stays on a stopped director takes
// traffic from the Master, and a route leads its own astray.
func (m *member) end(now time.Time) {
	for range 2 {
		if len(m.unreleased) > 0 {
			m.release(now, m.unreleased)
		}
		m.unroute(now, m.unrouted)
	}
	m.closeSocket()
	m.deleteDevice()
	m.publish()
}

// measure counts a timer that runs out late.
func (m *member) measure(now time.Time) {
	due, armed := m.vr.Deadline()
	if !armed || now.Before(due) {
		return
	}
	late := now.Sub(due)
	m.counters.MaxLate = max(m.counters.MaxLate, late)
	if late > lateness {
		m.counters.LateTimers++
	}
	m.dirty = true
}
