package peers

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// Options are what Peers needs. All fields are required but Peers, Local, Logger and
// Events.
type Options struct {
	Self string     // this director's name
	Bind netip.Addr // this director's address, as the others have configured it
	Port uint16     // TCP and UDP, the same on every director
	// Peers are the other directors' addresses by name. Nobody else is let in.
	Peers map[string]netip.Addr
	// Keys encrypt everything (AES-256-GCM). They must be derived from the cluster's
	// secret for this purpose alone. Each is accepted. The first is used once every peer
	// has told that it accepts it, until then the last.
	Keys [][32]byte
	// Label is the cluster's name. What comes from a cluster with another one is
	// dropped, also under the same key.
	Label string
	// Local is what the others are told at first; see Update. While it says nothing,
	// Run waits for the first Update before it listens: a director that joined
	// without a configuration would be taken for one with another configuration.
	Local Local
	// Events receives every change of a peer. A slow reader delays nobody; one that
	// is very slow loses the oldest events, and should look at Members. Nil: none.
	Events chan<- Event
	Logger *slog.Logger // nil: none
}

// Local is what a director tells the others about itself.
type Local struct {
	Version string    // of the program
	Started time.Time // when the process started
	Roles   []Role    // in every virtual router
	// Sources are the addresses that its VRRP advertisements come from.
	Sources []netip.Addr
	// Config is the effective configuration's text, in a form that is the same on
	// every director with the same configuration.
	Config string
	// Shared is what this director knows of what all are to know, in a form of the
	// caller's, at most MaxShared bytes. It is sent to every peer that has another one;
	// what directors make of each other's is the caller's matter. Empty: nothing is shared.
	Shared string
	// Sight is what this director sees of what it watches.
	Sight Sight
}

func (l Local) empty() bool {
	return l.Version == "" && l.Started.IsZero() && len(l.Roles) == 0 && l.Config == ""
}

func (o Options) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case o.Self == "" || len(o.Self) > 255:
		fail("director name %q has %d bytes, want 1 to 255", o.Self, len(o.Self))
	case o.Label == "" || len(o.Label) > memberlist.LabelMaxSize:
		fail("cluster label %q has %d bytes, want 1 to %d", o.Label, len(o.Label), memberlist.LabelMaxSize)
	}
	if !o.Bind.IsValid() || o.Bind.IsUnspecified() || o.Bind.IsMulticast() {
		fail("address of director %s is %s, want one of its own", o.Self, o.Bind)
	}
	if o.Port == 0 {
		fail("port is 0")
	}
	if err := validKeys(o.Keys); err != nil {
		errs = append(errs, err)
	}
	owner := map[netip.Addr]string{o.Bind.Unmap(): o.Self}
	for name, addr := range o.Peers {
		if name == "" || len(name) > 255 || name == o.Self {
			fail("peer has the name %q", name)
		}
		if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
			fail("address of peer %s is %s, want one of its own", name, addr)
		}
		if other, taken := owner[addr.Unmap()]; taken {
			fail("peers %s and %s have the same address %s", name, other, addr)
		}
		owner[addr.Unmap()] = name
	}
	return errors.Join(errs...)
}

// How long this director may take to say goodbye, in two steps.
const (
	announceLeaveTimeout = 500 * time.Millisecond
	leaveTimeout         = time.Second
)

// config is memberlist's configuration for two or a few directors on a fast network:
// a peer that stops is given up after 0.8 to 1 s: up to 200 ms until it is probed,
// 200 ms for the probe, 600 ms of suspicion.
func (o Options) config(d *delegate, t *transport, ring *memberlist.Keyring, b *bridge) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = o.Self
	c.Transport = t
	c.BindAddr, c.BindPort = o.Bind.String(), int(o.Port)
	c.AdvertiseAddr, c.AdvertisePort = o.Bind.String(), int(o.Port)
	c.Label = o.Label
	c.Keyring = ring
	// Our own address as well: memberlist takes itself in like any other member.
	for _, a := range append(slices.Collect(maps.Values(d.peers)), o.Bind.Unmap()) {
		c.CIDRsAllowed = append(c.CIDRsAllowed, net.IPNet{
			IP:   a.AsSlice(),
			Mask: net.CIDRMask(a.BitLen(), a.BitLen()),
		})
	}

	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
	c.SuspicionMult = 3
	// With two directors nobody can confirm a suspicion. With more, waiting for
	// others only makes the loss of a director known later.
	c.SuspicionMaxTimeoutMult = 1
	// Every failed probe would stretch the interval of the next ones.
	c.AwarenessMaxMultiplier = 1
	c.GossipInterval = 100 * time.Millisecond
	c.GossipToTheDeadTime = 5 * time.Second
	c.TCPTimeout = 3 * time.Second
	c.EnableCompression = false // LZW: costs more than it saves on small messages

	c.DelegateProtocolVersion, c.DelegateProtocolMin, c.DelegateProtocolMax = 1, 1, 1
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	c.Logger = b.std()
	return c
}

// peers are the other directors' addresses in the form in which they are compared.
func (o Options) peers() map[string]netip.Addr {
	peers := make(map[string]netip.Addr, len(o.Peers))
	for name, addr := range o.Peers {
		peers[name] = addr.Unmap().WithZone("")
	}
	return peers
}
