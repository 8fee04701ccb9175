package syncd

import (
	"encoding/binary"
	"time"
)

// Table is the shadow table: the connections and templates that sync messages told of, as
// long as they live. It holds what a director's kernel has of them, and reading it
// costs the kernel nothing: /proc/net/ip_vs_conn takes time that grows with the square of
// the number of connections.
//
// A connection is what it is in the kernel (ip_vs_conn_in_get, ip_vs_ct_in_get): protocol,
// client, virtual address, and whether it is a template; of a template with a
// persistence engine also the engine's data. It lives for its timeout from the last message
// about it. The kernel counts from the last packet, which a message follows only now and then
// (sysctl sync_threshold, sync_refresh_period): what the table forgets early, a backup daemon
// with the same messages forgets as early.
//
// A table belongs to one goroutine.
type Table struct {
	limit int
	began time.Time // of the first call; expiry counts from here

	// index finds an entry's slot. engines is that of templates with an engine, whose
	// keys have no fixed length and are few.
	index   map[key]uint32
	engines map[engineKey]uint32

	// Entries stay in their slots, so that walks find them: see Chunk. Slots are in
	// blocks, so that nothing is copied when there are more.
	blocks [][]entry
	slots  uint32   // that were ever in use
	free   []uint32 // of these, those that are not
	// extras is what few entries have.
	extras map[uint32]extra

	queue   queue
	tallies tallies
	counts  Counts
}

// Counts are what a table has and what became of what it was told.
type Counts struct {
	Conns     int // connections in the table
	Templates int // templates in it
	// Expired counts those whose time was over, Evicted those that others took the place
	// of when the table was full, Refused new ones that found no place.
	Expired, Evicted, Refused uint64
	// Ignored counts what changed nothing: the end of a connection that another has
	// replaced, and what no kernel would take.
	Ignored uint64
}

// MaxTable is the highest limit of a table.
const MaxTable = 1 << slotBits

// NewTable returns an empty table for at most limit connections and templates, of which
// each takes up to 200 bytes.
//
// In a full table a new connection takes the place of the one that expires soonest, if
// it lives longer itself. That one is mostly closing, and would be the first to go in any
// case. To refuse new ones instead would keep tens of thousands that are in TIME_WAIT, and let
// none in that has just been established.
func NewTable(limit int) *Table {
	return &Table{
		limit:   min(max(limit, 1), MaxTable),
		index:   make(map[key]uint32),
		engines: make(map[engineKey]uint32),
		extras:  make(map[uint32]extra),
		tallies: newTallies(),
	}
}

// Teller is who has told a connection: 0 is this director's kernel. Other tellers have a
// number from 1 to 65534, and what each has told is of a round: see [Teller.Anew].
type Teller uint32

// nobody has told what a teller told once and does not know any more.
const nobody Teller = 1<<16 - 1

func (t Teller) who() uint16 { return uint16(t) }

// Anew returns the teller in its next round, in which it tells everything again.
func (t Teller) Anew() Teller { return t + 1<<16 }

// key is what tells connections apart.
type key struct {
	client, virtual         [16]byte // IPv4 in IPv6's form
	clientPort, virtualPort uint16
	protocol                Protocol
	kind                    uint8
}

// What key.kind consists of.
const (
	kindTemplate = 1 << iota
	kindInet6
)

type engineKey struct {
	key
	engine, data string
}

// entry is a connection in the table. It has no pointers, which the garbage collector
// would follow.
type entry struct {
	key
	real     [16]byte
	realPort uint16
	flags    Flags
	fwmark   uint32
	tally    uint32 // place in tallies
	place    uint32 // place in the queue
	expires  uint64 // milliseconds since Table.began
	timeout  uint32 // seconds, as it was told
	state    State
	teller   Teller
	used     bool
	hasExtra bool
}

type extra struct {
	sequences    Sequences
	engine, data string
}

const blockLen = 1024

func (t *Table) at(slot uint32) *entry { return &t.blocks[slot/blockLen][slot%blockLen] }

