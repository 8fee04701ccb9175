package syncd

import (
	"fmt"
	"iter"
	"net/netip"
)

// VirtualServer is what a connection belongs to, as far as messages tell it. If its packets
// had a firewall mark it is the mark's, with the family, whatever its addresses; otherwise
// it is that of its protocol and virtual address. A virtual server of port 0 has as many as
// there are ports with connections, and one of its templates: digests can be added. So has
// one whose packets somebody marks for another purpose.
type VirtualServer struct {
	Protocol Protocol
	Addr     netip.AddrPort
	FWMark   uint32
	IPv6     bool // with FWMark
}

// String returns "TCP 10.0.0.100:80", "fwmark 10" or "fwmark 10 IPv6".
func (v VirtualServer) String() string {
	switch {
	case v.FWMark == 0:
		return fmt.Sprintf("%s %s", v.Protocol, v.Addr)
	case v.IPv6:
		return fmt.Sprintf("fwmark %d IPv6", v.FWMark)
	}
	return fmt.Sprintf("fwmark %d", v.FWMark)
}

func serverOf(c Conn) VirtualServer {
	if c.FWMark != 0 {
		return VirtualServer{FWMark: c.FWMark, IPv6: !c.Client.Addr().Is4()}
	}
	return VirtualServer{Protocol: c.Protocol, Addr: c.Virtual}
}

// Digest says which connections a virtual server has, in a few bytes: two directors have
// the same ones if their digests are equal, and others if they are not, but for one case in
// 2^64.
//
// It covers what tells connections and templates apart, and their real servers: what decides
// whether a client's connection goes on after a failover. It does not cover states,
// timeouts, flags and sequence numbers. These differ on directors that both have it right:
// a kernel sets flags of its own when it is told of a connection, and tells a change of state
// when it likes. Nor does it depend on an order. What has expired counts until
// [Table.Expire]: directors that compare should do that before.
type Digest struct {
	Conns, Templates int
	// Sum is the sum of a number for each connection and template, worked out in the
	// same way by all directors.
	Sum uint64
}

// Add returns the digest of the connections of both, which have none in common.
func (d Digest) Add(o Digest) Digest {
	return Digest{d.Conns + o.Conns, d.Templates + o.Templates, d.Sum + o.Sum}
}

// sub is the inverse of Add.
func (d Digest) sub(o Digest) Digest {
	return Digest{d.Conns - o.Conns, d.Templates - o.Templates, d.Sum - o.Sum}
}

// Digest returns a virtual server's digest.
func (t *Table) Digest(v VirtualServer) Digest {
	if i, ok := t.tallies.places[v]; ok {
		return t.tallies.all[i].Digest
	}
	return Digest{}
}

// Changed returns the digests that may have changed since the last call, in no order. One
// of a virtual server that has nothing left is zero.
func (t *Table) Changed() []ServerDigest {
	changed := make([]ServerDigest, 0, len(t.tallies.changed))
	for v := range t.tallies.changed {
		changed = append(changed, ServerDigest{v, t.Digest(v)})
		if i, ok := t.tallies.places[v]; ok {
			t.tallies.all[i].changed = false
		}
	}
	clear(t.tallies.changed)
	return changed
}

// Digests yields the virtual servers that have connections or templates, in no order.
func (t *Table) Digests() iter.Seq2[VirtualServer, Digest] {
	return func(yield func(VirtualServer, Digest) bool) {
		for v, i := range t.tallies.places {
			if !yield(v, t.tallies.all[i].Digest) {
				return
			}
		}
	}
}

// tallies are the digests. An entry knows the place of its own, so that a message about a
// known connection needs no search.
type tallies struct {
	places  map[VirtualServer]uint32
	all     []tally
	free    []uint32
	changed map[VirtualServer]bool // since somebody has asked
}

type tally struct {
	server VirtualServer
	Digest
	changed bool // it is in tallies.changed
}

func newTallies() tallies {
	return tallies{places: make(map[VirtualServer]uint32), changed: make(map[VirtualServer]bool)}
}

// join adds a connection and returns its tally's place.
func (ts *tallies) join(v VirtualServer, sum uint64, kind uint8) uint32 {
	i, ok := ts.places[v]
	if !ok {
		if n := len(ts.free); n > 0 {
			i = ts.free[n-1]
			ts.free = ts.free[:n-1]
		} else {
			i = uint32(len(ts.all))
			ts.all = append(ts.all, tally{})
		}
		ts.places[v] = i
		ts.all[i] = tally{server: v}
	}
	ts.all[i].add(sum, kind, 1)
	ts.note(i)
	return i
}

// leave takes a connection away, and its tally if it was the last.
func (ts *tallies) leave(i uint32, sum uint64, kind uint8) {
	d := &ts.all[i]
	d.add(-sum, kind, -1)
	ts.note(i)
	if d.Conns+d.Templates == 0 {
		delete(ts.places, d.server)
		ts.free = append(ts.free, i)
	}
}

// note notes that a tally has changed.
func (ts *tallies) note(i uint32) {
	if d := &ts.all[i]; !d.changed {
		d.changed = true
		ts.changed[d.server] = true
	}
}

func (d *Digest) add(sum uint64, kind uint8, n int) {
	d.Sum += sum
	if kind&kindTemplate != 0 {
		d.Templates += n
	} else {
		d.Conns += n
	}
}

// mix makes a number of two that depends on all bits of both. It must remain as it is:
// directors of different versions compare sums. The constants are those of the finalizer of
// MurmurHash3.
func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 // so that zeros count
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
