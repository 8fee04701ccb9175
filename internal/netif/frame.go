package netif

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
	// minFrame is the shortest Ethernet frame without its check sequence. Shorter
	// ones are runts that some switches drop.
	minFrame = 60
	// nextHeaderICMPv6 is the protocol number of ICMPv6.
	nextHeaderICMPv6 = 58
)

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	// allNodes is ff02::1, and allNodesMAC is where it is on Ethernet.
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// announcement gives the frames that tell a segment that mac has the address now.
// asRouter is the Router flag of an IPv6 announcement.
func announcement(mac net.HardwareAddr, addr netip.Addr, asRouter bool) ([][]byte, error) {
	if addr.Is4() {
		return gratuitousARP(mac, addr)
	}
	f, err := unsolicitedNA(mac, addr, asRouter)
	return [][]byte{f}, err
}

// gratuitousARP gives the two forms of gratuitous ARP that every Linux neighbour
// accepts, also within the second after the last change of its entry, when it
// takes nothing but a true announcement (arp_is_garp in net/ipv4/arp.c).
//
//   - The request, with sender and target address the same. Its target hardware
//     address is zero: RFC 5227 section 2.3 asks for that, receivers ignore it.
//   - The reply, with sender and target the same in both address and hardware
//     address. With any other target hardware address it would be ignored during
//     that second.
func gratuitousARP(mac net.HardwareAddr, addr netip.Addr) ([][]byte, error) {
	request, err := arpFrame(arp.OperationRequest, mac, addr, make(net.HardwareAddr, len(mac)))
	if err != nil {
		return nil, err
	}
	reply, err := arpFrame(arp.OperationReply, mac, addr, mac)
	if err != nil {
		return nil, err
	}
	return [][]byte{request, reply}, nil
}

func arpFrame(op arp.Operation, mac net.HardwareAddr, addr netip.Addr, target net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, addr, target, addr)
	if err != nil {
		return nil, fmt.Errorf("build gratuitous arp for %v from %v: %w", addr, mac, err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("build gratuitous arp for %v from %v: %w", addr, mac, err)
	}
	return ethernet(broadcast, mac, etherTypeARP, b), nil
}

// unsolicitedNA gives the neighbour advertisement of RFC 4861 section 7.2.6, sent
// from the address itself to all nodes, with the Override flag. The Router flag
// must be right: neighbours that hear it cleared stop using the address as their
// default router.
func unsolicitedNA(mac net.HardwareAddr, addr netip.Addr, asRouter bool) ([]byte, error) {
	payload, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Router:        asRouter,
		Override:      true,
		TargetAddress: addr,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, addr, allNodes)
	if err != nil {
		return nil, fmt.Errorf("build neighbour advertisement for %v from %v: %w", addr, mac, err)
	}
	return ethernet(allNodesMAC, mac, etherTypeIPv6, ipv6Packet(addr, allNodes, payload)), nil
}

// ipv6Packet puts a header before the ICMPv6 payload, with the hop limit of neighbour
// discovery.
func ipv6Packet(src, dst netip.Addr, payload []byte) []byte {
	b := make([]byte, 0, 40+len(payload))
	b = append(b, 0x60, 0, 0, 0) // version 6, no traffic class, no flow label
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, nextHeaderICMPv6, ndp.HopLimit)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, payload...)
}

// ethernet puts a header before the payload and pads the frame to the minimum.
func ethernet(dst, src net.HardwareAddr, etherType uint16, payload []byte) []byte {
	f := make([]byte, 0, max(minFrame, 14+len(payload)))
	f = append(f, dst...)
	f = append(f, src...)
	f = binary.BigEndian.AppendUint16(f, etherType)
	f = append(f, payload...)
	return f[:cap(f)]
}
