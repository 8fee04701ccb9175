package syncd

import (
	"maps"
	"time"
)

// LinkState is the state of one direction of a Link.
type LinkState uint8

// The states.
const (
	LinkConnecting LinkState = iota // no connection
	LinkResyncing                   // what was missed is on its way, all of it or what a cut has left
	LinkInSync                      // everything that is known is told, but for the lag
)

// String returns "connecting", "resyncing" or "in sync".
func (s LinkState) String() string {
	switch s {
	case LinkConnecting:
		return "connecting"
	case LinkResyncing:
		return "resyncing"
	}
	return "in sync"
}

// DropReason is why records were not sent or not taken in, as a token for metrics.
type DropReason string

// The reasons.
const (
	dropNone      DropReason = ""
	dropOverflow  DropReason = "overflow"  // sending: the queue was full; a full resync follows
	dropCovered   DropReason = "covered"   // sending: they are in the snapshot that comes
	dropTooLong   DropReason = "too-long"  // sending: longer than a frame, or empty
	dropDuplicate DropReason = "duplicate" // receiving: here already
	dropGap       DropReason = "gap"       // receiving: something before them is missing
	dropAwaiting  DropReason = "awaiting"  // receiving: a snapshot was asked for and has not begun
	dropWindow    DropReason = "window"    // receiving: more than the peer may send
)

// DropReasons are all of them.
var DropReasons = []DropReason{dropOverflow, dropCovered, dropTooLong, dropDuplicate, dropGap, dropAwaiting, dropWindow}

// LinkCounters count since the Link was made. Frames are numbered ones.
type LinkCounters struct {
	SentFrames, SentRecords         uint64 // for the first time; records of snapshots, too
	ResentFrames, ResentRecords     uint64 // again after a cut
	AckedFrames, AckedRecords       uint64
	ReceivedFrames, ReceivedRecords uint64 // records without snapshots
	SnapshotsBegun, SnapshotsSent   uint64 // to the peer, up to its acknowledgement
	SnapshotsReceived               uint64
	ResyncsAsked                    uint64
	UnknownFrames                   uint64
	Dropped                         map[DropReason]uint64  // records by reason
	Closed                          map[CloseReason]uint64 // connections that this side has closed, by reason
}

// LinkStatus is what is known of a Link.
type LinkStatus struct {
	Connections int
	PeerRun     uint64
	Send        SendStatus
	Receive     ReceiveStatus
	Counters    LinkCounters
}

// SendStatus is the sending direction.
type SendStatus struct {
	State    LinkState
	Since    time.Time
	LastFull time.Time // when the peer had dealt with all of a snapshot; zero: never
	// Lag is the age of the oldest change that is not acknowledged, 0 if there is none.
	Lag time.Duration
	// AckTime is how long what was last acknowledged took: from the change to the
	// peer's kernel and back.
	AckTime time.Duration
	RTT     time.Duration // of the last ping; 0: none yet
	// What is not acknowledged.
	QueuedFrames, QueuedRecords, QueuedBytes int
}

// ReceiveStatus is the receiving direction.
type ReceiveStatus struct {
	State    LinkState
	Since    time.Time
	LastFull time.Time
	// What was delivered and is not dealt with.
	PendingFrames, PendingBytes int
}

// Status returns what is known.
func (l *Link) Status(now time.Time) LinkStatus {
	s := LinkStatus{
		Connections: l.ready(), PeerRun: l.peerRun, Counters: l.count,
		Send: SendStatus{
			State: l.out.state, Since: l.out.since, LastFull: l.out.lastFull, AckTime: l.out.lag,
			QueuedBytes: l.out.bytes,
		},
		Receive: ReceiveStatus{
			State: l.in.state, Since: l.in.since, LastFull: l.in.lastFull,
			PendingFrames: len(l.in.pending), PendingBytes: l.in.bytes,
		},
	}
	s.Counters.Dropped, s.Counters.Closed = maps.Clone(l.count.Dropped), maps.Clone(l.count.Closed)
	for _, i := range l.out.items {
		if i.gone {
			continue
		}
		if s.Send.QueuedFrames == 0 {
			s.Send.Lag = l.since(now) - i.Stamp
		}
		s.Send.QueuedFrames++
		s.Send.QueuedRecords += i.count
	}
	for _, c := range l.conns {
		if c.rtt > 0 && (s.Send.RTT == 0 || c.rtt < s.Send.RTT) {
			s.Send.RTT = c.rtt
		}
	}
	return s
}

// drop counts records that go no further.
func (l *Link) drop(why DropReason, records int) {
	if l.count.Dropped == nil {
		l.count.Dropped = make(map[DropReason]uint64)
	}
	l.count.Dropped[why] += uint64(max(records, 1))
}

func counted[K comparable](m map[K]uint64, k K) map[K]uint64 {
	if m == nil {
		m = make(map[K]uint64)
	}
	m[k]++
	return m
}

// report tells of new states.
func (l *Link) report(now time.Time) {
	if s := l.sendState(); s != l.out.state {
		l.do(StateChanged{false, l.out.state, s})
		l.out.state, l.out.since = s, now
	}
	if s := l.receiveState(); s != l.in.state {
		l.do(StateChanged{true, l.in.state, s})
		l.in.state, l.in.since = s, now
	}
}
