package ipvsnl

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// socket is the exchanger of a real kernel.
//
// The requests are package nl's and the receiving is not: nl takes a new buffer of 64 KiB
// for each datagram, and to read ten thousand services are thirty thousand of them.
type socket struct {
	family uint16
	file   *os.File
	seq    uint32
	buf    []byte
}

const (
	nlHeader    = unix.SizeofNlMsghdr
	genlHeader  = 4 // struct genlmsghdr
	genlVersion = 1 // IPVS_GENL_VERSION

	// The kernel fills no more than 32 KiB of a datagram, whatever there is room for.
	receiveBuffer = 64 << 10

	// answerTimeout is long: the kernel works while it takes in a request, so an
	// answer that is not there when the request has been sent will not come.
	answerTimeout = 200 * time.Millisecond
)

// openSocket opens a socket in a namespace, from whatever thread.
func openSocket(at netns.NsHandle, family uint16) (*socket, error) {
	opened, err := nl.GetNetlinkSocketAt(at, netns.None(), unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	fd, err := unix.FcntlInt(uintptr(opened.GetFd()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &socket{family: family, file: os.NewFile(uintptr(fd), "netlink"), buf: make([]byte, receiveBuffer)}, nil
}

func (s *socket) close() { s.file.Close() }

func (s *socket) exchange(cmd uint8, flags int, attrs []byte) ([][]byte, error) {
	req := nl.NewNetlinkRequest(int(s.family), flags)
	s.seq++
	req.Seq = s.seq
	req.AddRawData([]byte{cmd, genlVersion, 0, 0})
	req.AddRawData(attrs)
	if _, err := s.file.Write(req.Serialize()); err != nil {
		return nil, err
	}
	var a answer
	for !a.whole {
		b, err := s.receive()
		if err != nil {
			return nil, err
		}
		if err := a.take(b, s.seq); err != nil {
			return nil, err
		}
	}
	if a.err == nil && a.interrupted {
		return nil, nl.ErrDumpInterrupted
	}
	return a.msgs, a.err
}

// receive returns the next datagram from the kernel, which is the caller's until the next
// call. Nearly always it is there already, so there is a deadline only if it is not.
func (s *socket) receive() ([]byte, error) {
	b, err := s.receiveNow(false)
	if !errors.Is(err, unix.EAGAIN) {
		return b, err
	}
	if err := s.file.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	b, err = s.receiveNow(true)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrTimeout
	}
	return b, errors.Join(err, s.file.SetReadDeadline(time.Time{}))
}

// receiveNow fails with EAGAIN if there is nothing, unless it is to wait.
func (s *socket) receiveNow(wait bool) ([]byte, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var from unix.Sockaddr
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, from, failed = unix.Recvfrom(int(fd), s.buf, 0)
		return failed != unix.EAGAIN || !wait
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, fmt.Errorf("a netlink message that is not the kernel's: %w", unix.EPROTO)
	}
	return s.buf[:n], nil
}

// answer is what the kernel says to one request.
type answer struct {
	msgs        [][]byte // without their headers
	err         error    // the kernel's errno
	whole       bool     // nothing follows
	interrupted bool     // a change disturbed the listing
}

// take takes in a datagram. Messages that answer an earlier request are left out.
func (a *answer) take(b []byte, seq uint32) error {
	b = append([]byte(nil), b...)
	for len(b) > 0 {
		if len(b) < nlHeader {
			return errShort
		}
		n := int(native.Uint32(b))
		if n < nlHeader || n > len(b) {
			return errShort
		}
		typ, flags, msg := native.Uint16(b[4:]), native.Uint16(b[6:]), b[nlHeader:n]
		mine := native.Uint32(b[8:]) == seq
		b = b[min((n+attrAlign-1)&^(attrAlign-1), len(b)):]
		if !mine {
			continue
		}
		a.interrupted = a.interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch {
		case typ == unix.NLMSG_DONE && len(msg) == 0:
			a.whole = true
			return nil
		case typ == unix.NLMSG_DONE, typ == unix.NLMSG_ERROR:
			if len(msg) < 4 {
				return errShort
			}
			if errno := -int32(native.Uint32(msg)); errno != 0 {
				a.err = unix.Errno(errno)
			}
			a.whole = true
			return nil
		case len(msg) < genlHeader:
			return errShort
		}
		a.msgs = append(a.msgs, msg[genlHeader:])
		if flags&unix.NLM_F_MULTI == 0 {
			// The answer to a request for one object; an acknowledgement may follow,
			// which the next exchange passes over.
			a.whole = true
			return nil
		}
	}
	return nil
}
