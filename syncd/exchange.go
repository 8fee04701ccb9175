package syncd

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Exchange keeps a director's shadow table in step with its kernel and its peers, as a
// machine: what the kernel's master daemon tells goes into the table and to every peer;
// what peers tell goes into the table and, as an Injection, to the kernel's backup daemon;
// a peer that lacks something is read the table.
//
// What it returns is to be told to the peers' Links in this order, and before what later
// calls return. An Exchange is used by one goroutine.
type Exchange struct {
	table *Table
	peers map[string]*exchangePeer
	// tellers is the last number that was given.
	tellers uint16
	serves  func(Conn) bool
	jobs    []Injection // what the kernel is yet to be told, in order
	// again is how far the table was read for a kernel that is told everything again.
	again   Cursor
	missing map[key]int // lists that did not have it one after the other: see Compare
	count   ExchangeCounters
	one     []Living
}

// exchangePeer is what is known of a peer.
type exchangePeer struct {
	// run is the peer's, and teller the number of what it has told in this run: what an
	// earlier one has told it may have forgotten. Each snapshot of its begins a round.
	run    uint64
	teller Teller
	// snapshot is the number of the last reading of the table for it, walk where that is.
	snapshot uint64
	walk     Cursor
}

// ExchangeCounters count records since the Exchange was made.
type ExchangeCounters struct {
	Captured  uint64 // told by the kernel's master daemon
	Learned   uint64 // read in the kernel's table, and told by nobody, or too long ago
	Delivered uint64 // told by peers
	Malformed uint64 // of these, what no kernel would take
	Kept      uint64 // of these, what this director's kernel knows better
	Missing   uint64 // known here and found missing in the kernel
}

// Tell is an event for the Link of a peer.
type Tell struct {
	Peer  string // empty: for each of them
	Event LinkEvent
}

// Injection is what the kernel's backup daemon is to be told: all at once, or in parts in
// this order. There may be nothing in it.
type Injection struct {
	Conns []Conn

	peer     string // empty: nobody waits for it
	run, seq uint64
}

// NewExchange returns an Exchange with an empty table for at most limit connections.
func NewExchange(limit int) *Exchange {
	return &Exchange{
		table: NewTable(limit), peers: make(map[string]*exchangePeer),
		serves: func(Conn) bool { return false }, again: Cursor{done: true},
	}
}

// Serve says which connections' packets come to this director, as the Master of their
// addresses: its kernel knows them better than what a peer remembers of them.
func (x *Exchange) Serve(serves func(Conn) bool) { x.serves = serves }

// Captured takes in what the kernel's master daemon has told.
// Each connection is in the table before the next one is asked for.
func (x *Exchange) Captured(now time.Time, conns iter.Seq[Conn]) []Tell {
	return changes(func(yield func(Conn) bool) {
		for c := range conns {
			x.count.Captured++
			x.table.Observe(now, c, 0)
			if !yield(c) {
				return
			}
		}
	})
}

// Knows tells whether a connection is in the table.
func (x *Exchange) Knows(now time.Time, c Conn) bool { return x.table.Has(now, c) }

// changes packs connections into what frames can carry. A connection that no kernel would
// take is left out.
func changes(conns iter.Seq[Conn]) []Tell {
	var tells []Tell
	var payload []byte
	n := 0
	done := func() {
		if n > 0 {
			tells = append(tells, Tell{Event: Change{Count: n, Payload: slices.Clip(payload)}})
		}
		payload, n = nil, 0
	}
	for c := range conns {
		if len(payload)+maxRecord > MaxPayload {
			done()
		}
		if longer, err := AppendConn(payload, c); err == nil {
			payload = longer
			n++
		}
	}
	done()
	return tells
}

