// Package cluster builds a small LVS cluster out of network namespaces, for the tests and
// for the lab command: a client, two directors and two real servers.
//
//	client 10.0.0.1 ─┐                     ┌─ lb-a 10.0.0.11 ─┐
//	rs-1  10.0.0.21 ─┼─ br0, a LAN ────────┤   10.1.0.11      ├─ br1, for sync
//	rs-2  10.0.0.22 ─┘                     └─ lb-b 10.0.0.12 ─┘
//	                                           10.1.0.12
//
// Every machine has its LAN side on eth0; the directors have the sync network on eth1. The
// bridges are in a namespace of their own, so nothing is ever sent on an interface of the
// host. The virtual address is 10.0.0.100; real servers hold it on their loopback
// interface, as direct routing wants it.
//
// IPVS and its sync daemons are per namespace, so one kernel holds the whole cluster. A
// kernel without IPVS is enough for everything but the directors' virtual servers.
//
// The namespaces have names, unlike those of package netnstest, so that a person can enter
// them with "ip netns exec". Names begin with the run's prefix; Close removes them all, and
// New removes what a killed run left behind. Processes die with the process that started
// them.
package cluster

import "net/netip"

// The machines, by the names that the lab's commands and logs use.
const (
	Client  = "client"
	LBA     = "lb-a"
	LBB     = "lb-b"
	RS1     = "rs-1"
	RS2     = "rs-2"
	network = "switch" // the bridges
)

// VIP is the cluster's virtual address. Port 80 is the web service; EchoPort is a service
// that sends back each line, for connections that stay open.
var VIP = netip.MustParseAddr("10.0.0.100")

// VIP6 is the virtual address of an IPv6 virtual router, and VIP6Link its link-local one.
// The machines have no IPv6 addresses but the link-local ones that the kernel gives them.
var (
	VIP6     = netip.MustParseAddr("2001:db8::100")
	VIP6Link = netip.MustParseAddr("fe80::100")
)

// EchoPort is the port of the echo service, on the real servers and on the VIP.
const EchoPort = 7

// machine is one row of the drawing above.
type machine struct {
	name string
	lan  string // address on eth0
	sync string // address on eth1, directors only
}

var machines = []machine{
	{name: Client, lan: "10.0.0.1"},
	{name: LBA, lan: "10.0.0.11", sync: "10.1.0.11"},
	{name: LBB, lan: "10.0.0.12", sync: "10.1.0.12"},
	{name: RS1, lan: "10.0.0.21"},
	{name: RS2, lan: "10.0.0.22"},
}

// Addr returns a machine's address on the LAN; the zero Addr for a name not in the drawing.
func Addr(name string) netip.Addr {
	for _, m := range machines {
		if m.name == name {
			return netip.MustParseAddr(m.lan)
		}
	}
	return netip.Addr{}
}

// SyncAddr returns a director's address on the sync network; the zero Addr for other names.
func SyncAddr(name string) netip.Addr {
	for _, m := range machines {
		if m.name == name && m.sync != "" {
			return netip.MustParseAddr(m.sync)
		}
	}
	return netip.Addr{}
}
