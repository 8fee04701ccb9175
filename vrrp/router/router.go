package router

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// retryInterval is how long after a failed attempt the sockets are opened again, or
// the addresses written again.
const retryInterval = time.Second

// maxWaiting bounds the received advertisements that go before a timer.
const maxWaiting = 64

// settings are what a virtual router is told from outside.
type settings struct {
	in vrrp.Instance
	// virtual are the virtual addresses of all virtual routers on the interface.
	virtual []netip.Addr
}

// update is a change of settings; taken is closed when it has been carried out.
type update struct {
	settings
	taken chan struct{}
}

// router runs one virtual router. Its goroutine owns everything below the line.
type router struct {
	opts    Options
	holders *holders
	id      vrrp.ID
	updates chan update
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended
	pub     atomic.Pointer[published]

	// ----
	settings
	vr     *vrrp.VirtualRouter
	params vrrp.Params // what vr has
	state  vrrp.State  // as last reported by vr
	log    *slog.Logger
	notes  notes

	inbox  Inbox
	link   Link
	linked bool // link has been told at least once
	socket socket

	// What could not be written, or was found missing. retryAt is when it is tried
	// again; zero if there is nothing to try.
	unacquired, unreleased []netip.Prefix
	retryAt                time.Time

	counters  vrrp.Counters
	discarded map[string]uint64 // shared with readers: copied on write
	mismatch  string
	unguarded string
	addrError string
	pending   []vrrp.Report // not yet taken by the reader
}

// start starts a virtual router.
func start(o Options, h *holders, cfg settings) *router {
	ctx, cancel := context.WithCancel(context.Background())
	id := cfg.in.ID
	r := &router{
		opts: o, holders: h, id: id,
		updates: make(chan update), cancel: cancel, done: make(chan struct{}),
		settings: cfg,
		vr:       vrrp.NewVirtualRouter(id.VRID, cfg.in.Params),
		params:   cfg.in.Params,
		inbox:    make(Inbox, 16),
		log: o.Logger.With("virtual_router", cfg.in.Name, "interface", id.Interface,
			"vrid", uint8(id.VRID), "family", id.Family.String()),
	}
	r.publish()
	go r.run(ctx)
	return r
}

// stop stops virtual routers side by side and waits for them.
func stop(rs iter.Seq[*router]) {
	stopped := slices.Collect(rs)
	for _, r := range stopped {
		r.cancel()
	}
	for _, r := range stopped {
		<-r.done
	}
}

func (r *router) run(ctx context.Context) {
	defer close(r.done)
	changes, unwatch := r.opts.Links.Watch(r.id.Interface)
	defer unwatch()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.arm(timer)
		r.publish()
		var reports chan<- vrrp.Report
		var report vrrp.Report
		if len(r.pending) > 0 {
			reports, report = r.opts.Reports, r.pending[0]
		}
		select {
		case <-ctx.Done():
			r.shutdown()
			return
		case u := <-r.updates:
			r.settings = u.settings
			r.reconcile(time.Now())
			r.publish()
			close(u.taken)
		case links := <-changes:
			r.link, r.linked = links[r.id.Interface], true
			r.reconcile(time.Now())
		case rx := <-r.inbox:
			r.received(rx)
		case <-timer.C:
			r.expired()
		case reports <- report:
			r.pending = slices.Delete(r.pending, 0, 1)
		}
	}
}

// arm sets the one timer to whatever comes first.
func (r *router) arm(timer *time.Timer) {
	next, armed := r.vr.Deadline()
	if !r.retryAt.IsZero() && (!armed || r.retryAt.Before(next)) {
		next, armed = r.retryAt, true
	}
	if !armed {
		timer.Stop()
		return
	}
	timer.Reset(time.Until(next))
}

// expired handles what was received before it lets a timer run out: after a stall
// of the process the Master's advertisements are waiting beside the expired timer,
// and they say that it is not down.
func (r *router) expired() {
	for range maxWaiting {
		select {
		case rx := <-r.inbox:
			r.received(rx)
			continue
		default:
		}
		break
	}
	now := time.Now()
	if !r.retryAt.IsZero() && !now.Before(r.retryAt) {
		r.retry(now)
	}
	r.handle(now, vrrp.Timeout{})
}

func (r *router) received(rx Received) {
	if err := r.params.Check(rx.From, rx.Advert); err != nil {
		r.discard(err)
		return
	}
	r.counters.AdvertsReceived++
	r.compare(rx)
	r.handle(time.Now(), vrrp.AdvertReceived{From: rx.From, Advert: rx.Advert})
}

// reconcile makes the virtual router agree with its settings and its interface.
func (r *router) reconcile(now time.Time) {
	if !r.linked {
		return
	}
	params := r.in.Params
	params.Source = r.params.Source // until another is known
	trouble := r.link.trouble()
	if trouble == "" {
		src, err := source(r.in, r.link.Addrs, r.virtual, r.socket.source)
		if err != nil {
			trouble = err.Error()
		} else {
			params.Source = src
		}
	}
	replaced := false
	if trouble == "" {
		var err error
		replaced, err = r.socket.ensure(r, params.Source)
		r.note("open", err)
		if err != nil {
			trouble = err.Error()
			r.retryBy(now)
		}
	}
	r.params = params
	r.handle(now, vrrp.ParamsChanged{Params: params})
	switch {
	case trouble != "":
		// In this order, so that a Master can still say priority 0.
		r.handle(now, vrrp.Failed{Detail: trouble})
		if r.link.Index != r.socket.index {
			r.closeSocket()
		}
	case r.state == vrrp.Initialize:
		r.handle(now, vrrp.Startup{})
	case r.state == vrrp.Fault:
		r.handle(now, vrrp.Recovered{})
	case replaced && r.state == vrrp.Master:
		// The new interface has none of our addresses.
		r.acquire(now, params.Addresses)
		r.announce(params.Addresses)
	case len(r.missing()) > 0:
		// Looked at again before anything is written: this may be a report from
		// before our own acquisition.
		r.retryBy(now)
	}
}

func (r *router) handle(now time.Time, ev vrrp.Event) {
	for _, a := range r.vr.Handle(now, ev) {
		switch a := a.(type) {
		case vrrp.SendAdvert:
			r.send(a.Advert)
		case vrrp.AcquireAddrs:
			r.acquire(now, a.Addresses)
		case vrrp.ReleaseAddrs:
			r.release(now, a.Addresses)
		case vrrp.Announce:
			r.announce(a.Addresses)
		case vrrp.Transitioned:
			r.transitioned(now, a.Transition)
		}
	}
}

// shutdown ends the protocol. The caller's loop has ended, so what is still to be
// done is done here: a release that fails is tried again, because an address that
// stays on a stopped director takes traffic from the Master.
func (r *router) shutdown() {
	now := time.Now()
	r.handle(now, vrrp.Shutdown{})
	for range 2 {
		if len(r.unreleased) > 0 {
			r.release(now, r.unreleased)
		}
	}
	r.closeSocket()
	r.publish()
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	for _, report := range r.pending {
		select {
		case r.opts.Reports <- report:
		case <-patience.C:
			r.log.Warn("transitions were not reported, nobody reads them", "count", len(r.pending))
			return
		}
	}
}
