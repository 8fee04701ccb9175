package router

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

// Options are what a [Set] works with.
type Options struct {
	// Open opens the sockets of one virtual router. Advertisements leave with
	// source as their source address.
	Open func(in vrrp.Instance, source netip.Addr) (Conn, error)
	// Addresser, Announcer and Links are called from several goroutines at a time.
	Addresser Addresser
	Announcer Announcer
	Links     Links
	// Reports receives every transition. A virtual router never waits for the
	// reader: what the channel does not take is kept, in order, and handed over
	// as soon as there is room. Give it a buffer.
	Reports chan<- vrrp.Report
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

func (o Options) validate() error {
	if o.Open == nil || o.Addresser == nil || o.Announcer == nil || o.Links == nil || o.Reports == nil {
		return errors.New("router: Open, Addresser, Announcer, Links and Reports are required")
	}
	return nil
}

// Set runs a set of virtual routers, one goroutine each.
type Set struct{}

// NewSet wires a Set, with no virtual router in it yet.
func NewSet(o Options) (*Set, error) { return nil, o.validate() }

// Apply makes in, keyed by name, the virtual routers that run. It returns at once
// and may be called before Run and from any goroutine; the newest call wins. The
// instances must be valid, and the map must not be written to afterwards.
func (s *Set) Apply(in map[string]vrrp.Instance) {}

// Run runs the virtual routers until ctx ends. Then every Master says priority 0
// and gives up its addresses, and Run returns nil. It may be called once.
func (s *Set) Run(ctx context.Context) error { return nil }

// Snapshots returns every virtual router that runs, by name. Any goroutine may
// call it; it takes no lock.
func (s *Set) Snapshots() map[string]vrrp.Snapshot { return nil }
