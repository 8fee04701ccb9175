package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// Instance is one configured virtual router: its name, where it runs, how its
// advertisements travel, and its parameters. It is a plain value, so that it can
// be handed to the process that runs the protocol.
type Instance struct {
	// Name is the name of the configuration's table, [vrrp.NAME].
	Name string
	ID   ID
	Params
	// Group is the name of the sync group whose members are Master together or not
	// at all; empty: the virtual router is alone.
	Group string
	// Unicast sends advertisements to each of Peers instead of to the group
	// 224.0.0.18.
	Unicast bool
	// Peers are the addresses of the other directors.
	Peers []netip.Addr
	// Senders are the other directors, with every address that their advertisements
	// may come from. One without any is a director of which that is not known.
	Senders []Sender
	// Prefer is the address to send from if the interface has it, and nothing else is
	// asked for by Source.
	Prefer netip.Addr
	// Checksum is the form that is sent over version 3 and IPv4.
	Checksum ChecksumForm
	// TTL is what unicast advertisements are sent with, 0: 255, and MinTTL the lowest
	// that is accepted from unicast peers, 0: 255. Multicast is always 255.
	TTL, MinTTL int
	// HMAC signs and verifies advertisements; nil: they are not signed.
	HMAC *HMAC
	// VMAC runs the virtual router on a link of its own with the virtual MAC address;
	// nil: on the interface itself, with that one's address.
	VMAC *VMAC
	// Routes and Rules are there as long as the state is Master.
	Routes []Route
	Rules  []Rule
	// Refuse says that a Master does not take packets to its virtual addresses for
	// itself: Accept_Mode false (RFC 9568 section 6.1).
	Refuse bool
	// LinkUpDelay and LinkDownDelay are how long a link has to be usable, or not,
	// before it counts.
	LinkUpDelay, LinkDownDelay time.Duration
	// Fault is why this director must not take part, in words for the operator:
	// "track gateway: down"; empty: nothing.
	Fault string
	// Adopt says that the virtual router was Master until a moment ago, in a process
	// that has ended, and that its addresses are in place. It is looked at when the
	// virtual router starts and is no part of Equal.
	Adopt bool
}

// Sender is another director and the addresses that it may advertise from.
type Sender struct {
	Name      string
	Addresses []netip.Addr
}

// VMAC is a link of a virtual router's own: a private macvlan with the virtual MAC
// address ([VirtualMAC]).
type VMAC struct {
	// Link is the link's name.
	Link string
	// TransmitBase sends advertisements from the interface itself and not from the
	// link.
	TransmitBase bool
}

// Link is the name of the link that the virtual router works on: its own if it has
// one, else the interface.
func (i Instance) Link() string {
	if i.VMAC != nil {
		return i.VMAC.Link
	}
	return i.ID.Interface
}

// Equal tells whether two Instances are the same value, Adopt aside.
func (i Instance) Equal(j Instance) bool {
	return i.Name == j.Name && i.ID == j.ID && i.Group == j.Group && i.Fault == j.Fault &&
		i.SameTransport(j) && i.Refuse == j.Refuse &&
		i.LinkUpDelay == j.LinkUpDelay && i.LinkDownDelay == j.LinkDownDelay &&
		slices.EqualFunc(i.Routes, j.Routes, Route.Equal) && slices.Equal(i.Rules, j.Rules) &&
		i.Params.Equal(j.Params)
}

// SameTransport tells whether two Instances of one ID send and receive alike.
func (i Instance) SameTransport(j Instance) bool {
	return i.Unicast == j.Unicast && i.Checksum == j.Checksum && i.TTL == j.TTL && i.MinTTL == j.MinTTL &&
		i.Prefer == j.Prefer && i.HMAC.Equal(j.HMAC) && samePointee(i.VMAC, j.VMAC) &&
		slices.Equal(i.Peers, j.Peers) &&
		slices.EqualFunc(i.Senders, j.Senders, func(a, b Sender) bool {
			return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
		})
}

func samePointee[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}
