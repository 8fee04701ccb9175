package syncd

import (
	"net/netip"
	"time"
)

// Living is a connection of a table with what remains of its time. Its Timeout is as it was
// told.
type Living struct {
	Conn
	Remaining time.Duration
}

// Resync returns the connection as a kernel is to be told that does not know it. A
// connection lives for what remains; it would otherwise live longer at its receiver's, and
// takes its timeout from the state with the next packet. A template keeps its whole timeout: the
// kernel renews it by no other time than the one that it was told, with each connection
// that the client opens, and its client would lose its real server too early.
func (l Living) Resync() Conn {
	c := l.Conn
	if !c.Template() {
		c.Timeout = l.Remaining
	}
	return c
}

// Cursor is a place in a walk through a table. The zero value is the beginning.
type Cursor struct {
	slot uint32
	skip uint16
	told bool
	done bool
}

// Told returns the beginning of a walk through what others have told than this director's
// kernel.
func Told() Cursor { return Cursor{told: true} }

// Without returns the beginning of a walk that leaves out what a teller, not 0, has told
// last.
func Without(teller Teller) Cursor { return Cursor{skip: teller.who()} }

// skips tells whether the walk leaves out what somebody has told.
func (c Cursor) skips(teller Teller) bool {
	return c.told && teller == 0 || c.skip != 0 && teller.who() == c.skip
}

// Done tells whether the walk is at its end.
func (c Cursor) Done() bool { return c.done }

// Chunk appends to found what the next n places of a walk hold, which is at most n
// connections, and returns where the walk goes on. Between two chunks the table may change. A
// connection that is in it from the first chunk to the last is in exactly one, as it is at
// that time. One that comes meanwhile may be left out: who walks has to pass on what
// messages tell since the walk began.
func (t *Table) Chunk(now time.Time, from Cursor, found []Living, n int) ([]Living, Cursor) {
	ms := t.clock(now)
	end := min(uint64(from.slot)+uint64(max(n, 1)), uint64(t.slots))
	for ; uint64(from.slot) < end; from.slot++ {
		if e := t.at(from.slot); e.used && e.expires > ms && !from.skips(e.teller) {
			found = append(found, e.living(t.extraOf(from.slot), ms))
		}
	}
	from.done = from.slot >= t.slots
	return found, from
}

// living returns the entry as it is at a time.
func (e *entry) living(x extra, ms uint64) Living {
	side := func(a [16]byte, port uint16) netip.AddrPort {
		addr := netip.AddrFrom16(a)
		if e.kind&kindInet6 == 0 {
			addr = addr.Unmap()
		}
		return netip.AddrPortFrom(addr, port)
	}
	c := Conn{
		Protocol: e.protocol,
		Client:   side(e.client, e.clientPort), Virtual: side(e.virtual, e.virtualPort), Real: side(e.real, e.realPort),
		FWMark: e.fwmark, Flags: e.flags, State: e.state,
		Timeout:   time.Duration(e.timeout) * time.Second,
		Sequences: x.sequences, Engine: x.engine, EngineData: x.data,
	}
	return Living{c, time.Duration(e.expires-ms) * time.Millisecond}
}
