package syncd

import (
	"cmp"
	"slices"
	"time"
)

// sendHalf is what a Link sends and what has become of it.
type sendHalf struct {
	last  uint64 // the highest number given; numbers are never given twice
	acked uint64 // the highest number acknowledged
	// items are what is not acknowledged, by number. Numbers that were given up before
	// they were sent are missing.
	items  []item
	bytes  int // of the payloads in items
	window int // what the peer takes in; 0: not known yet
	flight int // bytes that it may have before it

	progress time.Time // the last acknowledgement, or when flight was empty
	lag      time.Duration
	answered uint64 // the last ask that was heeded

	// A full resync: wanted, then being read, then on its way up to endSeq.
	wanted   bool
	reading  bool
	snapshot uint64 // number of the snapshot being read, or of the last one
	awaits   bool   // the next part was asked for
	total    uint64 // records in it until now
	endSeq   uint64 // 0: none on its way
	catchUp  uint64 // what a new connection found unacknowledged

	state    LinkState
	since    time.Time
	lastFull time.Time
}

// item is a numbered frame that the peer has not acknowledged.
type item struct {
	Place
	kind    frameKind
	count   int
	payload []byte // records, or the digest
	total   uint64 // of a snapshot's end
	size    int    // what it takes of the peer's window

	sent     bool // at least once
	inFlight bool // the peer may have it before it
	gone     bool // given up: it is here because the peer may have it before it
}

func (i *item) frame() Frame {
	switch i.kind {
	case kindRecords:
		return Records{i.Place, uint32(i.count), i.payload}
	case kindSnapshotBegin:
		return SnapshotBegin{i.Place}
	case kindSnapshotChunk:
		return SnapshotChunk{i.Place, uint32(i.count), i.payload}
	}
	return SnapshotEnd{i.Place, i.total, i.payload}
}

// frameOverhead is what a numbered frame takes beside its payload, at least.
const frameOverhead = 32

// position finds the first item with this number or a later one.
func (s *sendHalf) position(seq uint64) int {
	i, _ := slices.BinarySearchFunc(s.items, seq, func(i item, seq uint64) int { return cmp.Compare(i.Seq, seq) })
	return i
}

// push queues a frame.
func (l *Link) push(now time.Time, i item) {
	s := &l.out
	s.last++
	i.Place = Place{s.last, l.since(now)}
	i.size = len(i.payload) + frameOverhead
	s.items = append(s.items, i)
	s.bytes += len(i.payload)
}

// change queues what the peer is to know.
func (l *Link) change(now time.Time, ev Change) {
	s := &l.out
	switch {
	case ev.Count <= 0 || len(ev.Payload) == 0 || len(ev.Payload) > MaxPayload:
		l.drop(dropTooLong, ev.Count)
		return
	case s.wanted:
		l.drop(dropCovered, ev.Count) // it will be in the snapshot
		return
	}
	if n := len(s.items); n > 0 {
		tail := &s.items[n-1]
		if tail.kind == kindRecords && !tail.sent && !tail.gone && len(tail.payload)+len(ev.Payload) <= l.o.BatchBytes &&
			s.bytes+len(ev.Payload) <= l.o.QueueBytes {
			tail.payload = append(slices.Clip(tail.payload), ev.Payload...)
			tail.count += ev.Count
			tail.size += len(ev.Payload)
			s.bytes += len(ev.Payload)
			return
		}
	}
	if s.bytes+len(ev.Payload) > l.o.QueueBytes || len(s.items) >= l.o.QueueFrames {
		l.startOver(dropOverflow)
		l.drop(dropCovered, ev.Count)
		return
	}
	l.push(now, item{kind: kindRecords, count: ev.Count, payload: ev.Payload})
}

// startOver gives up what is queued for a full resync.
func (l *Link) startOver(why DropReason) {
	s := &l.out
	kept := s.items[:0]
	for _, i := range s.items {
		if why != dropNone && i.kind == kindRecords && !i.gone {
			l.drop(why, i.count)
		}
		if i.inFlight {
			i.gone, i.payload = true, nil
			kept = append(kept, i)
		}
	}
	clear(s.items[len(kept):])
	s.items, s.bytes = kept, 0
	s.wanted, s.reading, s.awaits, s.endSeq, s.catchUp = true, false, false, 0, 0
}

// goOn decides what a new connection begins with, by what the peer has seen.
func (l *Link) goOn(now time.Time, c *linkConn, f Hello) {
	s := &l.out
	s.window = max(int(f.Window), MaxFrame)
	first := l.ready() == 1
	if first { // what other connections had on their way is lost
		s.flight, s.progress = 0, now
		for i := range s.items {
			it := &s.items[i]
			it.inFlight = it.inFlight && f.SeenRun == l.o.Run && it.Seq <= f.Seen
			if it.inFlight {
				s.flight += it.size
			}
		}
		s.items = slices.DeleteFunc(s.items, func(i item) bool { return i.gone && !i.inFlight })
	}
	if s.wanted {
		c.cursor = s.last + 1
		return
	}
	begin := slices.IndexFunc(s.items, func(i item) bool { return i.kind == kindSnapshotBegin && !i.gone })
	known := f.SeenRun == l.o.Run && f.Seen >= s.acked && f.Seen <= s.last
	switch {
	case known:
		c.cursor = f.Seen + 1
	case begin >= 0:
		c.cursor = s.items[begin].Seq
	default:
		l.startOver(dropNone)
		c.cursor = s.last + 1
		return
	}
	if first {
		s.catchUp = s.last
	}
}

