package ipvs

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

// Protocol is an IP protocol number as IPVS uses it.
type Protocol uint8

// The protocols IPVS balances. A firewall mark service has none.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// String returns "tcp", "udp" or "sctp", and "fwmark" for none.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	case 0:
		return "fwmark"
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// ServiceKey identifies a service in the kernel: protocol, address and port, or a
// firewall mark and family. It is a map key, so its form must be unique: build it
// with [AddrKey] or [FWMarkKey].
type ServiceKey struct {
	Protocol Protocol       // 0 with FWMark
	Addr     netip.AddrPort // port 0 with persistence means every port; invalid with FWMark
	FWMark   uint32         // 0: none
	IPv6     bool           // the family of a firewall mark service; false otherwise
}

// AddrKey is the key of the service at an address and port. An IPv4 address mapped
// into IPv6 is the IPv4 address.
func AddrKey(p Protocol, addr netip.AddrPort) ServiceKey {
	return ServiceKey{Protocol: p, Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
}

// FWMarkKey is the key of the service for packets of one family with a firewall
// mark. The mark is not 0.
func FWMarkKey(mark uint32, ipv6 bool) ServiceKey {
	return ServiceKey{FWMark: mark, IPv6: ipv6}
}

// Is6 reports whether the service is for IPv6 clients.
func (k ServiceKey) Is6() bool {
	if k.FWMark != 0 {
		return k.IPv6
	}
	return k.Addr.Addr().Is6()
}

// Compare orders keys by their values: addresses before marks, IPv4 before IPv6, then
// protocol, address and port. [Listing.Sort] has the order in which ipvsadm lists them.
func (k ServiceKey) Compare(o ServiceKey) int {
	return cmp.Or(
		cmp.Compare(k.FWMark, o.FWMark),
		compareBool(k.Is6(), o.Is6()),
		cmp.Compare(k.Protocol, o.Protocol),
		k.Addr.Compare(o.Addr),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// ServiceFlags are the kernel's service flags (IP_VS_SVC_F_*, linux/ip_vs.h)
// without those that the kernel sets itself.
type ServiceFlags uint32

// The service flags.
const (
	FlagPersistent ServiceFlags = 0x1
	FlagOnePacket  ServiceFlags = 0x4
	FlagSched1     ServiceFlags = 0x8  // sh-fallback, mh-fallback
	FlagSched2     ServiceFlags = 0x10 // sh-port, mh-port
	FlagSched3     ServiceFlags = 0x20
)

// flagHashed is IP_VS_SVC_F_HASHED, the flag that the kernel sets itself.
const flagHashed ServiceFlags = 0x2

// OddPersistenceMask is the PersistenceBits of a service whose client mask is no
// prefix of at least one bit: the kernel takes any IPv4 mask. OddMask has it then.
const OddPersistenceMask = -1

// Service is a virtual service without its destinations.
type Service struct {
	Key       ServiceKey
	Scheduler string
	Flags     ServiceFlags
	// Persistence is the persistence timeout in whole seconds; it counts only
	// with FlagPersistent.
	Persistence time.Duration
	// PersistenceBits is the length of the client mask that persistence groups
	// by: 32 or 128, or simply 0, for single clients. It counts only with
	// FlagPersistent.
	PersistenceBits int
	// OddMask is the client mask if PersistenceBits is [OddPersistenceMask].
	OddMask [4]byte
	// Engine is the persistence engine ("sip"), empty for none.
	Engine string
}

// Canonical returns s without the values that have no effect, and with the length
// of the client mask spelled out. Two services do the same if their canonical
// forms are equal.
func (s Service) Canonical() Service {
	s.Flags &^= flagHashed
	if s.Flags&FlagPersistent == 0 {
		s.Persistence, s.PersistenceBits, s.OddMask = 0, 0, [4]byte{}
		return s
	}
	if s.PersistenceBits != OddPersistenceMask {
		s.OddMask = [4]byte{}
	}
	s.Persistence = s.Persistence.Truncate(time.Second)
	if s.PersistenceBits == 0 {
		s.PersistenceBits = s.clientBits()
	}
	return s
}

// clientBits is the length of the mask that keeps clients apart.
func (s Service) clientBits() int {
	if s.Key.Is6() {
		return 128
	}
	return 32
}

// RefusesAtZero tells whether the service's scheduler refuses clients for the sake of a
// real server of weight 0: dh, and sh without its fallback, give it its share of the hash
// table all the same, and then do not look further (ip_vs_dh.c, ip_vs_sh.c).
func (s Service) RefusesAtZero() bool {
	return s.Scheduler == "dh" || s.Scheduler == "sh" && s.Flags&FlagSched1 == 0
}
