package syncd

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Link is the stream to one peer as a machine: what it is told goes in as events with
// the time, what is to be done comes out as actions, and what is to be sent is fetched
// with [Link.Next]. A director has one for each of its peers.
//
// Both directions are alike and independent. What a director sends is numbered and kept
// until the peer has acknowledged it, so that a new connection goes on where the last one
// was cut. What is kept is bounded: when it is more, it is given up for a full resync, a
// snapshot of the sender's table between which the live changes go on in order. So is
// whatever does not fit: another run of either side, a gap in the numbers, changes that
// were lost before they came here.
//
// Several connections at the same time carry the same: what arrives first counts, and
// the rest are duplicates. Over one connection frames arrive in order or not at all; a
// link that finds otherwise asks for a full resync.
//
// A Link is used by one goroutine.
type Link struct {
	o       LinkOptions
	started time.Time
	peerRun uint64      // 0: not heard of yet
	conns   []*linkConn // the oldest first
	out     sendHalf
	in      receiveHalf
	notes   notes
	count   LinkCounters
	actions []LinkAction
}

// LinkOptions are what a Link needs. Zero values of the rest mean what is written there.
type LinkOptions struct {
	Self, Peer string // the directors' names
	Run        uint64 // not 0, and another for every Link that is ever made: random

	QueueBytes  int // of changes that are not acknowledged; 0: 8 MiB
	QueueFrames int // of frames that are not acknowledged; 0: 8192
	Window      int // bytes of what was received and not yet dealt with; 0: 1 MiB
	BatchBytes  int // up to which changes that wait are sent in one frame; 0: 16 KiB

	AckDelay   time.Duration // at most between an acknowledgement and the next; 0: 5 ms
	PingEvery  time.Duration // after as long without anything sent; 0: 1 s
	DeadAfter  time.Duration // a connection on which nothing is heard; 0: 3.5 s
	HelloIn    time.Duration // the first frame of a connection; 0: 3 s
	AskEvery   time.Duration // for a full resync that does not begin; 0: 10 s
	StallAfter time.Duration // connections without any acknowledgement; 0: 30 s
}

func (o LinkOptions) withDefaults() LinkOptions {
	o.QueueBytes = cmp.Or(o.QueueBytes, 8<<20)
	o.QueueFrames = cmp.Or(o.QueueFrames, 8192)
	o.Window = cmp.Or(o.Window, 1<<20)
	o.BatchBytes = cmp.Or(o.BatchBytes, 16<<10)
	o.AckDelay = cmp.Or(o.AckDelay, 5*time.Millisecond)
	o.PingEvery = cmp.Or(o.PingEvery, time.Second)
	o.DeadAfter = cmp.Or(o.DeadAfter, 3500*time.Millisecond)
	o.HelloIn = cmp.Or(o.HelloIn, 3*time.Second)
	o.AskEvery = cmp.Or(o.AskEvery, 10*time.Second)
	o.StallAfter = cmp.Or(o.StallAfter, 30*time.Second)
	return o
}

// ConnID names a connection. The caller gives them, no number twice.
type ConnID uint64

// LinkEvent is what a Link is told. The set is closed.
type LinkEvent interface{ linkEvent() }

type (
	// ConnUp: a connection to the peer is there, authenticated.
	ConnUp struct{ ID ConnID }
	// ConnDown: a connection has ended, whoever closed it.
	ConnDown struct{ ID ConnID }
	// FrameReceived: a frame came over a connection.
	FrameReceived struct {
		ID    ConnID
		Frame Frame
	}
	// Change: connections have changed here, and the peer is to know. Payload, at most
	// MaxPayload bytes, is the Link's from now on. Whatever Change says must be in the
	// table before, so that a snapshot that is read later has it.
	Change struct {
		Count   int
		Payload []byte
	}
	// ChangesLost: changes were lost before they came here. The peer gets a snapshot.
	ChangesLost struct{}
	// SnapshotPart answers ReadSnapshot. It and later changes must come here in the
	// order in which they were read from the table.
	SnapshotPart struct {
		Snapshot uint64
		Count    int
		Payload  []byte
	}
	// SnapshotDone answers ReadSnapshot when nothing is left to be read.
	SnapshotDone struct {
		Snapshot uint64
		Digest   []byte
	}
	// Injected: everything that was delivered up to this number has been dealt with.
	Injected struct{ Run, Seq uint64 }
	// SetNote: small state that the peer is to know. It replaces what there was of
	// its kind.
	SetNote struct {
		Kind    uint8
		Payload []byte
	}
	// WantResync: this director wants a full resync from the peer.
	WantResync struct{}
	// Tick: the deadline is over.
	Tick struct{}
)

func (ConnUp) linkEvent()        {}
func (ConnDown) linkEvent()      {}
func (FrameReceived) linkEvent() {}
func (Change) linkEvent()        {}
func (ChangesLost) linkEvent()   {}
func (SnapshotPart) linkEvent()  {}
func (SnapshotDone) linkEvent()  {}
func (Injected) linkEvent()      {}
func (SetNote) linkEvent()       {}
func (WantResync) linkEvent()    {}
func (Tick) linkEvent()          {}

// LinkAction is what is to be done, in this order. The set is closed.
type LinkAction interface{ linkAction() }

