package syncd

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	simSeed      = flag.Uint64("link.seed", 0, "play this schedule of TestLinksAgree alone, and say what happens")
	simSchedules = flag.Uint64("link.schedules", 6, "how many schedules TestLinksAgree plays")
)

// TestLinksAgree plays two directors with random changes over connections that are cut,
// doubled, late, and noticed at one end only, with restarts, lost changes and queues that
// overflow; in every third schedule frames are also lost, doubled and exchanged within a
// connection, which TCP does not do. It asks after every step: is the memory bounded, is
// no record older than the one it replaces, and does the peer have everything when a
// sender says so? In the end both have everything of each other.
func TestLinksAgree(t *testing.T) {
	if *simSeed != 0 {
		newSim(t, *simSeed).play()
		return
	}
	var all LinkCounters
	for seed := range *simSchedules {
		s := newSim(t, seed+1)
		s.play()
		for _, n := range s.nodes {
			all.ResentFrames += n.sum.ResentFrames
			all.SnapshotsReceived += n.sum.SnapshotsReceived
			all.ResyncsAsked += n.sum.ResyncsAsked
			all.Dropped = added(all.Dropped, n.sum.Dropped)
		}
		if t.Failed() {
			t.Fatalf("play it alone: go test ./syncd -run TestLinksAgree -v -link.seed=%d", seed+1)
		}
	}
	// A schedule in which nothing happens proves nothing.
	if all.ResentFrames == 0 || all.SnapshotsReceived == 0 || all.ResyncsAsked == 0 || len(all.Dropped) != 5 {
		t.Errorf("something never happened: %+v", all)
	}
}

type sim struct {
	t     *testing.T
	seed  uint64
	rand  *rand.Rand
	start time.Time
	now   time.Time
	nodes [2]*simNode
	conns []*simConn
	ids   ConnID
	lossy bool // frames are lost within connections
	loud  bool
}

// simNode is a director: its Link, what it has and what it knows of the peer.
type simNode struct {
	s        *sim
	n        int
	link     *Link
	table    map[uint16]uint32 // ours
	received map[uint16]uint32 // the peer's
	inject   []Deliver
	snapshot uint64
	keys     []uint16 // that the snapshot has yet to read
	notes    map[uint8]string
	sum      LinkCounters // of all its links
	value    uint32
}

// simConn is a connection with a pipe from each end.
type simConn struct {
	id    ConnID
	up    [2]bool // noticed at this end
	cut   bool
	pipes [2][]simFrame // from this end
}

type simFrame struct {
	due  time.Time
	wire []byte
}

const (
	simWindow     = MaxFrame // the least
	simQueueBytes = 160 << 10
	simFrames     = 48
	simRecord     = 700 // bytes
	simPipe       = 40 << 10
)

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), start: time.Unix(0, 0), lossy: seed%3 == 0, loud: *simSeed != 0}
	s.now = s.start
	for i := range s.nodes {
		s.nodes[i] = &simNode{s: s, n: i, table: make(map[uint16]uint32), notes: make(map[uint8]string)}
		s.nodes[i].restart()
	}
	return s
}

func (s *sim) logf(format string, args ...any) {
	if s.loud {
		s.t.Logf("%v %s", s.now.Sub(s.start), fmt.Sprintf(format, args...))
	}
}

func (s *sim) failf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("seed %d at %v: %s", s.seed, s.now.Sub(s.start), fmt.Sprintf(format, args...))
}

// restart gives the node another run. What was received is lost with the kernel's table.
func (n *simNode) restart() {
	n.addUp()
	names := []string{"lb-a", "lb-b"}
	n.link = NewLink(n.s.now, LinkOptions{
		Self: names[n.n], Peer: names[1-n.n], Run: n.s.rand.Uint64() | 1,
		QueueBytes: simQueueBytes, QueueFrames: simFrames, Window: simWindow, BatchBytes: 8 << 10,
		AskEvery: 2 * time.Second, StallAfter: 5 * time.Second,
	})
	n.received, n.inject, n.snapshot, n.keys = make(map[uint16]uint32), nil, 0, nil
	for kind, text := range n.notes {
		n.handle(SetNote{kind, []byte(text)})
	}
}

