package netif

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"

	"github.com/hadirector/hadirector/vrrp"
)

// Where things are in the frames of an answer.
const (
	arpOperationAt = 14 + 6
	arpSenderAt    = 14 + 8  // hardware address, then the IPv4 address
	arpTargetAt    = 14 + 18 // likewise
	arpEnd         = 14 + 28

	ipv6PayloadLenAt = 14 + 4
	ipv6NextAt       = 14 + 6
	ipv6HopLimitAt   = 14 + 7
	ipv6SourceAt     = 14 + 8
	icmpv6At         = 14 + 40
	naTargetAt       = icmpv6At + 8
	naOptionsAt      = naTargetAt + 16

	icmpv6Advertisement = 136
	naSolicited         = 0x40 // RFC 4861 section 4.4, S
	optionTargetMAC     = 2
)

// question gives the frame that asks a segment who has an address. With an invalid
// source it is a probe, from 0.0.0.0 (RFC 5227 section 2.1.1) or from :: (RFC 4862
// section 5.4.2).
func question(mac net.HardwareAddr, target, source netip.Addr) ([]byte, error) {
	if target.Is4() {
		if !source.IsValid() {
			source = netip.IPv4Unspecified()
		}
		p, err := arp.NewPacket(arp.OperationRequest, mac, source, make(net.HardwareAddr, len(mac)), target)
		if err != nil {
			return nil, fmt.Errorf("build arp request for %v: %w", target, err)
		}
		b, err := p.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("build arp request for %v: %w", target, err)
		}
		return ethernet(broadcast, mac, etherTypeARP, b), nil
	}
	m := &ndp.NeighborSolicitation{TargetAddress: target}
	if source.IsValid() {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}}
	} else {
		source = netip.IPv6Unspecified() // and then there must be no source option
	}
	group, err := ndp.SolicitedNodeMulticast(target)
	if err != nil {
		return nil, fmt.Errorf("build neighbour solicitation for %v: %w", target, err)
	}
	payload, err := ndp.MarshalMessageChecksum(m, source, group)
	if err != nil {
		return nil, fmt.Errorf("build neighbour solicitation for %v: %w", target, err)
	}
	g := group.As16()
	dst := net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]} // RFC 2464 section 7
	return ethernet(dst, mac, etherTypeIPv6, ipv6Packet(source, group, payload)), nil
}

// answer is one machine's answer to a question.
type answer struct {
	addr netip.Addr
	mac  vrrp.MAC
	// unsolicited says that it may be an announcement.
	unsolicited bool
}

// parseARPAnswer reads an ARP reply to a request that self has sent. An announcement is
// no answer, although it may be a reply: it names another target.
func parseARPAnswer(frame []byte, self net.HardwareAddr) (answer, bool) {
	const ethernetIPv4 = "\x00\x01\x08\x00\x06\x04\x00\x02" // RFC 826, ar$hrd to ar$op
	if len(frame) < arpEnd || string(frame[14:arpSenderAt]) != ethernetIPv4 ||
		!slices.Equal(frame[arpTargetAt:arpTargetAt+6], self) {
		return answer{}, false
	}
	return answer{
		addr: netip.AddrFrom4([4]byte(frame[arpSenderAt+6:])),
		mac:  vrrp.MAC(frame[arpSenderAt:]),
	}, true
}

// parseNeighbourAdvertisement reads a neighbour advertisement with the checks of RFC
// 4861 section 7.1.2. The Ethernet address is that of the option, or, without one, the
// sender's.
func parseNeighbourAdvertisement(frame []byte) (answer, bool) {
	if len(frame) < naOptionsAt || frame[14]>>4 != 6 || frame[ipv6NextAt] != nextHeaderICMPv6 ||
		frame[ipv6HopLimitAt] != ndp.HopLimit || frame[icmpv6At] != icmpv6Advertisement || frame[icmpv6At+1] != 0 {
		return answer{}, false
	}
	end := icmpv6At + int(binary.BigEndian.Uint16(frame[ipv6PayloadLenAt:]))
	if end < naOptionsAt || end > len(frame) || !icmpv6Sound(frame[:end]) {
		return answer{}, false
	}
	a := answer{
		addr: netip.AddrFrom16([16]byte(frame[naTargetAt:])), mac: vrrp.MAC(frame[6:]),
		unsolicited: frame[icmpv6At+4]&naSolicited == 0,
	}
	if a.addr.IsMulticast() {
		return answer{}, false
	}
	for options := frame[naOptionsAt:end]; len(options) > 0; {
		if len(options) < 2 || options[1] == 0 || int(options[1])*8 > len(options) {
			return answer{}, false
		}
		if options[0] == optionTargetMAC {
			a.mac = vrrp.MAC(options[2:])
		}
		options = options[int(options[1])*8:]
	}
	return a, true
}

// icmpv6Sound checks the checksum, which covers a pseudo-header (RFC 8200 section 8.1).
func icmpv6Sound(frame []byte) bool {
	sum := uint32(len(frame)-icmpv6At) + nextHeaderICMPv6
	for b := frame[ipv6SourceAt:]; len(b) > 0; b = b[min(2, len(b)):] {
		sum += uint32(b[0]) << 8
		if len(b) > 1 {
			sum += uint32(b[1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum == 0xffff
}

// answerFilter lets nothing through to a packet socket but what may be an answer to
// self, so that a busy segment wakes nobody. What this machine sends need not be kept
// out: a socket of one protocol does not see it.
func answerFilter(family vrrp.Family, self net.HardwareAddr) ([]bpf.RawInstruction, error) {
	type field struct{ at, size, is uint32 }
	fields := []field{
		{arpOperationAt, 2, uint32(arp.OperationReply)},
		{arpTargetAt, 4, binary.BigEndian.Uint32(self)},
		{arpTargetAt + 4, 2, uint32(binary.BigEndian.Uint16(self[4:]))},
	}
	if family == vrrp.IPv6 {
		fields = []field{{ipv6NextAt, 1, nextHeaderICMPv6}, {ipv6HopLimitAt, 1, ndp.HopLimit}, {icmpv6At, 1, icmpv6Advertisement}}
	}
	var program []bpf.Instruction
	for _, f := range fields {
		program = append(program,
			bpf.LoadAbsolute{Off: f.at, Size: int(f.size)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: f.is, SkipTrue: 1},
			bpf.RetConstant{Val: 0})
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: maxAnswerFrame}))
}

// maxAnswerFrame is as much of a frame as is read: a neighbour advertisement with more
// options than anybody sends.
const maxAnswerFrame = 512
