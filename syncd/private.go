package syncd

import "net/netip"

// The private interface is where the kernel's sync daemons talk when their messages are
// relayed: a dummy link, which sends nothing anywhere. Only this machine's own injector
// reaches the backup daemon there, and only its own capture hears the master daemon.
//
// Its name and addresses are the same on every director, since nothing of them is ever
// seen outside. The addresses are of the range for one link (RFC 3927), from which the
// routes of an operator's networks stay away.
//
// A firewall on the machine must let pass what leaves by this interface and what comes in
// there. The kernel's own daemons say nothing when theirs is dropped.
const (
	PrivateInterface = "hasync0"
	// PrivatePeer is the other end where the private interface has to be a veth pair,
	// because the kernel has no dummy links.
	PrivatePeer = "hasync1"
	// PrivateAlias is the link's alias, by which a later run knows it.
	PrivateAlias = "hadirector: connection sync"
)

var (
	// PrivatePrefix is the private interface's address. It has global scope: the kernel's
	// daemons take no address of link scope as their own (inet_select_addr,
	// net/ipv4/devinet.c).
	PrivatePrefix = netip.MustParsePrefix("169.254.88.49/32")
	// TickService is the TCP service, and TickServer its one real server, of the flow
	// that makes the master daemon send what it holds back (syncconn.Ticker). The forwarding
	// method is direct routing, weight 1. The service's address is nobody's, and packets
	// to a real server that is this machine itself go on where they were going: into the
	// private interface.
	TickService = netip.MustParseAddrPort("169.254.88.50:8848")
	TickServer  = netip.AddrPortFrom(PrivatePrefix.Addr(), 8848)
)

// Group is where the kernel's daemons send and listen (IP_VS_SYNC_GROUP and
// IP_VS_SYNC_PORT, net/netfilter/ipvs/ip_vs_sync.c).
var Group = netip.AddrPortFrom(defaultGroup, defaultPort)