func (n *simNode) addUp() {
	if n.link == nil {
		return
	}
	c := n.link.Status(n.s.now).Counters
	n.sum.ResentFrames += c.ResentFrames
	n.sum.SnapshotsReceived += c.SnapshotsReceived
	n.sum.ResyncsAsked += c.ResyncsAsked
	n.sum.Dropped = added(n.sum.Dropped, c.Dropped)
}

func added(sum, more map[DropReason]uint64) map[DropReason]uint64 {
	sum = maps.Clone(sum)
	if sum == nil {
		sum = make(map[DropReason]uint64)
	}
	for why, n := range more {
		sum[why] += n
	}
	return sum
}

func simPayload(key uint16, value uint32) []byte {
	b := make([]byte, simRecord)
	binary.BigEndian.PutUint16(b, key)
	binary.BigEndian.PutUint32(b[2:], value)
	return b
}

func (n *simNode) handle(ev LinkEvent) {
	for _, a := range n.link.Handle(n.s.now, ev) {
		switch a := a.(type) {
		case Deliver:
			n.inject = append(n.inject, a)
		case DeliverNote:
			n.notes[100+a.Kind] = string(a.Payload)
		case ReadSnapshot:
			n.read(a)
		case CloseConn:
			n.s.logf("%d closes %d: %s: %s", n.n, a.ID, a.Reason, a.Text)
			if !n.s.lossy && a.Reason != ClosedReplaced && a.Reason != ClosedSilent && a.Reason != ClosedStalled {
				n.s.failf("node %d closes an honest connection: %s: %s", n.n, a.Reason, a.Text)
			}
			for _, c := range n.s.conns {
				if c.id == a.ID {
					n.s.cut(c)
				}
			}
		case StateChanged:
			n.s.logf("%d %+v", n.n, a)
		}
	}
}

// read reads a part of a snapshot. The node is one goroutine, so what it reads is as new
// as the changes that came before.
func (n *simNode) read(a ReadSnapshot) {
	if a.Snapshot != n.snapshot {
		n.snapshot, n.keys = a.Snapshot, slices.Sorted(maps.Keys(n.table))
	}
	var part []byte
	count := 0
	for len(n.keys) > 0 && len(part)+simRecord <= a.Max {
		part = append(part, simPayload(n.keys[0], n.table[n.keys[0]])...)
		n.keys = n.keys[1:]
		count++
	}
	if count == 0 {
		n.handle(SnapshotDone{a.Snapshot, nil})
		return
	}
	n.handle(SnapshotPart{a.Snapshot, count, part})
}

func (n *simNode) injectOne() {
	d := n.inject[0]
	n.inject = n.inject[1:]
	var payload []byte
	var seq uint64
	switch f := d.Frame.(type) {
	case Records:
		payload, seq = f.Payload, f.Seq
	case SnapshotChunk:
		payload, seq = f.Payload, f.Seq
	case SnapshotBegin:
		seq = f.Seq
	case SnapshotEnd:
		seq = f.Seq
	}
	for b := range slices.Chunk(payload, simRecord) {
		key, value := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		if value < n.received[key] {
			n.s.failf("node %d: record %d of %d goes back from %d to %d", n.n, key, seq, n.received[key], value)
		}
		n.received[key] = value
	}
	n.handle(Injected{d.Run, seq})
}

func (n *simNode) change(lost bool) {
	n.value++
	key := uint16(n.s.rand.IntN(200))
	n.table[key] = n.value
	if !lost {
		n.handle(Change{1, simPayload(key, n.value)})
	}
}

func (s *sim) connect() {
	s.ids++
	s.conns = append(s.conns, &simConn{id: s.ids, up: [2]bool{true, true}})
	s.logf("connection %d", s.ids)
	for _, n := range s.nodes {
		n.handle(ConnUp{s.ids})
	}
}

