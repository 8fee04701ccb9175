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
	inbox  Inbox
}

// ensure opens the socket if it is not open for what is asked for now, and tells
// whether the interface is another than before. The old one is closed first: two
// of the same virtual router cannot be open side by side.
func (s *socket) ensure(m *member, source netip.Addr) (replaced bool, err error) {
	replaced = s.index != 0 && s.index != m.port.link.Index
	var in vrrp.Instance
	in, m.unguarded = m.in.Guard(m.ownPrefixes(source))
	if s.conn != nil && !replaced && s.source == source && s.inbox == m.runner.inbox && s.in.SameTransport(in) {
		return false, nil
	}
	m.closeSocket()
	conn, err := m.opts.Open(in, source, m.runner.inbox)
	if err != nil {
		return replaced, fmt.Errorf("cannot open a socket on %s: %w", m.in.Link(), err)
	}
	*s = socket{conn: conn, index: m.port.link.Index, source: source, in: in, inbox: m.runner.inbox}
	return replaced, nil
}

// ownPrefixes are the interface's addresses without the virtual ones, which come and
// go with the state. An owner's source may be one of them.
func (m *member) ownPrefixes(source netip.Addr) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(m.port.base.Addrs), func(p netip.Prefix) bool {
		return p.Addr() != source && m.virtual[p.Addr()]
	})
}

// closeSocket closes the Conn, whose discards stay counted.
func (m *member) closeSocket() {
	if m.socket.conn == nil {
		return
	}
	m.note("close", m.socket.conn.Close())
	for reason, n := range m.socket.conn.Discarded() {
		m.addDiscarded(reason, n)
	}
	m.socket.conn = nil
}