// Do carries out what a peer's Link asks for: Deliver and ReadSnapshot. Anything else is
// the caller's.
func (x *Exchange) Do(now time.Time, peer string, a LinkAction) []Tell {
	switch a := a.(type) {
	case Deliver:
		x.deliver(now, peer, a)
	case ReadSnapshot:
		return []Tell{{peer, x.read(now, peer, a)}}
	}
	return nil
}

// deliver takes in what a peer has sent.
func (x *Exchange) deliver(now time.Time, peer string, a Deliver) {
	job := Injection{peer: peer, run: a.Run}
	p := x.peer(peer, a.Run)
	switch f := a.Frame.(type) {
	case Records:
		job.seq = f.Seq
		job.Conns = x.records(f.Payload, func(b []byte) (Conn, []byte, error) {
			c, rest, err := ParseConn(b)
			if err == nil {
				x.table.Observe(now, c, x.teller(p, c))
			}
			return c, rest, err
		})
	case SnapshotChunk:
		job.seq = f.Seq
		job.Conns = x.records(f.Payload, func(b []byte) (Conn, []byte, error) {
			l, rest, err := parseLiving(b)
			if err == nil && x.serves(l.Conn) && x.table.Has(now, l.Conn) {
				x.count.Kept++
				return Conn{}, rest, errKept
			}
			if err == nil {
				x.table.Restore(now, l, p.teller)
			}
			return l.Resync(), rest, err
		})
	case SnapshotBegin:
		job.seq = f.Seq
		p.teller = p.teller.Anew()
	case SnapshotEnd:
		job.seq = f.Seq
		// What it does not have any more it has not told in this round: a change that
		// nobody was told has ended it.
		x.table.Forget(now, p.teller, x.serves)
	}
	x.count.Delivered += uint64(len(job.Conns))
	x.jobs = append(x.jobs, job)
}

// teller returns who is to count as the teller of a change. What this director serves remains
// its own kernel's, and so in what a peer is read, whose message was on its way when this director
// became Master.
func (x *Exchange) teller(p *exchangePeer, c Conn) Teller {
	if was, ok := x.table.TellerOf(c); ok && was == 0 && x.serves(c) {
		return 0
	}
	return p.teller
}

// errKept is of a record that changes nothing.
var errKept = errors.New("kept")

// records reads what is in a payload, up to where nobody knows how to go on.
func (x *Exchange) records(payload []byte, parse func([]byte) (Conn, []byte, error)) (conns []Conn) {
	for len(payload) > 0 {
		c, rest, err := parse(payload)
		switch {
		case err == nil:
			conns = append(conns, c)
		case errors.Is(err, errKept):
		case errors.Is(err, ErrNotTaken):
			x.count.Malformed++
		default:
			x.count.Malformed++
			return conns
		}
		payload = rest
	}
	return conns
}

// livingHeader is what precedes a connection's record in a snapshot: the milliseconds that
// remain of its time.
const livingHeader = 4

func appendLiving(b []byte, l Living) ([]byte, error) {
	const most = 1<<32 - 1
	ms := min(max(l.Remaining.Milliseconds(), 0), most)
	longer, err := AppendConn(binary.BigEndian.AppendUint32(b, uint32(ms)), l.Conn)
	if err != nil {
		return b, err
	}
	return longer, nil
}

func parseLiving(b []byte) (l Living, rest []byte, err error) {
	if len(b) < livingHeader {
		return Living{}, nil, fmt.Errorf("%w: %d bytes where a connection begins", ErrMalformed, len(b))
	}
	l.Remaining = time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
	l.Conn, rest, err = ParseConn(b[livingHeader:])
	return l, rest, err
}

// peer returns what is known of a peer in a run.
func (x *Exchange) peer(name string, run uint64) *exchangePeer {
	p := x.peers[name]
	if p == nil {
		p = new(exchangePeer)
		x.peers[name] = p
	}
	if p.run != run {
		if x.tellers++; Teller(x.tellers) == nobody {
			x.tellers = 1
		}
		*p = exchangePeer{run: run, teller: Teller(x.tellers)}
	}
	return p
}