// cut loses what is on its way. Each end notices in its own time.
func (s *sim) cut(c *simConn) {
	if !c.cut {
		s.logf("cut %d", c.id)
	}
	c.cut = true
	// Some of it may have arrived and not been read.
	for i := range c.pipes {
		if n := len(c.pipes[i]); n > 0 {
			c.pipes[i] = c.pipes[i][:s.rand.IntN(n+1)]
		}
	}
}

func (s *sim) step(faults bool) {
	s.now = s.now.Add(time.Duration(s.rand.IntN(20_000)) * time.Microsecond)
	if faults {
		s.fault()
	}
	for _, n := range s.nodes {
		for range s.rand.IntN(4) {
			n.change(false)
		}
		if t, armed := n.link.Deadline(); armed && !s.now.Before(t) {
			n.handle(Tick{})
		}
	}
	for _, c := range slices.Clone(s.conns) {
		for end := range s.nodes {
			s.send(c, end)
			s.receive(c, end)
		}
		for end, n := range s.nodes {
			if c.cut && c.up[end] && len(c.pipes[1-end]) == 0 && (!faults || s.rand.IntN(10) == 0) {
				c.up[end] = false
				n.handle(ConnDown{c.id})
			}
		}
	}
	s.conns = slices.DeleteFunc(s.conns, func(c *simConn) bool { return !c.up[0] && !c.up[1] })
	for _, n := range s.nodes {
		for range s.rand.IntN(6) {
			if len(n.inject) > 0 {
				n.injectOne()
			}
		}
	}
	s.check()
}

// send fetches what a connection takes.
func (s *sim) send(c *simConn, end int) {
	for room := simPipe; c.up[end]; {
		for _, f := range c.pipes[end] {
			room -= len(f.wire)
		}
		if room <= 0 {
			return
		}
		f, ok := s.nodes[end].link.Next(s.now, c.id)
		if !ok {
			return
		}
		if c.cut {
			continue // into the void
		}
		due := s.now.Add(time.Duration(s.rand.IntN(5_000)) * time.Microsecond)
		wire := AppendFrame(nil, f)
		_, hello := f.(Hello)
		_, begin := f.(SnapshotBegin)
		_, note := f.(Note) // nothing would bring it again before the next connection
		if s.lossy && !hello && !begin && !note {
			switch s.rand.IntN(300) {
			case 0:
				continue
			case 1:
				c.pipes[end] = append(c.pipes[end], simFrame{due, wire})
			case 2:
				if n := len(c.pipes[end]); n > 1 {
					c.pipes[end][n-1], wire = simFrame{due, wire}, c.pipes[end][n-1].wire
				}
			}
		}
		c.pipes[end] = append(c.pipes[end], simFrame{due, wire})
	}
}

// receive takes what has arrived from an end.
func (s *sim) receive(c *simConn, end int) {
	for c.up[1-end] && len(c.pipes[end]) > 0 && !c.pipes[end][0].due.After(s.now) {
		wire := c.pipes[end][0].wire
		c.pipes[end] = c.pipes[end][1:]
		f, err := ReadFrame(bytes.NewReader(wire), MaxFrame)
		if err != nil {
			s.failf("a frame of our own is refused: %v", err)
			return
		}
		s.nodes[1-end].handle(FrameReceived{c.id, f})
	}
	if !c.up[1-end] {
		c.pipes[end] = nil
	}
}

func (s *sim) fault() {
	n := s.nodes[s.rand.IntN(2)]
	switch s.rand.IntN(60) {
	case 0, 1, 2, 3:
		if len(s.conns) < 3 {
			s.connect()
		}
	case 4, 5:
		if len(s.conns) > 0 {
			s.cut(s.conns[s.rand.IntN(len(s.conns))])
		}
	case 6:
		for range 400 { // more than the queue holds
			n.change(false)
		}
	case 7:
		if s.rand.IntN(4) == 0 {
			s.logf("restart %d", n.n)
			for _, c := range s.conns {
				s.cut(c)
				c.up[n.n] = false
				c.pipes[1-n.n] = nil
			}
			n.restart()
		}
	case 8:
		if s.rand.IntN(4) == 0 {
			s.logf("%d loses a change", n.n)
			n.change(true)
			n.handle(ChangesLost{})
		}
	case 9:
		if s.rand.IntN(8) == 0 {
			s.logf("%d wants a resync", n.n)
			n.handle(WantResync{})
		}
	case 10:
		kind := uint8(s.rand.IntN(3))
		n.notes[kind] = fmt.Sprint(s.rand.IntN(1000))
		n.handle(SetNote{kind, []byte(n.notes[kind])})
	case 11:
		s.now = s.now.Add(time.Duration(s.rand.IntN(2)) * 700 * time.Millisecond)
	}
}

