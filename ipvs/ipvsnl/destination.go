package ipvsnl

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// Attributes of a destination (IPVS_DEST_ATTR_*, linux/ip_vs.h).
const (
	destAddr     = 1
	destPort     = 2 // network order
	destForward  = 3
	destWeight   = 4
	destUpper    = 5
	destLower    = 6
	destActive   = 7
	destInactive = 8
	destPersist  = 9
	destAF       = 11 // since Linux 3.18
	destStats64  = 12
	destTunType  = 13
	destTunPort  = 14 // network order
	destTunFlags = 15
	forwardMask  = 0x7 // IP_VS_CONN_F_FWD_MASK
)

// packDestinationKey encodes what identifies a destination. The family goes with
// it: without, the kernel takes the service's, and makes an IPv4 address of the
// first four bytes of an IPv6 one.
func packDestinationKey(k ipvs.DestinationKey) []byte {
	return appendAttr(nil, attrDest, appendDestinationKey(nil, k))
}

func appendDestinationKey(b []byte, k ipvs.DestinationKey) []byte {
	addr := k.Addr().Unmap()
	b = appendAttr(b, destAddr, addr.AsSlice())
	b = appendPort(b, destPort, k.Port())
	return appendUint16(b, destAF, family(addr.Is6()))
}

// packDestination encodes a whole destination. The tunnel goes with every one: what
// a request leaves out, the kernel resets.
func packDestination(d ipvs.Destination) []byte {
	d = d.Canonical()
	b := appendDestinationKey(nil, d.Key)
	b = appendUint32(b, destForward, uint32(d.Forward))
	b = appendUint32(b, destWeight, d.Weight)
	b = appendUint32(b, destUpper, d.UpperThreshold)
	b = appendUint32(b, destLower, d.LowerThreshold)
	b = appendUint8(b, destTunType, uint8(d.Tunnel))
	b = appendPort(b, destTunPort, d.TunnelPort)
	b = appendUint16(b, destTunFlags, d.TunnelFlags)
	return appendAttr(nil, attrDest, b)
}

// listedDestination is a destination as the kernel lists it, its connection counts,
// and the attributes it came in.
type listedDestination struct {
	ipvs.Destination
	counts ipvs.Connections
	attrs  attrs
}

// unpackDestination decodes a message of a destination listing, without its
// genetlink header. A kernel that does not tell the family has only destinations of
// the service's.
func unpackDestination(b []byte, service ipvs.ServiceKey) (listedDestination, error) {
	top, err := parseAttrs(b)
	if err != nil {
		return listedDestination{}, err
	}
	as, err := top.nested(attrDest)
	if err != nil {
		return listedDestination{}, err
	}
	ipv6 := service.Is6()
	if af := as.uint16(destAF); af != 0 {
		ipv6 = af == unix.AF_INET6
	}
	addr, err := unpackAddr(as[destAddr], ipv6)
	if err != nil {
		return listedDestination{}, err
	}
	d := ipvs.Destination{
		Key:            netip.AddrPortFrom(addr.Unmap(), as.port(destPort)),
		Forward:        ipvs.ForwardMethod(as.uint32(destForward) & forwardMask),
		Weight:         as.uint32(destWeight),
		UpperThreshold: as.uint32(destUpper),
		LowerThreshold: as.uint32(destLower),
		Tunnel:         ipvs.TunnelType(as.uint8(destTunType)),
		TunnelPort:     as.port(destTunPort),
		TunnelFlags:    as.uint16(destTunFlags),
	}
	c := ipvs.Connections{
		Active:     as.uint32(destActive),
		Inactive:   as.uint32(destInactive),
		Persistent: as.uint32(destPersist),
	}
	return listedDestination{d.Canonical(), c, as}, nil
}
