package syncconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/syncd"
)

// ErrNoDaemon says that no backup daemon of the kernel listens on the interface.
var ErrNoDaemon = errors.New("no backup sync daemon listens on the interface")

// queue is the receive queue of the kernel's backup daemon. Sizes are in bytes of kernel
// memory, several times what the datagrams carry.
type queue struct {
	waiting  uint32 // not taken by the daemon yet
	used     uint32 // waiting, and taken but not given back yet
	capacity uint32
	drops    uint32 // datagrams that there was no room for, since the daemon started
}

// empty tells whether the daemon has taken everything.
func (q queue) empty() bool { return q.waiting == 0 }

// room is how many bytes fit in.
func (q queue) room() int { return max(0, int(q.capacity)-int(q.used)) }

// queueReader asks the kernel for the queue by NETLINK_SOCK_DIAG, for the one socket
// that a datagram of the group would reach: that takes the same short time however many
// sockets there are. /proc/net/udp lists them all and does not tell the capacity.
type queueReader struct {
	fd      int
	request []byte
	buf     []byte
}

// From linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	diagMemInfo      = 7  // INET_DIAG_SKMEMINFO
	diagRequest      = 56 // struct inet_diag_req_v2
	diagMessage      = 72 // struct inet_diag_msg
	diagRQueue       = 56 // idiag_rqueue in it
	// Of the values of INET_DIAG_SKMEMINFO (SK_MEMINFO_*), each of four bytes:
	memInfoRead     = 0
	memInfoCapacity = 1
	memInfoDrops    = 8
)

func newQueueReader(index int) (*queueReader, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag socket: %w", err)
	}
	// The kernel answers before the request returns. Never wait for what does not come.
	timeout := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("set sock_diag timeout: %w", err), unix.Close(fd))
	}
	anyone := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	return &queueReader{fd: fd, request: diagUDP(index, syncd.Group, anyone), buf: make([]byte, 4096)}, nil
}

// probe asks for a UDP socket that exists. A kernel without its module udp_diag says
// ENOENT to every question, as it does where there is no socket.
func (r *queueReader) probe(index int, local, remote netip.AddrPort) error {
	daemons := r.request
	defer func() { r.request = daemons }()
	r.request = diagUDP(index, local, remote)
	if _, err := r.ask(); errors.Is(err, ErrNoDaemon) {
		return errors.New("the kernel does not tell of the sockets' queues: load its module udp_diag")
	} else if err != nil {
		return fmt.Errorf("ask for the socket's queue: %w", err)
	}
	return nil
}

// diagUDP asks for the UDP socket that would get a datagram between two addresses on an
// interface. The kernel takes "destination" for the local one here (udp_dump_one).
func diagUDP(index int, local, remote netip.AddrPort) []byte {
	l, rem := local.Addr().As4(), remote.Addr().As4()
	b := make([]byte, unix.NLMSG_HDRLEN+diagRequest)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.NLMSG_HDRLEN:]
	r[0], r[1], r[2] = unix.AF_INET, unix.IPPROTO_UDP, 1<<(diagMemInfo-1)
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // all states
	binary.BigEndian.PutUint16(r[8:], remote.Port())
	binary.BigEndian.PutUint16(r[10:], local.Port())
	copy(r[12:], rem[:])
	copy(r[28:], l[:])
	binary.NativeEndian.PutUint32(r[44:], uint32(index))
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // any cookie
	return b
}

func (r *queueReader) read() (queue, error) {
	q, err := r.ask()
	if err != nil && !errors.Is(err, ErrNoDaemon) {
		err = fmt.Errorf("ask for the backup daemon's queue: %w", err)
	}
	return q, err
}

func (r *queueReader) ask() (queue, error) {
	if err := unix.Sendto(r.fd, r.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return queue{}, os.NewSyscallError("sendto", err)
	}
	n, _, err := unix.Recvfrom(r.fd, r.buf, 0)
	if err != nil {
		return queue{}, os.NewSyscallError("recvfrom", err)
	}
	return parseQueue(r.buf[:n])
}

func (r *queueReader) close() error { return os.NewSyscallError("close", unix.Close(r.fd)) }

// errShort says that an answer of the kernel ends too early.
var errShort = errors.New("the kernel's answer is too short")

// parseQueue reads the kernel's answer.
func parseQueue(b []byte) (queue, error) {
	if len(b) < unix.NLMSG_HDRLEN+4 {
		return queue{}, errShort
	}
	typ := binary.NativeEndian.Uint16(b[4:])
	b = b[unix.NLMSG_HDRLEN:]
	if typ == unix.NLMSG_ERROR {
		if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b))); errno != unix.ENOENT {
			return queue{}, errno
		}
		return queue{}, ErrNoDaemon
	}
	if len(b) < diagMessage {
		return queue{}, errShort
	}
	q := queue{waiting: binary.NativeEndian.Uint32(b[diagRQueue:])}
	for b = b[diagMessage:]; len(b) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return queue{}, errShort
		}
		if v := b[unix.SizeofRtAttr:length]; binary.NativeEndian.Uint16(b[2:]) == diagMemInfo {
			if len(v) < 4*(memInfoDrops+1) {
				return queue{}, errShort
			}
			q.used = binary.NativeEndian.Uint32(v[4*memInfoRead:])
			q.capacity = binary.NativeEndian.Uint32(v[4*memInfoCapacity:])
			q.drops = binary.NativeEndian.Uint32(v[4*memInfoDrops:])
			return q, nil
		}
		b = b[min(len(b), (length+3)&^3):]
	}
	return queue{}, errShort
}
