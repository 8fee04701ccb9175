package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Flows plays TCP clients that are not there: it sends what a director with direct routing
// sees of their connections, which is one direction. Each has an address and a port of its
// own, from 10.200.0.1 on, to which the real servers must have no route: they drop what
// they would answer. That costs a small part of a connection between two sockets.
type Flows struct {
	fd   int
	to   netip.AddrPort
	next int // number of the next client
}

// Life is how far a client of Flows gets.
type Life int

// What is sent in each: the packets of those before it, and one more.
const (
	Opened Life = iota // the handshake: SYN, ACK
	Spoken             // data
	Closed             // FIN
)

// NewFlows prepares clients of a virtual server. Enter is as in Requests.
func NewFlows(to netip.AddrPort, enter func() error) (*Flows, error) {
	f := &Flows{to: to}
	err := within(enter, func() (err error) {
		// Who sends here brings the IP header along.
		f.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	return f, nil
}

// Close closes the socket. Nobody else hears of it.
func (f *Flows) Close() error { return os.NewSyscallError("close", unix.Close(f.fd)) }

// clientPorts is how many connections each client's address has.
const clientPorts = 1000

// client is the address of the nth client.
func client(n int) netip.AddrPort {
	host := uint32(n/clientPorts) + 1
	a := binary.BigEndian.AppendUint32(nil, 10<<24|200<<16+host)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a)), uint16(10000+n%clientPorts))
}

// Run lets n more clients live, so many a second, or with a rate of 0 as many as can be. It
// returns how long that took.
func (f *Flows) Run(ctx context.Context, n, rate int, life Life) (time.Duration, error) {
	begin := time.Now()
	for sent := 0; sent < n; {
		due := n
		if rate > 0 {
			due = min(n, 1+int(time.Since(begin).Seconds()*float64(rate)))
		}
		for ; sent < due && ctx.Err() == nil; sent++ {
			if err := f.live(f.next, life); err != nil {
				return 0, fmt.Errorf("connection %d of %d: %w", sent+1, n, err)
			}
			f.next++
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if sent < n {
			time.Sleep(time.Millisecond) // the pace; what is late is made up for
		}
	}
	return time.Since(begin), nil
}

// live sends the packets of one client.
func (f *Flows) live(n int, life Life) error {
	s := segment{from: client(n), to: f.to, sequence: uint32(n)}
	for _, p := range []struct {
		from  Life
		flags byte
		data  string
	}{{Opened, tcpSYN, ""}, {Opened, tcpACK, ""}, {Spoken, tcpACK | tcpPSH, "hello\n"}, {Closed, tcpACK | tcpFIN, ""}} {
		if p.from > life {
			break
		}
		s.flags, s.data = p.flags, p.data
		packet := appendTCP(ipHeader(s), s)
		if err := unix.Sendto(f.fd, packet, 0, &unix.SockaddrInet4{Addr: f.to.Addr().As4()}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		s.sequence += uint32(len(p.data))
		if p.flags&tcpSYN != 0 {
			s.sequence, s.acknowledge = s.sequence+1, 1
		}
	}
	return nil
}

// ipHeader is a segment's IPv4 header. The kernel fills in the checksum (raw(7)).
func ipHeader(s segment) []byte {
	b := make([]byte, 20, 20+tcpSize+len(s.data))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(b[2:], uint16(20+tcpSize+len(s.data)))
	from, to := s.from.Addr().As4(), s.to.Addr().As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	return b
}
