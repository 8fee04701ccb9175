package conf

import (
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// SyncMode is how connections travel between directors.
type SyncMode uint8

const (
	// SyncKernel: the kernels' sync daemons multicast them, to whom it may concern.
	SyncKernel SyncMode = iota
	// SyncRelay: over an encrypted stream between each two directors, which takes them
	// from the kernels' sync daemons and hands them over.
	SyncRelay
)

// syncModeNames are the values of mode.
var syncModeNames = []string{SyncKernel: "kernel", SyncRelay: "relay"}

// String returns "kernel" or "relay".
func (m SyncMode) String() string { return syncModeNames[m] }

var syncGrammar = grammar{keys: []string{"mode", "interface", "sync_id", "key_file", "port", "stream_port", "max_wait", "max_connections"}}

// sync reads [sync].
func (p *parser) sync(n *node, directors int) *Sync {
	if !p.table(n, syncGrammar) {
		return nil
	}
	s := &Sync{
		Mode:      p.syncMode(n),
		Interface: p.interfaceName(n.kid("interface")),
		SyncID:    uint8(p.integer(n.kid("sync_id"), 0, 0, 255)),
		KeyFile:   p.absolute(n.kid("key_file"), ""),
		Port:      uint16(p.integer(n.kid("port"), defaultSyncPort, 1, 65535)),
	}
	p.stream(n, s)
	if n.kid("key_file") == nil {
		p.warnf(n, "without a key_file the directors cannot see each other's configuration and readiness, and connections travel by the kernel's own multicast, unauthenticated")
	}
	if directors < 2 {
		p.warnf(n, "there is no second director to synchronise with")
	}
	return s
}

func (p *parser) syncMode(n *node) SyncMode {
	def := SyncKernel
	if n.kid("key_file") != nil {
		def = SyncRelay
	}
	mode := n.kid("mode")
	switch p.choice(mode, "a mode of [sync]", def.String(), syncModeNames, map[string]string{"multicast": "kernel", "stream": "relay"}) {
	case SyncKernel.String():
		return SyncKernel
	case SyncRelay.String():
		if n.kid("key_file") == nil {
			p.errorf(mode, "relay needs a key_file, by which the directors know each other: make one with \"hadirector keygen FILE\", and copy it to the others")
		}
		return SyncRelay
	}
	return def
}

// stream reads the keys of the stream between two directors, which only the relay has.
func (p *parser) stream(n *node, s *Sync) {
	port, wait, most := n.kid("stream_port"), n.kid("max_wait"), n.kid("max_connections")
	streamPort := uint16(p.integer(port, defaultStreamPort, 1, 65535))
	maxWait := p.duration(wait, defaultSyncWait, 0, maxSyncWait, time.Millisecond)
	connections := int(p.integer(most, defaultSyncConnections, 1, syncd.MaxTable))
	if s.Mode == SyncKernel {
		for _, k := range []*node{port, wait, most} {
			if k != nil {
				p.warnf(k, "%s", noRelay(n))
			}
		}
		return
	}
	s.StreamPort, s.MaxWait, s.MaxConnections = streamPort, maxWait, connections
	switch {
	case s.StreamPort != s.Port:
	case port != nil:
		p.errorf(port, "%d is already port: the membership and the stream of connections need one each", s.Port)
	default:
		p.errorf(n.kid("port"), "%d is already stream_port, by its default: the membership and the stream of connections need one each", s.Port)
	}
}

// noRelay says why a key of the relay does nothing. n is [sync].
func noRelay(n *node) string {
	switch {
	case n == nil:
		return "has no effect without [sync]"
	case n.kid("mode") != nil:
		return `has no effect with mode = "kernel"`
	}
	return `has no effect with mode = "kernel", the default of [sync] without a key_file`
}

// sync writes what parser.sync reads. In kernel mode the keys of the relay would do nothing.
func (w *writer) sync(s Sync) {
	w.table("sync")
	w.text("mode", s.Mode.String())
	if s.Interface != "" {
		w.text("interface", s.Interface)
	}
	w.integer("sync_id", int64(s.SyncID))
	if s.KeyFile != "" {
		w.text("key_file", s.KeyFile)
	}
	w.integer("port", int64(s.Port))
	if s.Mode == SyncRelay {
		w.integer("stream_port", int64(s.StreamPort))
		w.duration("max_wait", s.MaxWait)
		w.integer("max_connections", int64(s.MaxConnections))
	}
}

// maxSyncAddresses is our own: more than two networks between directors are rare.
const maxSyncAddresses = 4

// SyncLinks are the addresses where the other directors reach d for connection sync, one
// for each link that there is between two directors: those of sync_addresses, or else its
// address.
func (d Director) SyncLinks() []netip.Addr {
	if len(d.SyncAddresses) == 0 {
		return []netip.Addr{d.Address}
	}
	return d.SyncAddresses
}

// syncAddresses reads where a director is reached for connection sync. An address that is no
// good has its place in the list.
func (p *parser) syncAddresses(n *node) []netip.Addr {
	if n == nil || !p.array(n, `an array of addresses, such as ["10.1.0.11"]`) {
		return nil
	}
	if c := len(n.elems); c == 0 || c > maxSyncAddresses {
		p.errorf(n, "want 1 to %d addresses, one for each network between the directors, found %d", maxSyncAddresses, c)
		return nil
	}
	as := make([]netip.Addr, len(n.elems))
	for i, e := range n.elems {
		as[i] = p.address(e)
	}
	return as
}

// checkSyncAddresses reports lists that make no links: each place in them is one, between
// all directors.
func (p *parser) checkSyncAddresses(n *node, ds []Director) {
	type owner struct {
		name string
		sync bool
	}
	taken := map[netip.Addr]owner{}
	var first *Director
	for i, d := range ds {
		if d.Address.IsValid() {
			taken[d.Address] = owner{name: d.Name}
		}
		if first == nil && n.at(d.Name).kid("sync_addresses") != nil {
			first = &ds[i]
		}
	}
	if first == nil {
		return
	}
	for _, d := range ds {
		list := n.at(d.Name).kid("sync_addresses")
		if list == nil {
			p.required(n.at(d.Name), "sync_addresses", "as many addresses as "+first.Name+" has: each place in the list is one link between all directors")
			continue
		}
		if len(d.SyncAddresses) > 0 && len(first.SyncAddresses) > 0 && len(d.SyncAddresses) != len(first.SyncAddresses) {
			p.errorf(list, "want as many addresses as %s has, %d, found %d: each place in the list is one link between all directors",
				first.Name, len(first.SyncAddresses), len(d.SyncAddresses))
		}
		for i, a := range d.SyncAddresses {
			if !a.IsValid() {
				continue
			}
			e := list.elems[i]
			switch other, ok := taken[a]; {
			case ok && other.sync && other.name == d.Name:
				p.errorf(e, "%s is named twice", a)
			case ok && other.sync:
				p.errorf(e, "%s is already a sync address of %s", a, other.name)
			case ok && other.name != d.Name:
				p.errorf(e, "%s is already the address of %s", a, other.name)
			default:
				taken[a] = owner{d.Name, true}
			}
			if i < len(first.SyncAddresses) {
				if b := first.SyncAddresses[i]; b.IsValid() && a.Is4() != b.Is4() {
					p.errorf(e, "%s is %s, and %s has %s at this place: each place in the list is one link between all directors",
						a, family(a), first.Name, b)
				}
			}
		}
	}
}
