package syncd

import "time"

// RelayState is how a director stands to a peer, as a token.
type RelayState string

// The states.
const (
	RelayConnecting RelayState = "connecting" // no stream
	RelayResyncing  RelayState = "resyncing"  // one of both has yet to be told what the other knows
	RelayDiffers    RelayState = "differs"    // all was told, and they have different connections
	RelayInSync     RelayState = "in sync"
)

// RelayStatus is what is known of a relay.
type RelayStatus struct {
	Limit    int // of connections and templates in the shadow table
	Table    Counts
	Exchange ExchangeCounters
	Capture  CaptureStatus
	Inject   InjectStatus
	Tick     string            // why there are no ticks, although there should be
	List     string            // why the kernel's connections could not be listed
	Refused  map[string]uint64 // connections that were nobody's, by reason
	Peers    []RelayPeer       // in the order of their names
}

// CaptureStatus is what comes from the kernel's master daemon.
type CaptureStatus struct {
	Running   bool
	Err       string    // why it does not run
	Heard     time.Time // when the daemon has last said something; zero: never
	Datagrams uint64
	Lost      uint64        // datagrams
	Malformed uint64        // datagrams, or records in them
	Withheld  uint64        // records that are not for peers, by the configuration
	Lag       time.Duration // from the kernel to the peers' queues, of the last datagram
}

// InjectStatus is what goes to the kernel's backup daemon.
type InjectStatus struct {
	Running   bool
	Err       string // why not, or what has gone wrong since
	Datagrams uint64
	Dropped   uint64 // by the daemon's queue
	Again     uint64 // sent again
	Conns     uint64 // records that the daemon was handed
	Restarts  uint64 // of telling it everything
	Behind    bool   // it is being told everything
}

// RelayPeer is a peer.
type RelayPeer struct {
	Name  string
	State RelayState
	Since time.Time
	Why   string // what is missing, in words, unless it is in sync
	// Complete says that this director's kernel was told all that the peer knew when the
	// stream began, and is told what is new.
	Complete bool
	Stream   StreamStatus
	Comparison
}
