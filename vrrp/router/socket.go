package router

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/vrrp"
)

// socket is a virtual router's Conn and what it was opened for.
type socket struct {
	conn   Conn // nil if not open
	index  int
	source netip.Addr
	in     vrrp.Instance
}

// ensure opens the socket if it is not open for what is asked for now, and tells
// whether the interface is another than before. The old one is closed first: two
// of the same virtual router cannot be open side by side.
func (s *socket) ensure(r *router, source netip.Addr) (replaced bool, err error) {
	replaced = s.index != 0 && s.index != r.link.Index
	var in vrrp.Instance
	in, r.unguarded = r.in.Guard(r.ownPrefixes(source))
	if s.conn != nil && !replaced && s.source == source && s.in.SameTransport(in) {
		return false, nil
	}
	r.closeSocket()
	conn, err := r.opts.Open(in, source, r.inbox)
	if err != nil {
		return replaced, fmt.Errorf("cannot open a socket on %s: %w", r.id.Interface, err)
	}
	*s = socket{conn: conn, index: r.link.Index, source: source, in: in}
	return replaced, nil
}

// ownPrefixes are the interface's addresses without the virtual ones, which come and
// go with the state. An owner's source may be one of them.
func (r *router) ownPrefixes(source netip.Addr) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(r.link.Addrs), func(p netip.Prefix) bool {
		return p.Addr() != source && slices.Contains(r.virtual, p.Addr())
	})
}

// closeSocket closes the Conn, whose discards stay counted.
func (r *router) closeSocket() {
	if r.socket.conn == nil {
		return
	}
	r.note("close", r.socket.conn.Close())
	for reason, n := range r.socket.conn.Discarded() {
		r.addDiscarded(reason, n)
	}
	r.socket.conn = nil
}

// trouble says in words for the operator why a link cannot be used, if it cannot.
func (l Link) trouble() string {
	switch {
	case l.Up:
		return ""
	case l.Why != "":
		return l.Why
	}
	return "link " + l.Name + " is down"
}