type (
	// Deliver hands over Records, SnapshotBegin, SnapshotChunk or SnapshotEnd. The
	// caller answers with Injected for this run and its number, or a later one.
	Deliver struct {
		Run   uint64
		Frame Frame
	}
	// DeliverNote hands over a note that is new.
	DeliverNote struct {
		Kind    uint8
		Payload []byte
	}
	// ReadSnapshot asks for the next part of a snapshot, of at most Max bytes, for a run
	// of the peer. A number that is new begins one, and the last one is not asked for any
	// more.
	ReadSnapshot struct {
		Run      uint64
		Snapshot uint64
		Max      int
	}
	// CloseConn ends a connection. The peer is told why, in a Bye, if it can still
	// listen.
	CloseConn struct {
		ID     ConnID
		Reason CloseReason
		Text   string
		Tell   bool
	}
	// StateChanged tells a new state of one direction.
	StateChanged struct {
		Receiving bool // the direction; false: sending
		From, To  LinkState
	}
)

func (Deliver) linkAction()      {}
func (DeliverNote) linkAction()  {}
func (ReadSnapshot) linkAction() {}
func (CloseConn) linkAction()    {}
func (StateChanged) linkAction() {}

// NewLink returns a Link without connections.
func NewLink(now time.Time, o LinkOptions) *Link {
	o = o.withDefaults()
	l := &Link{o: o, started: now}
	l.out = sendHalf{wanted: true}
	l.in = receiveHalf{awaiting: true}
	l.out.since, l.in.since = now, now
	return l
}

// Handle takes an event in. The actions are the caller's.
func (l *Link) Handle(now time.Time, ev LinkEvent) []LinkAction {
	l.actions = nil
	switch ev := ev.(type) {
	case ConnUp:
		l.conns = append(l.conns, &linkConn{id: ev.ID, up: now, heard: now, said: now})
	case ConnDown:
		l.connDown(ev.ID)
	case FrameReceived:
		if c := l.conn(ev.ID); c != nil && !c.closing {
			l.received(now, c, ev.Frame)
		}
	case Change:
		l.change(now, ev)
	case ChangesLost:
		l.startOver(dropNone)
	case SnapshotPart:
		l.snapshotPart(now, ev)
	case SnapshotDone:
		l.snapshotDone(now, ev)
	case Injected:
		l.injected(now, ev)
	case SetNote:
		l.notes.set(ev.Kind, ev.Payload)
	case WantResync:
		l.ask(now)
	case Tick:
	}
	l.tick(now)
	l.advance(now)
	l.report(now)
	return l.actions
}

func (l *Link) do(a LinkAction) { l.actions = append(l.actions, a) }

// Deadline is when Tick is due.
func (l *Link) Deadline() (time.Time, bool) {
	var first time.Time
	at := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for _, c := range l.conns {
		l.connDeadlines(c, at)
	}
	if l.ready() > 0 {
		l.sendDeadlines(at)
		l.receiveDeadlines(at)
	}
	return first, !first.IsZero()
}

// tick does what is due.
func (l *Link) tick(now time.Time) {
	for _, c := range slices.Clone(l.conns) {
		l.connTick(now, c)
	}
	if l.ready() > 0 {
		l.sendTick(now)
		l.receiveTick(now)
	}
}

// since is the running time, for stamps.
func (l *Link) since(now time.Time) time.Duration { return now.Sub(l.started) }

// received takes a frame in.
func (l *Link) received(now time.Time, c *linkConn, f Frame) {
	c.heard = now
	switch f := f.(type) {
	case Hello:
		l.hello(now, c, f)
		return
	case Bye:
		l.close(c, ClosedByPeer, f.Text, false)
		return
	}
	if !c.ready {
		l.close(c, ClosedProtocol, fmt.Sprintf("its first frame is of type %d, not a hello", f.kind()), true)
		return
	}
	switch f := f.(type) {
	case Records:
		l.take(now, c, f.Place, f)
	case SnapshotBegin:
		l.take(now, c, f.Place, f)
	case SnapshotChunk:
		l.take(now, c, f.Place, f)
	case SnapshotEnd:
		l.take(now, c, f.Place, f)
	case Ack:
		l.acked(now, c, f)
	case Resync:
		l.asked(f)
	case Note:
		if l.notes.isNew(f) {
			l.do(DeliverNote{f.Kind, f.Payload})
		}
	case Ping:
		c.pong = &Pong{f.Stamp}
	case Pong:
		if rtt := l.since(now) - f.Echo; rtt >= 0 {
			c.rtt = rtt
		}
	case UnknownFrame:
		l.count.UnknownFrames++
	}
}

// Next returns the next frame to be sent over a connection, if there is one. The caller
// fetches when the connection takes something; what it has fetched and could not send
// is repeated after the connection's end.
func (l *Link) Next(now time.Time, id ConnID) (Frame, bool) {
	c := l.conn(id)
	if c == nil || c.closing {
		return nil, false
	}
	f := l.next(now, c)
	if f == nil {
		return nil, false
	}
	c.said = now
	return f, true
}

func (l *Link) next(now time.Time, c *linkConn) Frame {
	switch {
	case !c.helloSent:
		c.helloSent = true
		return l.ourHello()
	case !c.ready:
		return nil
	case c.pong != nil:
		f := *c.pong
		c.pong = nil
		return f
	case c.toldAck < l.in.ackSeq:
		c.toldAck = l.in.ackSeq
		return Ack{l.in.ackSeq, l.in.ackEcho}
	case l.in.asking && c.toldAsk < l.in.askID:
		c.toldAsk = l.in.askID
		return Resync{l.in.askID}
	case c.pingDue:
		c.pingDue = false
		return Ping{l.since(now)}
	}
	if f, ok := l.notes.next(&c.toldNotes); ok {
		return f
	}
	return l.nextItem(now, c)
}
