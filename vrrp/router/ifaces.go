// Package router runs virtual routers: one goroutine and one timer each, which
// feed package vrrp's state machine and carry out its actions through the small
// interfaces below.
//
// Everything that crosses the package's border to the rest of the daemon is a
// value ([vrrp.Instance] in, [vrrp.Report] and [vrrp.Snapshot] out), so that the
// routers can live in a process of their own.
package router

import (
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

// Received is one accepted advertisement and its sender.
type Received struct {
	From   netip.Addr
	Advert vrrp.Advert
}

// Conn sends and receives one virtual router's advertisements.
type Conn interface {
	// Adverts delivers what was received for this virtual router. It is never
	// closed before Close; a slow reader loses the oldest.
	Adverts() <-chan Received
	// Send sends to the group, or to every peer. It never blocks for long.
	Send(vrrp.Advert) error
	// Discarded counts the datagrams that were not accepted, by
	// vrrp.DiscardReason. Those that arrived before a virtual router could be
	// told are counted on every Conn of the interface. Any goroutine may call it,
	// also after Close.
	Discarded() map[string]uint64
	Close() error
}

// Addresser writes a virtual router's addresses. Both calls are idempotent: what
// is already there, or already gone, alone or with its interface, is no error.
// Release also takes addresses off an interface that has been renamed since Acquire.
type Addresser interface {
	Acquire(ifname string, addrs []netip.Prefix) error
	Release(ifname string, addrs []netip.Prefix) error
}

// Announcer tells the neighbours on the interface's segment that the addresses are
// here now.
type Announcer interface {
	Announce(ifname string, addrs []netip.Prefix) error
}

// Link is what a virtual router needs to know about its interface.
type Link struct {
	Name string
	// Index is the kernel's, 0 if the interface does not exist. An interface that
	// is deleted and made again has another one, and needs new sockets.
	Index int
	// Up says that the interface exists, is administratively up and has carrier.
	Up bool
	// Why says what is missing when Up is false: "link eth0 does not exist".
	Why string
	// Addrs are the interface's own addresses, virtual ones included.
	Addrs []netip.Prefix
}

// Links tells of the interfaces.
type Links interface {
	// Watch delivers the named interface's state now and whenever it changes,
	// newest wins, until stop is called.
	Watch(ifname string) (changes <-chan Link, stop func())
}
