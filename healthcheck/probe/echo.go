package probe

import (
	"crypto/rand"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// payloadLength is that of an echo request's data.
const payloadLength = 16

// newEcho is a request that no other is like: nobody who has not seen it can answer it.
func newEcho() icmp.Echo {
	var b [4 + payloadLength]byte
	_, _ = rand.Read(b[:]) // never fails
	return icmp.Echo{ID: int(b[0])<<8 | int(b[1]), Seq: int(b[2])<<8 | int(b[3]), Data: b[4:]}
}

// echoKey finds a request by its identifier and sequence number.
type echoKey struct{ id, seq int }

func keyOf(e *icmp.Echo) echoKey { return echoKey{id: e.ID, seq: e.Seq} }

// encodeEcho is the message that goes out (RFC 792, RFC 4443 section 4.1). The kernel fills
// in the checksum of ICMPv6, which covers addresses.
func encodeEcho(six bool, echo *icmp.Echo) ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: echo}
	if six {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// parseEcho returns the echo message of a type.
func parseEcho(message []byte, six bool, want4 ipv4.ICMPType, want6 ipv6.ICMPType) (*icmp.Echo, bool) {
	protocol, want := unix.IPPROTO_ICMP, icmp.Type(want4)
	if six {
		protocol, want = unix.IPPROTO_ICMPV6, want6
	}
	m, err := icmp.ParseMessage(protocol, message)
	if err != nil || m.Type != want || m.Code != 0 {
		return nil, false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return echo, ok
}

// parseReply returns the echo reply in a message.
func parseReply(message []byte, six bool) (*icmp.Echo, bool) {
	return parseEcho(message, six, ipv4.ICMPTypeEchoReply, ipv6.ICMPTypeEchoReply)
}

// parseRequest returns the echo request in a message, or in the beginning of one that an
// error is about.
func parseRequest(message []byte, six bool) (*icmp.Echo, bool) {
	return parseEcho(message, six, ipv4.ICMPTypeEcho, ipv6.ICMPTypeEchoRequest)
}

// withoutIPv4 is a packet without its IPv4 header, which the kernel has looked at.
func withoutIPv4(packet []byte) ([]byte, bool) {
	if len(packet) == 0 {
		return nil, false
	}
	const word = 4
	length := int(packet[0]&0x0f) * word
	if length > len(packet) {
		return nil, false
	}
	return packet[length:], true
}