func (s *sim) check() {
	for i, n := range s.nodes {
		bytes := 0
		for _, it := range n.link.out.items {
			bytes += len(it.payload)
		}
		if bytes != n.link.out.bytes || bytes > simQueueBytes || len(n.link.out.items) > simFrames+2 {
			s.failf("node %d: the queue holds %d bytes (counted: %d) in %d frames", i, bytes, n.link.out.bytes, len(n.link.out.items))
		}
		held := 0
		for _, p := range n.link.in.pending {
			held += p.size
		}
		if held != n.link.in.bytes || held > 2*simWindow+MaxFrame {
			s.failf("node %d: holds %d bytes (counted: %d) that were received", i, held, n.link.in.bytes)
		}
		flight := 0
		for _, it := range n.link.out.items {
			if it.inFlight {
				flight += it.size
			}
		}
		if flight != n.link.out.flight || flight > simWindow {
			s.failf("node %d: %d bytes on their way (counted: %d)", i, flight, n.link.out.flight)
		}
		peer := s.nodes[1-i]
		if st := n.link.Status(s.now); st.Send.State == LinkInSync && st.Send.QueuedFrames == 0 && st.PeerRun == peer.link.o.Run &&
			!maps.Equal(n.table, peer.received) {
			s.failf("node %d says that the peer has everything, and it has not: %d of %d records", i, len(peer.received), len(n.table))
		}
	}
}

// quiet tells whether both have everything of each other and know it.
func (s *sim) quiet() bool {
	for i, n := range s.nodes {
		st := n.link.Status(s.now)
		peer := s.nodes[1-i]
		if st.Send.State != LinkInSync || st.Receive.State != LinkInSync || st.Send.QueuedFrames != 0 || !maps.Equal(n.table, peer.received) {
			return false
		}
		for kind := range uint8(3) {
			if n.notes[kind] != peer.notes[100+kind] {
				return false
			}
		}
	}
	return true
}

func (s *sim) play() {
	for range 3 {
		for range 250 {
			s.step(true)
			if s.t.Failed() {
				return
			}
		}
		// From here on nothing goes wrong any more, and nothing changes.
		lossy := s.lossy
		s.lossy = false
		for deadline := s.now.Add(30 * time.Second); !s.quiet(); {
			if !slices.ContainsFunc(s.conns, func(c *simConn) bool { return !c.cut }) {
				s.connect()
			}
			s.calm()
			if s.t.Failed() {
				return
			}
			if s.now.After(deadline) {
				s.failf("no agreement: %+v\n%+v", s.nodes[0].link.Status(s.now), s.nodes[1].link.Status(s.now))
				return
			}
		}
		s.lossy = lossy
		s.logf("agreement")
	}
	for _, n := range s.nodes {
		n.addUp()
	}
}

// calm is a step without changes.
func (s *sim) calm() {
	for _, n := range s.nodes {
		if t, armed := n.link.Deadline(); armed && !s.now.Before(t) {
			n.handle(Tick{})
		}
	}
	s.now = s.now.Add(5 * time.Millisecond)
	for _, c := range slices.Clone(s.conns) {
		for end := range s.nodes {
			s.send(c, end)
			s.receive(c, end)
		}
		for end, n := range s.nodes {
			if c.cut && c.up[end] && len(c.pipes[1-end]) == 0 {
				c.up[end] = false
				n.handle(ConnDown{c.id})
			}
		}
	}
	s.conns = slices.DeleteFunc(s.conns, func(c *simConn) bool { return !c.up[0] && !c.up[1] })
	for _, n := range s.nodes {
		if len(n.inject) > 0 {
			n.injectOne()
		}
	}
	s.check()
}