// asked heeds the peer's wish for a full resync.
func (l *Link) asked(f Resync) {
	if f.ID > l.out.answered {
		l.out.answered = f.ID
		l.startOver(dropNone)
	}
}

// advance begins a full resync that is wanted, and asks for the next part of one when
// there is room: live changes always find the other half of the queue.
func (l *Link) advance(now time.Time) {
	s := &l.out
	if l.ready() == 0 {
		return
	}
	room := s.bytes < l.o.QueueBytes/2 && len(s.items) < l.o.QueueFrames/2
	if s.wanted && room {
		s.wanted, s.reading, s.awaits, s.total = false, true, false, 0
		s.snapshot++
		l.count.SnapshotsBegun++
		l.push(now, item{kind: kindSnapshotBegin})
	}
	if s.reading && !s.awaits && room {
		s.awaits = true
		l.do(ReadSnapshot{l.peerRun, s.snapshot, min(l.o.BatchBytes, MaxPayload)})
	}
}

func (l *Link) snapshotPart(now time.Time, ev SnapshotPart) {
	s := &l.out
	if !s.reading || ev.Snapshot != s.snapshot {
		return // of one that was given up
	}
	s.awaits = false
	if ev.Count <= 0 || len(ev.Payload) == 0 || len(ev.Payload) > MaxPayload {
		l.drop(dropTooLong, ev.Count)
		return
	}
	s.total += uint64(ev.Count)
	l.push(now, item{kind: kindSnapshotChunk, count: ev.Count, payload: ev.Payload})
}

func (l *Link) snapshotDone(now time.Time, ev SnapshotDone) {
	s := &l.out
	if !s.reading || ev.Snapshot != s.snapshot {
		return
	}
	s.reading, s.awaits = false, false
	l.push(now, item{kind: kindSnapshotEnd, total: s.total, payload: ev.Digest[:min(len(ev.Digest), MaxDigest)]})
	s.endSeq = s.last
}

// nextItem is the next numbered frame for a connection, if the peer takes it in.
func (l *Link) nextItem(now time.Time, c *linkConn) Frame {
	s := &l.out
	for n := s.position(c.cursor); n < len(s.items); n++ {
		it := &s.items[n]
		if it.gone {
			continue
		}
		if !it.inFlight {
			if s.flight > 0 && s.flight+it.size > s.window {
				return nil
			}
			if s.flight == 0 {
				s.progress = now
			}
			it.inFlight = true
			s.flight += it.size
			if it.sent {
				l.count.ResentFrames++
				l.count.ResentRecords += uint64(it.count)
			} else {
				l.count.SentFrames++
				l.count.SentRecords += uint64(it.count)
			}
			it.sent = true
		}
		c.cursor = it.Seq + 1
		return it.frame()
	}
	return nil
}

// acked takes in how far the peer has come.
func (l *Link) acked(now time.Time, c *linkConn, f Ack) {
	s := &l.out
	if f.Seq > s.last {
		l.close(c, ClosedProtocol, "it acknowledges what was never sent", true)
		return
	}
	if f.Seq <= s.acked {
		return
	}
	n := s.position(f.Seq + 1)
	for _, i := range s.items[:n] {
		s.bytes -= len(i.payload)
		if i.inFlight {
			s.flight -= i.size
		}
		if !i.gone {
			l.count.AckedFrames++
			l.count.AckedRecords += uint64(i.count)
		}
	}
	s.items = slices.Delete(s.items, 0, n)
	s.acked, s.progress = f.Seq, now
	if lag := l.since(now) - f.Echo; lag >= 0 {
		s.lag = lag
	}
	if s.endSeq != 0 && f.Seq >= s.endSeq {
		s.endSeq, s.lastFull = 0, now
		l.count.SnapshotsSent++
	}
}

func (l *Link) sendDeadlines(at func(time.Time)) {
	if l.out.flight > 0 {
		at(l.out.progress.Add(l.o.StallAfter))
	}
}

// sendTick ends connections over which nothing is acknowledged any more. New ones find
// out how far the peer has come.
func (l *Link) sendTick(now time.Time) {
	if l.out.flight == 0 || !late(now, l.out.progress.Add(l.o.StallAfter)) {
		return
	}
	for _, c := range l.conns {
		if c.ready {
			l.close(c, ClosedStalled, "it has acknowledged nothing for "+l.o.StallAfter.String(), true)
		}
	}
}

// sendState is the sending direction's state.
func (l *Link) sendState() LinkState {
	s := &l.out
	switch {
	case l.ready() == 0:
		return LinkConnecting
	case s.wanted || s.reading || s.endSeq != 0 || s.acked < s.catchUp:
		return LinkResyncing
	}
	return LinkInSync
}