func keyOf(c Conn) key {
	k := key{
		client: c.Client.Addr().As16(), virtual: c.Virtual.Addr().As16(),
		clientPort: c.Client.Port(), virtualPort: c.Virtual.Port(), protocol: c.Protocol,
	}
	if c.Template() {
		k.kind |= kindTemplate
	}
	if !c.Client.Addr().Is4() {
		k.kind |= kindInet6
	}
	return k
}

// find returns the slot of a connection.
func (t *Table) find(k key, c Conn) (uint32, bool) {
	if c.Template() && c.Engine != "" {
		slot, ok := t.engines[engineKey{k, c.Engine, c.EngineData}]
		return slot, ok
	}
	slot, ok := t.index[k]
	return slot, ok
}

// Observe enters what a message told, and reports whether it is in the table now. The newest
// message about a connection is what counts. Where it names another real server than the one
// before, the kernel has a new connection with the addresses of the old one; a message
// that such a connection is no longer active is about the old one, and ignored
// (ip_vs_proc_conn). A backup daemon keeps the real server of a template that it has;
// the table has what the sender has.
//
// The teller is who told it.
func (t *Table) Observe(now time.Time, c Conn, teller Teller) bool {
	return t.enter(now, Living{c, c.lifetime()}, teller, true)
}

// Restore is Observe for what another director's table had.
func (t *Table) Restore(now time.Time, l Living, teller Teller) bool {
	return t.enter(now, l, teller, true)
}

// Seed enters a connection that is known from elsewhere, such as a listing that took a
// while, unless messages have told of it.
func (t *Table) Seed(now time.Time, l Living) bool { return t.enter(now, l, 0, false) }

// Has tells whether a connection is in the table and has not expired.
func (t *Table) Has(now time.Time, c Conn) bool {
	slot, ok := t.find(keyOf(c), c)
	return ok && t.at(slot).expires > t.clock(now)
}

// TellerOf returns who has told a connection last.
func (t *Table) TellerOf(c Conn) (Teller, bool) {
	slot, ok := t.find(keyOf(c), c)
	if !ok {
		return 0, false
	}
	return t.at(slot).teller, true
}

// Forget ends what a teller has told last in another round than this one. Expire removes it.
// What the caller keeps is nobody's from now on, so that every peer is read it.
func (t *Table) Forget(now time.Time, teller Teller, keep func(Conn) bool) {
	ms := t.clock(now)
	for slot := range t.slots {
		e := t.at(slot)
		if !e.used || e.expires <= ms || e.teller == teller || e.teller.who() != teller.who() {
			continue
		}
		if keep(e.living(t.extraOf(slot), ms).Conn) {
			e.teller = nobody
		} else {
			t.queue.set(t, slot, ms)
		}
	}
}

func (t *Table) enter(now time.Time, l Living, teller Teller, newest bool) bool {
	c := l.Conn
	if c.check() != nil {
		t.counts.Ignored++
		return false
	}
	ms := t.clock(now)
	expires := later(ms, l.Remaining)
	k := keyOf(c)
	slot, known := t.find(k, c)
	if !known {
		var ok bool
		if slot, ok = t.place(ms, expires); !ok {
			return false
		}
		t.add(slot, k, c, expires)
		t.at(slot).teller = teller
		return true
	}
	e := t.at(slot)
	other := e.real != c.Real.Addr().As16() || e.realPort != c.Real.Port()
	switch {
	case e.expires <= ms:
		t.counts.Expired++ // it is a new one
	case !newest:
		return true
	case other && !c.Template() && c.Flags&FlagInactive != 0:
		t.counts.Ignored++
		return true
	}
	if other || e.fwmark != c.FWMark {
		x := t.extraOf(slot)
		t.tallies.leave(e.tally, e.sum(x), e.kind)
		t.fill(slot, c)
		e.tally = t.tallies.join(serverOf(c), e.sum(x), e.kind)
	} else {
		t.fill(slot, c)
	}
	e.teller = teller
	t.queue.set(t, slot, expires)
	return true
}

