// Package router runs virtual routers: one goroutine and one timer for each sync
// group, and for each virtual router that is in none. They feed package vrrp's state
// machines and carry out their actions through the small interfaces below.
//
// Everything that crosses the package's border to the rest of the daemon is a
// value ([vrrp.Instance] in, [vrrp.Report] and [vrrp.Snapshot] out), so that the
// routers can live in a process of their own.
package router

import (
	"net/netip"

	"github.com/hadirector/hadirector/vrrp"
)

// Received is one accepted advertisement, its sender, and the virtual router that it
// is for.
type Received struct {
	ID     vrrp.ID
	From   netip.Addr
	Advert vrrp.Advert
}

// Inbox is where the Conns of a group deliver what they receive. A Conn that finds it
// full takes the oldest out and counts it as lost.
type Inbox chan Received

// Conn sends one virtual router's advertisements, and delivers those of others to the
// Inbox that it was opened with until it is closed.
type Conn interface {
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

// Devices makes the links of virtual routers that have one of their own. Both calls
// are idempotent.
type Devices interface {
	// Make makes the macvlan in.VMAC.Link on in.ID.Interface, or mends it, and sets
	// what sysctls it needs.
	Make(in vrrp.Instance) error
	// Delete deletes it and brings the sysctls back.
	Delete(in vrrp.Instance) error
}

// Routing writes a Master's routes and rules. Both calls are idempotent; ifname is
// the interface of routes that name none.
type Routing interface {
	AcquireRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error
	ReleaseRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error
}

// Filter keeps packets to a Master's virtual addresses from being taken for the
// machine itself (Accept_Mode false). Both calls are idempotent.
type Filter interface {
	Refuse(ifname string, addrs []netip.Prefix) error
	Accept(ifname string, addrs []netip.Prefix) error
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
	// Watch delivers the state of all the named interfaces now and whenever it
	// changes, newest wins, until stop is called. Nobody writes to a map that has been
	// delivered.
	Watch(ifnames ...string) (changes <-chan map[string]Link, stop func())
}
