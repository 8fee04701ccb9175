package load

import (
	"encoding/binary"
	"net/netip"
)

// asking is what Pings sends, and how it knows the answers.
type asking interface {
	message(number uint64) []byte // without an IP header
	answer(payload []byte) (number uint64, ok bool)
}

// icmpEcho asks with the echo messages of RFC 792, which have the request's number as their
// data.
type icmpEcho struct{ id uint16 }

const (
	echoReply   = 0
	echoRequest = 8
	echoSize    = 16
)

func (e icmpEcho) message(number uint64) []byte {
	b := make([]byte, echoSize)
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], uint16(number))
	binary.BigEndian.PutUint64(b[8:], number)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

func (e icmpEcho) answer(b []byte) (uint64, bool) {
	if len(b) < echoSize || b[0] != echoReply || binary.BigEndian.Uint16(b[4:]) != e.id {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[8:]), true
}

// knock asks with the packets of a TCP connection that the other end does not have: it
// answers with a reset whose sequence number is the packet's acknowledgement (RFC 9293
// section 3.10.7.1). The first packet is a SYN, so that a director makes a connection of
// them.
type knock struct{ from, to netip.AddrPort }

func (k knock) message(number uint64) []byte {
	flags := byte(tcpACK)
	if number == 0 {
		flags = tcpSYN
	}
	return appendTCP(nil, segment{from: k.from, to: k.to, flags: flags, sequence: 1, acknowledge: uint32(number)})
}

func (k knock) answer(b []byte) (uint64, bool) {
	if len(b) < tcpSize || b[13]&tcpRST == 0 || binary.BigEndian.Uint16(b) != k.to.Port() || binary.BigEndian.Uint16(b[2:]) != k.from.Port() {
		return 0, false
	}
	return uint64(binary.BigEndian.Uint32(b[4:])), true
}

// The TCP header without options (RFC 9293 section 3.1).
const (
	tcpSize = 20

	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpACK = 0x10
)

// segment is a TCP packet.
type segment struct {
	from, to              netip.AddrPort // IPv4
	flags                 byte
	sequence, acknowledge uint32
	data                  string
}

// appendTCP appends a segment with its checksum.
func appendTCP(b []byte, s segment) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, s.from.Port())
	b = binary.BigEndian.AppendUint16(b, s.to.Port())
	b = binary.BigEndian.AppendUint32(b, s.sequence)
	b = binary.BigEndian.AppendUint32(b, s.acknowledge)
	b = append(b, tcpSize/4<<4, s.flags, 0xff, 0xff, 0, 0, 0, 0) // window, checksum, urgent pointer
	b = append(b, s.data...)
	// The pseudo-header: the addresses, the protocol and the length.
	from, to := s.from.Addr().As4(), s.to.Addr().As4()
	pseudo := append(append(make([]byte, 0, 12), from[:]...), to[:]...)
	pseudo = binary.BigEndian.AppendUint16(append(pseudo, 0, 6), uint16(len(b)-start))
	binary.BigEndian.PutUint16(b[start+16:], checksum(pseudo, b[start:]))
	return b
}

// checksum is RFC 1071's of texts one after the other, all but the last of an even length.
func checksum(texts ...[]byte) uint16 {
	var sum uint32
	for _, b := range texts {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
