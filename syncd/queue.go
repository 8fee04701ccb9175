package syncd

import "time"

// queue is a heap of a table's entries by when they expire. Most messages only put off
// the end of a connection. That moves nothing: an item's time may be earlier than its
// entry's, and is put right when it comes to the top.
type queue []uint64

// An item is a time in milliseconds above a slot.
const (
	slotBits = 24
	timeBits = 64 - slotBits // 34 years
	never    = 1<<timeBits - 1
)

func itemOf(expires uint64, slot uint32) uint64 { return expires<<slotBits | uint64(slot) }

func slotOf(item uint64) uint32 { return uint32(item & (1<<slotBits - 1)) }

// clock returns a time as whole milliseconds since the table's beginning, which is the
// time of the first call.
func (t *Table) clock(now time.Time) uint64 {
	if t.began.IsZero() {
		t.began = now
	}
	return uint64(max(now.Sub(t.began), 0) / time.Millisecond)
}

// later returns ms and a duration, rounded up to a millisecond and at most for ever.
func later(ms uint64, d time.Duration) uint64 {
	d = max(d, 0)
	n := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		n++
	}
	return min(ms+n, never)
}

// push adds an entry and sets when it expires.
func (q *queue) push(t *Table, slot uint32, expires uint64) {
	t.at(slot).expires = expires
	*q = append(*q, itemOf(expires, slot))
	q.up(t, len(*q)-1)
}

// set changes when an entry that is in the queue expires.
func (q *queue) set(t *Table, slot uint32, expires uint64) {
	e := t.at(slot)
	e.expires = expires
	if item := itemOf(expires, slot); item < (*q)[e.place] {
		(*q)[e.place] = item
		q.up(t, int(e.place))
	}
}

// soonest returns the entry that expires first. There is one at least.
func (q *queue) soonest(t *Table) uint32 {
	for {
		slot := slotOf((*q)[0])
		item := itemOf(t.at(slot).expires, slot)
		if item == (*q)[0] {
			return slot
		}
		(*q)[0] = item
		q.down(t, 0)
	}
}

// pop takes out the entry that soonest has returned: none leaves before its end but to make
// room, and then it is this one.
func (q *queue) pop(t *Table) {
	last := len(*q) - 1
	(*q)[0] = (*q)[last]
	*q = (*q)[:last]
	if last > 0 {
		q.down(t, 0)
	}
}

// up and down move the item at i to its place and tell the entries theirs.
func (q *queue) up(t *Table, i int) {
	h := *q
	item := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= item {
			break
		}
		h[i] = h[parent]
		t.at(slotOf(h[i])).place = uint32(i)
		i = parent
	}
	h[i] = item
	t.at(slotOf(item)).place = uint32(i)
}

func (q *queue) down(t *Table, i int) {
	h := *q
	item := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if item <= h[child] {
			break
		}
		h[i] = h[child]
		t.at(slotOf(h[i])).place = uint32(i)
		i = child
	}
	h[i] = item
	t.at(slotOf(item)).place = uint32(i)
}
