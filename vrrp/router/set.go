package router

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync/atomic"

	"github.com/hadirector/hadirector/vrrp"
)

// Options are what a [Set] works with. All but Logger are required.
type Options struct {
	// Open opens the sockets of one virtual router. Advertisements leave with
	// source as their source address, and those received go to the inbox.
	Open func(in vrrp.Instance, source netip.Addr, inbox Inbox) (Conn, error)
	// Addresser, Announcer and Links are called from several goroutines at a time.
	Addresser Addresser
	Announcer Announcer
	Links     Links
	// Reports receives every transition. A virtual router never waits for the
	// reader: what the channel does not take is kept, in order, and handed over as
	// soon as there is room, the newest 1024 per virtual router. One that stops
	// waits at most a second for a reader. Give the channel a buffer, and keep
	// reading until Run has returned.
	Reports chan<- vrrp.Report
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Set runs a set of virtual routers, one goroutine each.
type Set struct {
	opts    Options
	holders *holders
	applied chan map[string]vrrp.Instance // mailbox of one, newest wins
	running atomic.Pointer[map[string]*router]
}

// NewSet wires a Set, with no virtual router in it yet.
func NewSet(o Options) (*Set, error) {
	if o.Open == nil || o.Addresser == nil || o.Announcer == nil || o.Links == nil || o.Reports == nil {
		return nil, errors.New("router: Open, Addresser, Announcer, Links and Reports are required")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Set{opts: o, holders: newHolders(o.Addresser), applied: make(chan map[string]vrrp.Instance, 1)}
	s.running.Store(&map[string]*router{})
	return s, nil
}

// Apply makes in, keyed by name, the virtual routers that run. It returns at once
// and may be called before Run and from any goroutine; the newest call wins. The
// instances must be valid, and must not be written to afterwards.
//
// A virtual router whose name and ID stay is updated in place and keeps its state,
// a Master its mastership; if the way its advertisements travel changes, its
// sockets are opened anew. One whose ID changes is stopped and started. Those that
// are gone are stopped last.
func (s *Set) Apply(in map[string]vrrp.Instance) { put(s.applied, in) }

// put leaves v in a mailbox of one, in place of what nobody has taken yet.
func put[T any](mailbox chan T, v T) {
	for {
		select {
		case mailbox <- v:
			return
		default:
		}
		select {
		case <-mailbox:
		default:
		}
	}
}

// Run runs the virtual routers until ctx ends. Then every Master says priority 0
// and gives up its addresses, and Run returns nil. It may be called once.
func (s *Set) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			running := *s.running.Load()
			stop(maps.Values(running))
			s.running.Store(&map[string]*router{})
			return nil
		case in := <-s.applied:
			s.apply(in)
		}
	}
}

// apply turns the running virtual routers into those of in. Whoever is in the way
// of a new one, because it runs the same virtual router, is stopped before the new
// one starts; whoever is merely gone is stopped when everybody else runs.
func (s *Set) apply(in map[string]vrrp.Instance) {
	running := maps.Clone(*s.running.Load())
	wanted := make(map[vrrp.ID]struct{}, len(in))
	virtual := make(map[string][]netip.Addr) // by interface
	for _, i := range in {
		wanted[i.ID] = struct{}{}
		for _, a := range i.Addresses {
			virtual[i.ID.Interface] = append(virtual[i.ID.Interface], a.Addr())
		}
	}

	inTheWay, gone := map[string]*router{}, map[string]*router{}
	updates := map[*router]settings{}
	for name, r := range running {
		i, kept := in[name]
		_, needed := wanted[r.id]
		switch {
		case kept && i.ID == r.id:
			updates[r] = settings{i, virtual[i.ID.Interface]}
		case kept || needed:
			inTheWay[name] = r
			delete(running, name)
		default:
			gone[name] = r
			delete(running, name)
		}
	}
	s.update(updates)
	stop(maps.Values(inTheWay))
	for name, i := range in {
		if running[name] == nil {
			running[name] = start(s.opts, s.holders, settings{i, virtual[i.ID.Interface]})
		}
	}
	s.running.Store(&running)
	stop(maps.Values(gone))
}

// update tells running virtual routers their new settings and waits until they have
// taken them. An address that a Master is about to be given counts as held by it
// from the beginning, so that it stays on the interface when another virtual router
// releases it first.
func (s *Set) update(updates map[*router]settings) {
	for r, cfg := range updates {
		if now := r.snapshot(); now.State == vrrp.Master {
			s.holders.hold(r, r.id.Interface, without(cfg.in.Addresses, now.Params.Addresses))
		}
	}
	var taken []chan struct{}
	for r, cfg := range updates {
		done := make(chan struct{})
		r.updates <- update{cfg, done}
		taken = append(taken, done)
	}
	for _, done := range taken {
		<-done
	}
}

// Snapshots returns every virtual router that runs, by name. Any goroutine may
// call it; it waits for no virtual router.
func (s *Set) Snapshots() map[string]vrrp.Snapshot {
	running := *s.running.Load()
	snaps := make(map[string]vrrp.Snapshot, len(running))
	for name, r := range running {
		snaps[name] = r.snapshot()
	}
	return snaps
}
