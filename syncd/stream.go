package syncd

import (
	"net/netip"
	"time"
)

// Datagram is what the kernel's master daemon has sent.
type Datagram struct {
	Payload []byte // a sync message
	At      time.Time
	// Lost is how many datagrams before this one were not captured, because the
	// capture was not read in time.
	Lost uint32
}

// Path is a way to a peer: from an address of this director to one of the peer's.
type Path struct{ Local, Peer netip.Addr }

// StreamAction is what a peer's Link wants done: Deliver, DeliverNote, ReadSnapshot or
// StateChanged.
type StreamAction struct {
	Peer   string
	Action LinkAction
}

// StreamStatus is what is known of the stream to a peer.
type StreamStatus struct {
	Link  LinkStatus
	Paths []PathStatus // in the order of the options
}

// PathStatus is a way's.
type PathStatus struct {
	Path
	Connected bool
	Since     time.Time
	Err       string // why there is no connection; empty: it is there, or was not tried yet
}
