package syncd

import "time"

// How the kernel's daemons run when their messages are relayed, and why. What was measured
// is of Linux 6.1 in an emulated machine.
const (
	// TickInterval is how often the private flow makes the master daemon send what it
	// holds. A new connection then leaves half of it later on average, and up to 20 ms
	// more, for which the daemon itself waits for others (IPVS_SYNC_SEND_DELAY).
	TickInterval = 20 * time.Millisecond
	// MaxMessage is the largest message that a backup daemon of [RelayDaemons] takes: an
	// Ethernet frame's, 40 connections over IPv4.
	MaxMessage = etherMTU - headers4
)

// RelayDaemons returns the daemons for a relay, as [Desired] does. A master's datagrams
// have room for one connection (the kernel makes them as long as the one needs): the next
// one pushes it out, and on the private interface datagrams cost little. A backup's
// daemon takes whole frames, and so several connections at once.
func RelayDaemons(syncID uint8, master, backup bool) []Daemon {
	ds := Desired(Config{Interface: PrivateInterface, SyncID: syncID}, master, backup)
	for i := range ds {
		if ds[i].Role == RoleMaster {
			ds[i].MaxLen = 1
		}
	}
	return ds
}

// Parameter is a kernel parameter with the value that the relay needs, named as by
// sysctl(8).
type Parameter struct{ Name, Value, Reason string }

// RelayParameters returns the parameters for the director of a relay, which may become
// Master at any time. They decide when the kernel tells its master daemon of a connection
// (ip_vs_sync_conn_needed, net/netfilter/ipvs/ip_vs_sync.c); they belong to the network
// namespace.
//
// With a sync_refresh_period, and a second value of sync_threshold of 0, the kernel tells
// of a TCP connection with the packet that establishes it (the second one of the client),
// of any other one with its first packet, of a persistence template at once, of every
// change but the one to ESTABLISHED when it happens, and of all again after the period, or
// half the connection's timeout if that is shorter. Earlier is not possible: what is not
// ESTABLISHED yet is never told. Without a period every packet of a persistent connection
// would tell its template. The first value of sync_threshold is for a machine on which
// somebody has taken the period away: then the second packet tells, and no other.
//
// What is not asked for: net.core.rmem_max belongs to the whole machine, and with it
// sync_sock_size, which it bounds. The injector fills no queue beyond what it holds, and
// the default took 50 000 connections without a loss. sync_qlen_max, a thirty-second of the
// memory's pages, is far more than the daemon is ever behind. sync_retries would repeat
// what is not lost.
func RelayParameters() []Parameter {
	const vs = "net.ipv4.vs."
	return []Parameter{
		{vs + "sync_refresh_period", "60", "told again before they end elsewhere"},
		{vs + "sync_threshold", "2\t0", "a connection is told when established"},
		{vs + "sync_retries", "0", "nothing is lost that had to be repeated"},
		{vs + "sync_version", "1", "with IPv6, timeouts and firewall marks"},
		{vs + "sync_ports", "1", "one buffer, which a tick empties"},
		{vs + "sync_persist_mode", "0", "not the templates alone are told"},
	}
}