// read reads the next part of the table for a peer, but for what it has told itself: that it
// knows better, and its kernel would take what is old for new.
func (x *Exchange) read(now time.Time, peer string, a ReadSnapshot) LinkEvent {
	p := x.peer(peer, a.Run)
	if p.snapshot != a.Snapshot {
		p.snapshot, p.walk = a.Snapshot, Without(p.teller)
	}
	var payload []byte
	n := 0
	const most = livingHeader + maxRecord
	for room := max(min(a.Max, MaxPayload), most); !p.walk.Done() && len(payload)+most <= room; {
		x.one, p.walk = x.table.Chunk(now, p.walk, x.one[:0], 1)
		for _, l := range x.one {
			if longer, err := appendLiving(payload, l); err == nil {
				payload = longer
				n++
			}
		}
	}
	if n > 0 {
		return SnapshotPart{Snapshot: a.Snapshot, Count: n, Payload: payload}
	}
	return SnapshotDone{Snapshot: a.Snapshot}
}

// NextInjection returns what the kernel is to be told next, if there is something.
func (x *Exchange) NextInjection(now time.Time) (Injection, bool) {
	if len(x.jobs) > 0 {
		job := x.jobs[0]
		x.jobs[0] = Injection{} // or what it has stays as long as what is behind it
		x.jobs = x.jobs[1:]
		return job, true
	}
	for !x.again.Done() {
		var job Injection
		x.one, x.again = x.table.Chunk(now, x.again, x.one[:0], reinjected)
		for _, l := range x.one {
			if !x.serves(l.Conn) {
				job.Conns = append(job.Conns, l.Resync())
			}
		}
		if len(job.Conns) > 0 {
			return job, true
		}
	}
	return Injection{}, false
}

// reinjected is how much of the table is told again in one Injection.
const reinjected = 1024

// Injected says that the kernel was told, or that there is none that could be.
func (x *Exchange) Injected(job Injection) []Tell {
	if job.peer == "" {
		return nil
	}
	return []Tell{{job.peer, Injected{job.run, job.seq}}}
}

// Reinject has the kernel told again all that peers have told: it may lack some of it,
// or be another daemon's. What it serves itself it knows.
func (x *Exchange) Reinject() { x.again = Told() }

// Reinjecting tells whether some of that is still to come.
func (x *Exchange) Reinjecting() bool { return !x.again.Done() }

// StopReinjecting gives it up.
func (x *Exchange) StopReinjecting() { x.again = Cursor{done: true} }

// Expire forgets the connections whose time is over.
func (x *Exchange) Expire(now time.Time) { x.table.Expire(now) }

// ServerDigest is the digest of one virtual server.
type ServerDigest struct {
	VirtualServer
	Digest
}

// Digests returns what the table has of each virtual server, in order.
func (x *Exchange) Digests() []ServerDigest {
	var all []ServerDigest
	for v, d := range x.table.Digests() {
		all = append(all, ServerDigest{v, d})
	}
	slices.SortFunc(all, func(a, b ServerDigest) int { return compareServers(a.VirtualServer, b.VirtualServer) })
	return all
}

// Changed returns those that may have changed since the last call, in no order, with zero
// for a virtual server that has none left.
func (x *Exchange) Changed() []ServerDigest { return x.table.Changed() }

func compareServers(a, b VirtualServer) int {
	family := func(v VirtualServer) int {
		if v.IPv6 {
			return 6
		}
		return 4
	}
	return cmp.Or(cmp.Compare(a.FWMark, b.FWMark), cmp.Compare(a.Protocol, b.Protocol), a.Addr.Compare(b.Addr),
		cmp.Compare(family(a), family(b)))
}

// Counts returns what has come of what the table was told, and where that came from.
func (x *Exchange) Counts() (Counts, ExchangeCounters) { return x.table.Counts(), x.count }
