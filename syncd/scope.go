package syncd

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Scope is what peers are told of the connections of a virtual server.
type Scope uint8

// The scopes. The zero value is the kernel's own.
const (
	// ScopeAll: everything that the kernel tells of.
	ScopeAll Scope = iota
	// ScopeEstablished: persistence templates, and connections of TCP and SCTP from when
	// they are established to their end.
	ScopeEstablished
	// ScopeTemplates: persistence templates alone. A client comes to the same real server
	// after a failover, with a new connection.
	ScopeTemplates
	// ScopeOff: nothing.
	ScopeOff
)

var scopeNames = [...]string{ScopeAll: "all", ScopeEstablished: "established", ScopeTemplates: "templates", ScopeOff: "off"}

// String returns "all", "established", "templates" or "off".
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope-%d", uint8(s))
}

// ScopeRule gives the connections of one service a scope. The service is one of a protocol,
// address and port, or of a firewall mark in one family.
type ScopeRule struct {
	Protocol Protocol       // counts only without FWMark
	Virtual  netip.AddrPort // port 0: every port that has no service of its own
	FWMark   uint32         // 0: none
	IPv6     bool           // the family of a firewall mark
	Scope    Scope
}

// Marks are the firewall marks First to Last, both included.
type Marks struct{ First, Last uint32 }

// Scopes tells what peers are told of. Nobody writes to it after [NewScopes], so that
// goroutines may share it. With the zero value everything passes but the tick flow.
type Scopes struct {
	services map[scopeService]Scope
	marks    map[scopeMark]Scope
	off      []Marks
}

type scopeService struct {
	protocol Protocol
	virtual  netip.AddrPort
}

type scopeMark struct {
	mark uint32
	six  bool
}

// NewScopes returns the scopes of services. Connections whose firewall mark is among off are
// never told, whatever the rules say: they are a director's own probes.
func NewScopes(rules []ScopeRule, off ...Marks) Scopes {
	s := Scopes{services: make(map[scopeService]Scope), marks: make(map[scopeMark]Scope), off: off}
	for _, r := range rules {
		if r.FWMark != 0 {
			s.marks[scopeMark{r.FWMark, r.IPv6}] = r.Scope
		} else {
			s.services[scopeService{r.Protocol, netip.AddrPortFrom(r.Virtual.Addr().Unmap(), r.Virtual.Port())}] = r.Scope
		}
	}
	return s
}

// Equal tells whether both say the same.
func (s Scopes) Equal(o Scopes) bool {
	return maps.Equal(s.services, o.services) && maps.Equal(s.marks, o.marks) && slices.Equal(s.off, o.off)
}

// Passes tells whether peers are told of a connection that the kernel told of. known, which
// is asked only when it matters, tells whether they have been told of it already: its end
// is for those who know its beginning.
//
// A connection that belongs to no service of the rules passes: the kernel's own
// synchronisation makes no difference between this program's services and others'.
//
// It takes no lock and allocates nothing, for it is asked of every record.
func (s Scopes) Passes(c Conn, known func(Conn) bool) bool {
	if c.Virtual == TickService {
		return false
	}
	mark := c.mark()
	for _, m := range s.off {
		if m.First <= mark && mark <= m.Last {
			return false
		}
	}
	switch s.of(c, mark) {
	case ScopeOff:
		return false
	case ScopeTemplates:
		return c.Template()
	case ScopeEstablished:
		return c.Template() || c.established() || c.hasStates() && known(c)
	}
	return true
}

// of returns the scope of a connection's service. It looks in the order of the kernel
// (ip_vs_service_find): by the mark, by the port, for FTP's, and for that of every port.
func (s Scopes) of(c Conn, mark uint32) Scope {
	if mark != 0 {
		if scope, ok := s.marks[scopeMark{mark, c.Virtual.Addr().Is6()}]; ok {
			return scope
		}
	}
	if scope, ok := s.services[scopeService{c.Protocol, c.Virtual}]; ok {
		return scope
	}
	if c.mayBeFTP() {
		if scope, ok := s.services[scopeService{c.Protocol, netip.AddrPortFrom(c.Virtual.Addr(), ftpPort)}]; ok {
			return scope
		}
	}
	return s.services[scopeService{c.Protocol, netip.AddrPortFrom(c.Virtual.Addr(), 0)}]
}

const (
	ftpPort     = 21
	ftpDataPort = 20
	// freePort is the first that a passive server chooses from (ip_unprivileged_port_start).
	freePort = 1024
)

// mayBeFTP tells whether c, if no other service has it, belongs to the one of FTP: as a
// data connection, or as a template, which the kernel makes without the port so that it
// is one for the data connections too (ip_vs_sched_persist).
func (c Conn) mayBeFTP() bool {
	port := c.Virtual.Port()
	return c.Protocol == ProtocolTCP && (port == ftpDataPort || port >= freePort) || c.Template() && port == 0
}

// mark returns the firewall mark of c. A template of a mark has it in the virtual address,
// whatever it is a template of (ip_vs_sched_persist).
func (c Conn) mark() uint32 {
	if c.Protocol != ProtocolIP || !c.Template() {
		return c.FWMark
	}
	if c.Virtual.Addr().Is4() {
		a := c.Virtual.Addr().As4()
		return binary.BigEndian.Uint32(a[:])
	}
	a := c.Virtual.Addr().As16()
	return binary.BigEndian.Uint32(a[:])
}

// hasStates tells whether c is a connection that is established and ended.
func (c Conn) hasStates() bool { return c.Protocol == ProtocolTCP || c.Protocol == ProtocolSCTP }

func (c Conn) established() bool {
	return c.Protocol == ProtocolTCP && c.State == StateTCPEstablished ||
		c.Protocol == ProtocolSCTP && c.State == StateSCTPEstablished
}
