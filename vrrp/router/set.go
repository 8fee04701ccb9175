package router

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hadirector/hadirector/vrrp"
)

// Set runs a set of virtual routers, one goroutine for each sync group.
type Set struct {
	opts    Options
	holders *holders
	// first is what is applied first, which is never skipped: what it names may have been
	// left by a predecessor, and whoever comes after it must know of that.
	first   chan map[string]vrrp.Instance
	begun   sync.Once                     // first has got it
	applied chan map[string]vrrp.Instance // mailbox of one, newest wins
	orders  chan order
	running atomic.Pointer[map[vrrp.ID]*member] // read by anybody, written by Run's goroutine

	// Of Run's goroutine: those that run, and those that are being stopped.
	runners map[*runner]struct{}
	parting []*runner
}

// order is what an operator asks virtual routers to do.
type order struct {
	names []string
	ev    vrrp.Event
}

// NewSet wires a Set, with no virtual router in it yet.
func NewSet(o Options) (*Set, error) {
	if o.Open == nil || o.Addresser == nil || o.Announcer == nil || o.Links == nil || o.Reports == nil {
		return nil, errors.New("router: Open, Addresser, Announcer, Links and Reports are required")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Set{
		opts: o, holders: newHolders(o.Addresser), runners: make(map[*runner]struct{}),
		first:   make(chan map[string]vrrp.Instance, 1),
		applied: make(chan map[string]vrrp.Instance, 1), orders: make(chan order, 64),
	}
	s.running.Store(&map[vrrp.ID]*member{})
	return s, nil
}

// Apply makes in, keyed by name, the virtual routers that run. It returns at once
// and may be called before Run and from any goroutine; the newest call wins. The
// instances must be valid, and must not be written to afterwards.
//
// A virtual router whose ID and link stay is updated in place and keeps its state, a
// Master its mastership, also when its name or its sync group changes; if the way its
// advertisements travel changes, its sockets are opened anew. One whose link changes
// is stopped and started. Those that are gone are stopped last.
func (s *Set) Apply(in map[string]vrrp.Instance) {
	mailbox := s.applied
	s.begun.Do(func() { mailbox = s.first })
	put(mailbox, in)
}

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

// HandOver asks the named virtual routers that are Master, and the others of their
// sync groups, to give way to another director: see [vrrp.HandOver]. It returns at
// once and may be called from any goroutine; what was applied before is in force when
// it takes effect. Transitions tell what became of it.
func (s *Set) HandOver(names ...string) { s.order(names, vrrp.HandOver{}) }

// Announce asks the named virtual routers that are Master to announce their addresses
// again: see [vrrp.AnnounceAgain]. It returns at once and may be called from any
// goroutine.
func (s *Set) Announce(names ...string) { s.order(names, vrrp.AnnounceAgain{}) }

func (s *Set) order(names []string, ev vrrp.Event) {
	select {
	case s.orders <- order{names, ev}:
	default:
		s.opts.Logger.Warn("too many orders at once, one is dropped", "names", names)
	}
}

// Run runs the virtual routers until ctx ends. Then every Master hands over to another
// director if there is one, gives up its addresses, and Run returns nil. It may be
// called once.
func (s *Set) Run(ctx context.Context) error {
	applied := s.first
	apply := func(in map[string]vrrp.Instance) {
		applied = s.applied
		s.apply(in)
	}
	for {
		select {
		case <-ctx.Done():
			s.stop(slices.Collect(maps.Keys(s.runners)))
			for _, r := range s.parting {
				<-r.done
			}
			s.running.Store(&map[vrrp.ID]*member{})
			return nil
		case in := <-applied:
			apply(in)
		case o := <-s.orders:
			select {
			case in := <-applied:
				apply(in)
			default:
			}
			s.carryOut(o)
		}
	}
}

// carryOut gives an order to the sync groups of the named virtual routers, once to
// each.
func (s *Set) carryOut(o order) {
	var done []<-chan struct{}
	for r := range s.runners {
		for _, m := range r.members {
			if slices.Contains(o.names, m.in.Name) {
				done = append(done, r.post(func() { r.order(m, o.ev) }))
				if _, all := o.ev.(vrrp.HandOver); all {
					break
				}
			}
		}
	}
	wait(done)
}

// Snapshots returns every virtual router that runs, by name. Any goroutine may
// call it; it waits for no virtual router.
func (s *Set) Snapshots() map[string]vrrp.Snapshot {
	running := *s.running.Load()
	snaps := make(map[string]vrrp.Snapshot, len(running))
	for _, m := range running {
		name, snap := m.snapshot()
		snaps[name] = snap
	}
	return snaps
}
