package syncd

import (
	"fmt"
	"time"
)

// receiveHalf is what a Link has received and what has become of it.
type receiveHalf struct {
	next     uint64 // the number that comes next
	awaiting bool   // nothing is taken in before a snapshot begins
	injected uint64 // everything up to this number has been dealt with
	pending  []held // delivered and not yet dealt with
	bytes    int    // of them

	ackSeq  uint64 // what is to be acknowledged now
	ackEcho time.Duration
	due     held      // what is to be acknowledged next
	lastAck time.Time // when ackSeq was last moved

	asking bool      // a full resync was asked for and has not begun
	askID  uint64    // number of our asks for a full resync
	askAt  time.Time // when to ask again; zero: not

	inSnapshot bool // between its begin and its end
	total      uint64
	endSeq     uint64 // of one whose end was received; 0: none
	catchUp    uint64 // up to where a new connection brings what was missed

	state    LinkState
	since    time.Time
	lastFull time.Time
}

// held is a frame that was delivered.
type held struct {
	Place
	size int
}

// restart forgets an earlier run of the peer. It begins with a snapshot by itself.
func (r *receiveHalf) restart(now time.Time, askEvery time.Duration) {
	*r = receiveHalf{
		awaiting: true, askID: r.askID, askAt: now.Add(askEvery), lastAck: r.lastAck,
		state: r.state, since: r.since, lastFull: r.lastFull,
	}
}

// take takes a numbered frame in.
func (l *Link) take(now time.Time, c *linkConn, p Place, f Frame) {
	r := &l.in
	count, size := 1, frameOverhead
	switch f := f.(type) {
	case Records:
		count, size = int(f.Count), len(f.Payload)+frameOverhead
	case SnapshotChunk:
		count, size = int(f.Count), len(f.Payload)+frameOverhead
	}
	_, begins := f.(SnapshotBegin)
	switch {
	case p.Seq < r.next:
		l.drop(dropDuplicate, count)
		return
	case r.bytes+size > 2*l.o.Window+MaxFrame:
		// Twice, because after a new connection the sender may not know of all that is
		// here.
		l.drop(dropWindow, count)
		l.close(c, ClosedProtocol, fmt.Sprintf("it sends more than the %d bytes that this director takes in", l.o.Window), true)
		return
	case begins:
		r.awaiting, r.asking, r.askAt, r.catchUp, r.endSeq = false, false, time.Time{}, 0, 0
		r.inSnapshot, r.total = true, 0
	case r.awaiting:
		l.drop(dropAwaiting, count)
		return
	case p.Seq > r.next:
		l.drop(dropGap, count)
		l.ask(now)
		return
	}
	switch f := f.(type) {
	case SnapshotChunk:
		r.total += uint64(f.Count)
	case SnapshotEnd:
		if !r.inSnapshot || f.Count != r.total {
			l.drop(dropGap, count)
			l.ask(now)
			return
		}
		r.inSnapshot, r.endSeq = false, p.Seq
	}
	r.next = p.Seq + 1
	r.pending = append(r.pending, held{p, size})
	r.bytes += size
	l.count.ReceivedFrames++
	if _, ok := f.(Records); ok {
		l.count.ReceivedRecords += uint64(count)
	}
	l.do(Deliver{l.peerRun, f})
}

// ask asks the peer for a full resync, and again until it begins.
func (l *Link) ask(now time.Time) {
	r := &l.in
	r.awaiting, r.asking, r.inSnapshot, r.endSeq = true, true, false, 0
	r.askID++
	r.askAt = now.Add(l.o.AskEvery)
	l.count.ResyncsAsked++
}

// injected takes in how far the caller has come, and settles when to acknowledge that:
// at once, but a little apart.
func (l *Link) injected(now time.Time, ev Injected) {
	r := &l.in
	if ev.Run != l.peerRun || ev.Seq <= r.injected {
		return
	}
	n := 0
	for n < len(r.pending) && r.pending[n].Seq <= ev.Seq {
		r.bytes -= r.pending[n].size
		r.due = r.pending[n]
		n++
	}
	if n == 0 {
		return
	}
	r.pending = append(r.pending[:0], r.pending[n:]...)
	r.injected = r.due.Seq
	if r.endSeq != 0 && r.injected >= r.endSeq {
		r.endSeq, r.lastFull = 0, now
		l.count.SnapshotsReceived++
	}
}

func (l *Link) receiveDeadlines(at func(time.Time)) {
	if l.in.due.Seq > l.in.ackSeq {
		at(l.in.lastAck.Add(l.o.AckDelay))
	}
	if l.in.awaiting && !l.in.askAt.IsZero() {
		at(l.in.askAt)
	}
}

func (l *Link) receiveTick(now time.Time) {
	r := &l.in
	if r.due.Seq > r.ackSeq && late(now, r.lastAck.Add(l.o.AckDelay)) {
		r.ackSeq, r.ackEcho, r.lastAck = r.due.Seq, r.due.Stamp, now
	}
	if r.awaiting && !r.askAt.IsZero() && late(now, r.askAt) {
		l.ask(now)
	}
}

// receiveState is the receiving direction's state.
func (l *Link) receiveState() LinkState {
	r := &l.in
	switch {
	case l.ready() == 0:
		return LinkConnecting
	case r.awaiting || r.inSnapshot || r.endSeq != 0 || r.injected < r.catchUp:
		return LinkResyncing
	}
	return LinkInSync
}
