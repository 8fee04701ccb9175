package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/clusterkey"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/syncd/peers"
	"github.com/hadirector/hadirector/vrrp"
)

// clusterLabel keeps the membership apart from those of other programs.
const clusterLabel = "hadirector"

// membership is a director.Peers over syncd/peers.
type membership struct {
	*peers.Peers
	started time.Time
	events  <-chan peers.Event
	changed chan<- struct{}
}

// keyIDs name the cluster's keys that a configuration asks for.
func keyIDs(cfg *conf.Config) ([]string, error) {
	keys, err := clusterkey.Load(cfg.Sync.KeyFile)
	if err != nil {
		return nil, err
	}
	return keys.IDs(), nil
}

// membershipPurpose is what the membership's keys are derived from the cluster's for.
const membershipPurpose = "memberlist"

// newMembership returns the director.PeersFactory.
func newMembership(logger *slog.Logger) director.PeersFactory {
	started := time.Now()
	return func(cfg *conf.Config, self string, changed chan<- struct{}) (director.Peers, error) {
		keys, err := clusterkey.Load(cfg.Sync.KeyFile)
		if err != nil {
			return nil, err
		}
		events := make(chan peers.Event, 16)
		o := peers.Options{
			Self: self, Port: cfg.Sync.Port, Peers: make(map[string]netip.Addr),
			Keys: keys.Derive(membershipPurpose), Label: clusterLabel, Events: events, Logger: logger,
		}
		for _, d := range cfg.Directors {
			if d.Name == self {
				o.Bind = d.Address
			} else {
				o.Peers[d.Name] = d.Address
			}
		}
		p, err := peers.New(o)
		if err != nil {
			return nil, fmt.Errorf("join the other directors: %w", err)
		}
		return &membership{Peers: p, started: started, events: events, changed: changed}, nil
	}
}

// Run takes part until ctx ends, and wakes the director with each change.
func (m *membership) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- m.Peers.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-m.events:
			select {
			case m.changed <- struct{}{}:
			default: // it is awake
			}
		}
	}
}

// Rekey goes on with the keys that are in the key file now.
func (m *membership) Rekey(cfg *conf.Config) error {
	keys, err := clusterkey.Load(cfg.Sync.KeyFile)
	if err != nil {
		return err
	}
	return m.SetKeys(keys.Derive(membershipPurpose))
}

// Update tells the others about this director.
func (m *membership) Update(a director.Announcement) {
	l := peers.Local{Version: a.Version, Started: m.started, Sources: a.Sources, Config: a.Config, Shared: a.Overrides, Sight: peers.Sight(a.Sight)}
	for _, name := range slices.Sorted(maps.Keys(a.Roles)) {
		l.Roles = append(l.Roles, peers.Role{VirtualRouter: name, State: peers.State(a.Roles[name])})
	}
	m.Peers.Update(l)
}

// Snapshots returns the other directors by name.
func (m *membership) Snapshots() []director.Peer {
	members := m.Members()
	list := make([]director.Peer, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		p := members[name]
		d := director.Peer{Name: p.Name, Address: p.Addr, Alive: p.Alive, Since: p.Since, Leaving: p.Meta.Leaving, LastSeen: p.LastSeen, Why: p.Why}
		d.Version, d.Sources, d.Fingerprint = p.Meta.Version, p.Meta.Sources, p.Meta.Config
		d.Roles = make(map[string]vrrp.State, len(p.Meta.Roles))
		for _, r := range p.Meta.Roles {
			d.Roles[r.VirtualRouter] = vrrp.State(r.State)
		}
		d.ConfigTooLong = p.Meta.ConfigTooLong
		if text, _ := m.PeerConfig(name); peers.FingerprintOf(text) == p.Meta.Config {
			d.Config = text // and not the one that it ran before
		}
		d.Overrides, d.OverridesID, d.Sight = m.PeerShared(name), p.Meta.Shared, director.Sight(p.Meta.Sight)
		list = append(list, d)
	}
	return list
}
