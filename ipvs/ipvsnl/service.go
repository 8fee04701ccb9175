package ipvsnl

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// Attributes of a service (IPVS_SVC_ATTR_*, linux/ip_vs.h).
const (
	svcAF       = 1
	svcProtocol = 2
	svcAddr     = 3
	svcPort     = 4 // network order
	svcFWMark   = 5
	svcSched    = 6
	svcFlags    = 7 // struct ip_vs_flags
	svcTimeout  = 8 // seconds
	svcNetmask  = 9 // IPv4: network order; IPv6: the length, native
	svcPEName   = 11
	svcStats64  = 12
)

// flagHashed is IP_VS_SVC_F_HASHED, which the kernel adds to every service.
const flagHashed = 0x2

func family(ipv6 bool) uint16 {
	if ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// packServiceKey encodes what identifies a service, as the first level attribute.
func packServiceKey(k ipvs.ServiceKey) []byte {
	b := appendUint16(nil, svcAF, family(k.Is6()))
	if k.FWMark != 0 {
		b = appendUint32(b, svcFWMark, k.FWMark)
	} else {
		b = appendUint16(b, svcProtocol, uint16(k.Protocol))
		b = appendAttr(b, svcAddr, k.Addr.Addr().AsSlice())
		b = appendPort(b, svcPort, k.Addr.Port())
	}
	return appendAttr(nil, attrService, b)
}

// listedService is a service as the kernel lists it, and the attributes it came in.
type listedService struct {
	ipvs.Service
	attrs attrs
}

// unpackService decodes a message of a service listing, without its genetlink
// header.
func unpackService(b []byte) (listedService, error) {
	top, err := parseAttrs(b)
	if err != nil {
		return listedService{}, err
	}
	as, err := top.nested(attrService)
	if err != nil {
		return listedService{}, err
	}
	s := ipvs.Service{
		Scheduler:   as.string(svcSched),
		Flags:       ipvs.ServiceFlags(as.uint32(svcFlags) &^ flagHashed),
		Persistence: time.Duration(as.uint32(svcTimeout)) * time.Second,
		Engine:      as.string(svcPEName),
	}
	ipv6 := as.uint16(svcAF) == unix.AF_INET6
	if mark := as.uint32(svcFWMark); mark != 0 {
		s.Key = ipvs.FWMarkKey(mark, ipv6)
	} else {
		addr, err := unpackAddr(as[svcAddr], ipv6)
		if err != nil {
			return listedService{}, err
		}
		s.Key = ipvs.AddrKey(ipvs.Protocol(as.uint16(svcProtocol)), netip.AddrPortFrom(addr, as.port(svcPort)))
	}
	s.PersistenceBits, s.OddMask = unpackNetmask(as[svcNetmask], ipv6)
	return listedService{s.Canonical(), as}, nil
}

// unpackAddr decodes a union nf_inet_addr: 16 bytes, of which IPv4 uses the first
// four.
func unpackAddr(b []byte, ipv6 bool) (netip.Addr, error) {
	n := 4
	if ipv6 {
		n = 16
	}
	if len(b) < n {
		return netip.Addr{}, fmt.Errorf("address of %d bytes, want %d: %w", len(b), n, errShort)
	}
	addr, _ := netip.AddrFromSlice(b[:n])
	return addr, nil
}

// unpackNetmask decodes the client mask into its length, and into itself if it is no
// prefix of at least one bit.
func unpackNetmask(b []byte, ipv6 bool) (length int, odd [4]byte) {
	if len(b) < 4 {
		return 0, odd
	}
	if ipv6 {
		return int(native.Uint32(b)), odd
	}
	mask := binary.BigEndian.Uint32(b)
	if ones := bits.LeadingZeros32(^mask); ones > 0 && mask<<ones == 0 {
		return ones, odd
	}
	return ipvs.OddPersistenceMask, [4]byte(b)
}

// mobyKey is the service with what identifies it, for moby/ipvs.
func mobyKey(k ipvs.ServiceKey) *moby.Service {
	s := &moby.Service{AddressFamily: family(k.Is6()), FWMark: k.FWMark}
	if k.FWMark == 0 {
		s.Protocol = uint16(k.Protocol)
		s.Address = net.IP(k.Addr.Addr().AsSlice())
		s.Port = k.Addr.Port()
	}
	return s
}

// mobyService is the whole service for moby/ipvs. It wants the IPv4 client mask as
// the four bytes of the network order read as a native number, and the length for
// IPv6, which the kernel refuses to be 0 even without persistence.
func mobyService(s ipvs.Service) (*moby.Service, error) {
	s = s.Canonical()
	m := mobyKey(s.Key)
	m.SchedName = s.Scheduler
	m.PEName = s.Engine
	m.Flags = uint32(s.Flags)
	m.Timeout = uint32(s.Persistence / time.Second)
	mask, length := s.OddMask, s.PersistenceBits
	odd := length == ipvs.OddPersistenceMask
	switch {
	case length < 0 && (!odd || s.Key.Is6()):
		return nil, fmt.Errorf("client mask is no prefix: %w", unix.EINVAL)
	case s.Key.Is6():
		m.Netmask = uint32(cmp.Or(length, 128))
		return m, nil
	case !odd:
		mask = [4]byte(binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-cmp.Or(length, 32))))
	}
	m.Netmask = native.Uint32(mask[:])
	return m, nil
}
