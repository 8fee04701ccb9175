package ipvs

import (
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
// firewall mark and family.
type ServiceKey struct {
	Protocol Protocol       // 0 with FWMark
	Addr     netip.AddrPort // port 0 with persistence means every port; invalid with FWMark
	FWMark   uint32         // 0: none
	IPv6     bool           // the family of a firewall mark service; otherwise Addr's
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

// Service is a virtual service without its destinations.
type Service struct {
	Key       ServiceKey
	Scheduler string
	Flags     ServiceFlags
	// Persistence is the persistence timeout in whole seconds; it counts only
	// with FlagPersistent.
	Persistence time.Duration
	// PersistenceBits is the length of the client mask that persistence groups
	// by: 32 or 128 for single clients.
	PersistenceBits int
	// Engine is the persistence engine ("sip"), empty for none.
	Engine string
}
