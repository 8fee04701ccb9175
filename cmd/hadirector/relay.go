package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/clusterkey"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/syncd/relay"
	"github.com/hadirector/hadirector/syncd/syncconn"
)

// connRelay is a director.Relay over syncd/relay and syncd/syncconn.
type connRelay struct {
	*relay.Relay
	streams *syncconn.Streams
}

// newConnRelay returns the director.RelayFactory.
func newConnRelay(logger *slog.Logger) director.RelayFactory {
	return func(cfg *conf.Config, self string, changed chan<- struct{}) (director.Relay, error) {
		keys, err := clusterkey.Load(cfg.Sync.KeyFile)
		if err != nil {
			return nil, err
		}
		o := syncconn.Options{
			Self: self, Port: cfg.Sync.StreamPort, Peers: make(map[string][]syncd.Path),
			Keys: keys.Derive(syncconn.KeyPurpose), Logger: logger,
		}
		me, _ := cfg.Director(self)
		locals := me.SyncLinks()
		var names []string
		for _, d := range cfg.Directors {
			if d.Name == self {
				continue
			}
			names = append(names, d.Name)
			o.Peers[d.Name] = paths(locals, d.SyncLinks())
		}
		streams, err := syncconn.New(o)
		if err != nil {
			return nil, fmt.Errorf("make the streams to the other directors: %w", err)
		}
		return connRelay{relay.New(relay.Options{
			Peers: names, Limit: cfg.Sync.MaxConnections, Kernel: syncKernel{}, Streams: streams, Changed: changed, Logger: logger,
		}), streams}, nil
	}
}

// paths are the ways from one director to another: each has its addresses in the same order.
func paths(locals, remotes []netip.Addr) []syncd.Path {
	var list []syncd.Path
	for i := range min(len(locals), len(remotes)) {
		list = append(list, syncd.Path{Local: locals[i], Peer: remotes[i]})
	}
	return list
}

// Apply gives the relay its orders.
func (r connRelay) Apply(o director.RelayOrders) { r.Relay.Apply(relay.Orders(o)) }

// Rekey goes on with the keys that are in the key file now.
func (r connRelay) Rekey(cfg *conf.Config) error {
	keys, err := clusterkey.Load(cfg.Sync.KeyFile)
	if err != nil {
		return err
	}
	return r.streams.SetKeys(keys.Derive(syncconn.KeyPurpose))
}

// syncKernel is a relay.Kernel.
type syncKernel struct{}

func (syncKernel) Capture() (relay.Capture, error) {
	return syncconn.NewCapture(syncd.PrivateInterface)
}

func (syncKernel) Injector(syncID uint8) (relay.Injector, error) {
	in, err := syncconn.NewInjector(syncd.PrivateInterface, syncID)
	return syncInjector{in}, err
}

func (syncKernel) Tick(ctx context.Context) (err error) {
	t, err := syncconn.NewTicker(syncd.PrivateInterface)
	if err != nil {
		return err
	}
	defer func() {
		if closed := t.Close(); err == nil {
			err = closed
		}
	}()
	return t.Run(ctx, syncd.TickInterval)
}

// Connections lists what the kernel has. The list does not say how connections are
// forwarded; the table does.
func (syncKernel) Connections(ctx context.Context) ([]syncd.Living, error) {
	client, err := ipvsnl.Open(ipvsnl.Options{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	table, _, err := client.Table(ctx)
	if err != nil {
		return nil, err
	}
	var all []syncd.Living
	for c, err := range ipvsnl.SyncConns(table, ipvsnl.Connections()) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// syncInjector is a relay.Injector.
type syncInjector struct{ *syncconn.Injector }

// Counts returns how many datagrams were sent, how many of them the daemon's queue has
// dropped, and how many were sent again.
func (i syncInjector) Counts() (sent, dropped, again uint64) {
	d := i.Did()
	return d.Datagrams, d.Dropped, d.Again
}
