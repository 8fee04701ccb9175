package conf

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// Config is a validated configuration. It is immutable: nobody writes to it after
// Parse has returned it, and nothing after Parse validates again. Every list is in
// the order of the file.
type Config struct {
	File           string
	Directors      []Director
	VirtualRouters []VirtualRouter
	VirtualServers []VirtualServer
	Checks         []healthcheck.Spec
	Tracks         []Track
	IPVS           IPVS
	Sync           *Sync // nil without [sync]
	Admin          Admin
	Log            Log
	// Warnings are legal but questionable things, in the form of errors and in the
	// order of their places.
	Warnings Errors
}

// Director is one load balancer of the cluster, [director.NAME].
type Director struct {
	Name     string
	Address  netip.Addr    // where its peers reach it
	Priority vrrp.Priority // default for every [vrrp.X]
	// SyncAddresses are where its peers reach it for connection sync, one for each link;
	// none: Address is. See SyncLinks.
	SyncAddresses []netip.Addr
}

// VirtualServer is [virtual_server.NAME].
type VirtualServer struct {
	Name string
	// Service is the kernel's side of it: scheduler, flags, persistence, and the key of
	// its first service. See Services for all of them.
	Service ipvs.Service
	// Addresses are where clients connect to; none for a firewall mark.
	Addresses []ipvs.Ports
	// Marked are the packets that get the firewall mark from this program; none: they
	// get it from somebody else.
	Marked  []ipvs.Marking
	Forward ipvs.ForwardMethod
	Tunnel  Tunnel // counts only with ForwardTunnel
	// SourceAddress is what real servers see connections come from that are forwarded by
	// full NAT.
	SourceAddress SourceAddress
	Checks        []string // names of checks; none: always up
	RealServers   []RealServer
	// Quorum is the number of real servers, without backups, that must take connections;
	// below it the backups do so too, and with still fewer the sorry server alone, if there
	// is one. It is lost below Quorum - QuorumHysteresis, and there again from Quorum +
	// QuorumHysteresis on.
	Quorum, QuorumHysteresis int
	SorryServer              *RealServer
	// QuiesceDown keeps a real server that is down in the table, with weight 0.
	QuiesceDown bool
	// SlowStart is how long a real server that comes up takes to its whole weight; 0: it has
	// it at once.
	SlowStart time.Duration
	// PanicThreshold is the part of the checked real servers, in hundredths of a percent,
	// below which failing checks take out no more of them; 0: there is no bound.
	PanicThreshold int
	// OnQuorumUp and OnQuorumDown run when the quorum is there, and when it is lost.
	OnQuorumUp, OnQuorumDown Hook
	// DrainTimeout is how long the connections of a real server that a reload removes
	// may go on; 0: it is removed at once.
	DrainTimeout time.Duration
	// Sync is what the other directors are told of its connections; it counts only with
	// SyncRelay.
	Sync syncd.Scope
}

// RealServer is one entry of [virtual_server.NAME.real_server].
type RealServer struct {
	Name string
	// Address is the machine and the port that its check asks. Whether it is also the
	// port that connections go to, Destination knows.
	Address netip.AddrPort
	Weight  uint32
	// With ConnectionsMax connections it gets no new ones until there are fewer than
	// ConnectionsMin, or than three quarters if that is 0. 0 is no bound.
	ConnectionsMax, ConnectionsMin uint32
	Forward                        ipvs.ForwardMethod // the virtual server's unless it says otherwise
	Tunnel                         Tunnel             // counts only with ForwardTunnel
	// Checks have all to be passed; the virtual server's unless it says otherwise.
	Checks []string
	// Paths are how those of Checks ask it that do not ask its own address.
	Paths map[string]healthcheck.Path
	// Backup says that it takes connections below the quorum alone.
	Backup bool
}

// IPVS is [ipvs]: what concerns the kernel's table as a whole.
type IPVS struct {
	// KeepOnStop leaves the services in the kernel when the daemon stops.
	KeepOnStop bool
	// Parameters are those of the kernel, net.ipv4.vs.NAME by NAME, that are to have a
	// value; the others are left as they are. A switch is 0 or 1.
	Parameters map[string]int64
	// ProbeMarks is the first of the firewall marks of probes through virtual addresses.
	ProbeMarks uint32
}

// Sync is [sync].
type Sync struct {
	Mode SyncMode
	// Interface with SyncKernel is where the kernel's sync daemons send and listen; empty:
	// the interface that holds this director's own address. With SyncRelay it is the one
	// that should hold the first of this director's sync addresses; empty: any.
	Interface string
	SyncID    uint8
	KeyFile   string // empty: no peer membership; never with SyncRelay
	Port      uint16 // of the peers' membership protocol, TCP and UDP

	// What follows is of the relay, and 0 with SyncKernel.

	StreamPort uint16 // of the stream between two directors, TCP
	// MaxWait is how long a director that has been started, or whose peer has come back,
	// waits for its peers' connections before it counts as ready all the same.
	MaxWait        time.Duration
	MaxConnections int // that the shadow table has room for
}

// Admin is [admin].
type Admin struct {
	Socket  string         // the unix socket
	Metrics netip.AddrPort // invalid: not served
}

// Log is [log].
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}
