package syncconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/syncd"
)

const (
	// captureBuffer is half of the capture socket's receive buffer in bytes: the kernel
	// doubles it. A datagram with one connection takes some 800, so it holds 40 000 of
	// them while this process does not run.
	captureBuffer = 16 << 20
	// maxDatagram is the largest datagram of a sync daemon with its headers.
	maxDatagram = 65535
)

// Capture hears the kernel's master daemon on the private interface. One goroutine may
// read while another one closes it.
type Capture struct {
	file   *os.File
	conn   syscall.RawConn
	closed atomic.Bool
	heard  atomic.Int64 // Unix time in nanoseconds; 0: never
	buf    []byte
	oob    []byte
	// lost is the kernel's count of what it had no room for, as of the last datagram.
	lost uint32
}

// NewCapture opens a capture on an interface. It hears what is sent from then on.
func NewCapture(ifname string) (*Capture, error) {
	c, err := newCapture(ifname, captureBuffer)
	if err != nil {
		return nil, fmt.Errorf("capture sync messages on %s: %w", ifname, err)
	}
	return c, nil
}

func newCapture(ifname string, buffer int) (*Capture, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	filter, err := syncFilter()
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	// Without a protocol it hears nothing before it is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "capture on "+ifname)
	if err := setUpCapture(fd, ifi.Index, buffer, filter); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Capture{file: file, conn: conn, buf: make([]byte, maxDatagram), oob: make([]byte, 128)}, nil
}

func setUpCapture(fd, index, buffer int, filter []unix.SockFilter) error {
	prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog); err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	// Beyond net.core.rmem_max, which belongs to the operator.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
		return fmt.Errorf("set the receive buffer to %d bytes: %w", buffer, err)
	}
	for _, option := range []int{unix.SO_TIMESTAMPNS, unix.SO_RXQ_OVFL} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return fmt.Errorf("set socket option %d: %w", option, err)
		}
	}
	// What leaves is shown to sockets for all protocols only.
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// packetOutgoing is PACKET_OUTGOING (linux/if_packet.h).
const packetOutgoing = 4

// syncFilter passes whole UDP datagrams over IPv4 that leave for the daemons' group.
//
// What this machine injects is not among them: its TTL is 0, so that it is looped back
// to the backup daemon and never sent.
func syncFilter() ([]unix.SockFilter, error) {
	group := syncd.Group.Addr().As4()
	const drop = 13 // index of the last instruction
	unless := func(at int, v uint32) bpf.Instruction {
		return bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: uint8(drop - at - 1)}
	}
	raw, err := bpf.Assemble([]bpf.Instruction{
		0:    bpf.LoadExtension{Num: bpf.ExtType},
		1:    unless(1, packetOutgoing),
		2:    bpf.LoadExtension{Num: bpf.ExtProto},
		3:    unless(3, unix.ETH_P_IP),
		4:    bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
		5:    unless(5, unix.IPPROTO_UDP),
		6:    bpf.LoadAbsolute{Off: 6, Size: 2}, // more fragments, fragment offset
		7:    bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: drop - 7 - 1},
		8:    bpf.LoadAbsolute{Off: 16, Size: 4}, // destination
		9:    unless(9, binary.BigEndian.Uint32(group[:])),
		10:   bpf.LoadMemShift{Off: 0}, // length of the IPv4 header
		11:   bpf.LoadIndirect{Off: 2, Size: 2},
		12:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(syncd.Group.Port()), SkipTrue: 1},
		drop: bpf.RetConstant{Val: 0},
		14:   bpf.RetConstant{Val: maxDatagram},
	})
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}

// Read waits for the next datagram. What belongs to the [Ticker]'s flow is left out.
// After Close the error is [os.ErrClosed]. Every other error is one of the interface,
// which has gone down or away: the capture may have missed something, and one that is
// gone is never heard again.
func (c *Capture) Read() (syncd.Datagram, error) {
	var lost uint32
	for {
		d, err := c.read()
		if err != nil {
			return syncd.Datagram{}, fmt.Errorf("capture sync messages: %w", err)
		}
		lost += d.Lost
		if d.Payload != nil && !isTick(d.Payload) {
			d.Lost = lost
			return d, nil
		}
	}
}

func (c *Capture) read() (syncd.Datagram, error) {
	var n, oobn int
	var err error
	poll := c.conn.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), c.buf, c.oob, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case c.closed.Load():
		return syncd.Datagram{}, os.ErrClosed
	case poll != nil:
		return syncd.Datagram{}, poll
	}
	if err != nil {
		return syncd.Datagram{}, os.NewSyscallError("recvmsg", err)
	}
	at, lost := control(c.oob[:oobn], c.lost)
	d := syncd.Datagram{Payload: payload(c.buf[:n]), At: at, Lost: lost - c.lost}
	c.lost = lost
	c.heard.Store(at.UnixNano())
	return d, nil
}

// Heard returns when the daemon has sent the last datagram that was read, the [Ticker]'s
// flow included, or the zero time. While there are ticks it is never long ago: otherwise the
// daemon does not run, it was started on an interface that is gone, or a firewall drops
// what it sends. Any goroutine may ask.
func (c *Capture) Heard() time.Time {
	if at := c.heard.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Close ends the capture and a Read that waits.
func (c *Capture) Close() error {
	c.closed.Store(true)
	return c.file.Close()
}

// control returns the kernel's time stamp and count of lost datagrams. Without one of
// them it returns the present time or the count before: the kernel leaves out a count of
// zero.
func control(oob []byte, lost uint32) (time.Time, uint32) {
	at := time.Now()
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return at, lost
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch {
		case m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) == 16:
			at = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) == 8: // 32-bit machines
			at = time.Unix(int64(binary.NativeEndian.Uint32(m.Data)), int64(binary.NativeEndian.Uint32(m.Data[4:])))
		case m.Header.Type == unix.SO_RXQ_OVFL && len(m.Data) == 4:
			lost = binary.NativeEndian.Uint32(m.Data)
		}
	}
	return at, lost
}

// payload returns a copy of what a UDP datagram carries, nil if it is not whole.
func payload(packet []byte) []byte {
	const minHeader, udpHeader = 20, 8
	if len(packet) < minHeader {
		return nil
	}
	header := int(packet[0]&0x0f) * 4
	if header < minHeader || len(packet) < header+udpHeader {
		return nil
	}
	udp := packet[header:]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpHeader || length > len(udp) {
		return nil
	}
	return append([]byte{}, udp[udpHeader:length]...)
}

// Offsets in a version 1 sync message with one connection over IPv4 (struct ip_vs_sync_mesg
// and ip_vs_sync_v4, net/netfilter/ipvs/ip_vs_sync.c).
const (
	messageHeader = 8
	connection4   = 36
	offsetCount   = 4
	offsetType    = messageHeader
	offsetVPort   = messageHeader + 12
	offsetVAddr   = messageHeader + 28
)

// isTick tells whether a message is about the ticker's flow alone.
func isTick(m []byte) bool {
	if len(m) < messageHeader+connection4 || m[offsetCount] != 1 || m[offsetType] != 0 {
		return false
	}
	addr := netip.AddrFrom4([4]byte(m[offsetVAddr:]))
	return addr == syncd.TickService.Addr() && binary.BigEndian.Uint16(m[offsetVPort:]) == syncd.TickService.Port()
}