// add makes an entry of a free slot.
func (t *Table) add(slot uint32, k key, c Conn, expires uint64) {
	e := t.at(slot)
	e.key, e.used = k, true
	t.fill(slot, c)
	e.tally = t.tallies.join(serverOf(c), e.sum(t.extraOf(slot)), k.kind)
	t.queue.push(t, slot, expires)
	t.count(k.kind, 1)
	if c.Template() && c.Engine != "" {
		t.engines[engineKey{k, c.Engine, c.EngineData}] = slot
	} else {
		t.index[k] = slot
	}
}

// fill writes what messages can change.
func (t *Table) fill(slot uint32, c Conn) {
	e := t.at(slot)
	e.real, e.realPort = c.Real.Addr().As16(), c.Real.Port()
	e.flags, e.fwmark, e.state, e.timeout = c.Flags, c.FWMark, c.State, wireSeconds(c.Timeout)
	x := extra{c.Sequences, c.Engine, c.EngineData}
	switch {
	case x != extra{}:
		t.extras[slot], e.hasExtra = x, true
	case e.hasExtra:
		delete(t.extras, slot)
		e.hasExtra = false
	}
}

func (t *Table) extraOf(slot uint32) extra {
	if !t.at(slot).hasExtra {
		return extra{}
	}
	return t.extras[slot]
}

// place returns a slot for a new entry that expires at a time.
func (t *Table) place(ms, expires uint64) (uint32, bool) {
	if t.Len() == t.limit {
		soonest := t.queue.soonest(t)
		switch e := t.at(soonest); {
		case e.expires <= ms:
			t.counts.Expired++
		case e.expires < expires:
			t.counts.Evicted++
		default:
			t.counts.Refused++
			return 0, false
		}
		t.removeSoonest(soonest)
	}
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot, true
	}
	slot := t.slots
	if slot%blockLen == 0 {
		t.blocks = append(t.blocks, make([]entry, blockLen))
	}
	t.slots++
	return slot, true
}

// removeSoonest removes the entry at the head of the queue.
func (t *Table) removeSoonest(slot uint32) {
	e := t.at(slot)
	x := t.extraOf(slot)
	t.tallies.leave(e.tally, e.sum(x), e.kind)
	t.queue.pop(t)
	t.count(e.kind, -1)
	if e.kind&kindTemplate != 0 && x.engine != "" {
		delete(t.engines, engineKey{e.key, x.engine, x.data})
	} else {
		delete(t.index, e.key)
	}
	delete(t.extras, slot)
	*e = entry{}
	t.free = append(t.free, slot)
}

func (t *Table) count(kind uint8, n int) {
	if kind&kindTemplate != 0 {
		t.counts.Templates += n
	} else {
		t.counts.Conns += n
	}
}

// Expire forgets the connections whose time is over and returns their number.
func (t *Table) Expire(now time.Time) int {
	ms := t.clock(now)
	n := 0
	for t.Len() > 0 {
		slot := t.queue.soonest(t)
		if t.at(slot).expires > ms {
			break
		}
		t.removeSoonest(slot)
		n++
	}
	t.counts.Expired += uint64(n)
	return n
}

// Len returns the number of connections and templates.
func (t *Table) Len() int { return t.counts.Conns + t.counts.Templates }

// Counts returns what the table has and what became of the rest, as of the last call.
func (t *Table) Counts() Counts { return t.counts }

// sum is what an entry adds to its virtual server's digest.
func (e *entry) sum(x extra) uint64 {
	h := uint64(0)
	for _, a := range []*[16]byte{&e.client, &e.virtual, &e.real} {
		h = mix(mix(h, binary.BigEndian.Uint64(a[:8])), binary.BigEndian.Uint64(a[8:]))
	}
	h = mix(h, uint64(e.clientPort)<<48|uint64(e.virtualPort)<<32|uint64(e.realPort)<<16|uint64(e.protocol)<<8|uint64(e.kind))
	if e.kind&kindTemplate != 0 {
		for _, s := range []string{x.engine, x.data} {
			for i := range len(s) {
				h = mix(h, uint64(s[i]))
			}
		}
	}
	return h
}
