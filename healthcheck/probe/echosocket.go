package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// echoSocket sends echo requests of one family to any host, and receives their replies.
//
// These are two raw sockets. One receives echo replies, and in its error queue (ip(7),
// IP_RECVERR) what routers and the kernel say about requests. Such an error also fails the
// next call on its socket, whomever that is about; the other one, which sends, is told of
// none, so its errors are the send's own.
type echoSocket struct {
	six              bool
	sender, receiver *os.File
}

// echoBuffer is the size of either socket's buffer: one for ten thousand requests that
// leave at once, or wait for their neighbours' addresses.
const echoBuffer = 8 << 20

// openEcho opens the sockets, which an interface's name binds to it. They need CAP_NET_RAW.
func openEcho(six bool, ifname string) (*echoSocket, error) {
	sender, err := rawSocket(six, ifname, false)
	if err != nil {
		return nil, err
	}
	receiver, err := rawSocket(six, ifname, true)
	if err != nil {
		return nil, errors.Join(err, sender.Close())
	}
	return &echoSocket{six: six, sender: sender, receiver: receiver}, nil
}

// rawSocket opens a raw socket that receives echo replies and errors, or nothing.
func rawSocket(six bool, ifname string, receives bool) (*os.File, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if six {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := prepareEcho(fd, six, ifname, receives); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return os.NewFile(uintptr(fd), "echo socket"), nil
}

func prepareEcho(fd int, six bool, ifname string, receives bool) error {
	if ifname != "" {
		if err := unix.BindToDevice(fd, ifname); err != nil {
			return fmt.Errorf("bind to interface: %w", err)
		}
	}
	// Without CAP_NET_ADMIN the system's bound holds, and a smaller buffer does too.
	for _, option := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[0], echoBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option[1], echoBuffer)
		}
	}
	if six {
		return filterEcho6(fd, receives)
	}
	const icmpFilter = 1 // ICMP_FILTER in linux/icmp.h; a bit that is set blocks
	blocked := ^0
	if receives {
		blocked = ^(1 << ipv4.ICMPTypeEchoReply)
	}
	err := unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, blocked)
	if err == nil && receives {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
	}
	return err
}

func filterEcho6(fd int, receives bool) error {
	filter := &unix.ICMPv6Filter{}
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0) // as above
	}
	if receives {
		t := int(ipv6.ICMPTypeEchoReply)
		filter.Data[t>>5] &^= 1 << (t & 31)
	}
	err := unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, filter)
	if err == nil && receives {
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
	}
	return err
}

func (s *echoSocket) close() {
	_ = s.sender.Close() // nobody is left whom an error would concern
	_ = s.receiver.Close()
}

// send sends a message to a host. It does not wait for room in the socket's buffer. A
// message that is dropped on its way out, by an interface without its other end for one, is
// lost like any other: over IPv4 the kernel does not tell, and over IPv6 it says ENOBUFS.
func (s *echoSocket) send(host netip.Addr, message []byte) error {
	raw, err := s.sender.SyscallConn()
	if err != nil {
		return err
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: host.As16()}
	if !s.six {
		to = &unix.SockaddrInet4{Addr: host.As4()}
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		for sendErr = unix.EINTR; sendErr == unix.EINTR; {
			sendErr = unix.Sendto(int(fd), message, 0, to)
		}
	})
	switch sendErr {
	case unix.EAGAIN:
		sendErr = unix.ENOMEM
	case unix.ENOBUFS:
		sendErr = nil
	}
	return errors.Join(err, os.NewSyscallError("sendto", sendErr))
}

// receive gives each reply, and each error with the request that it is about, to those
// functions, until the socket is closed or fails.
func (s *echoSocket) receive(reply func(netip.Addr, []byte), failed func(netip.Addr, []byte, error)) error {
	raw, err := s.receiver.SyscallConn()
	if err != nil {
		return err
	}
	in := incoming{six: s.six, buf: make([]byte, 2048), oob: make([]byte, 512), reply: reply, failed: failed}
	for err == nil {
		var broken error
		err = raw.Read(func(fd uintptr) (some bool) {
			some, broken = in.drain(int(fd))
			return some || broken != nil
		})
		if broken != nil {
			err = os.NewSyscallError("recvmsg", broken)
		}
	}
	return err
}

// incoming reads from the socket that receives.
type incoming struct {
	six       bool
	buf, oob  []byte
	reply     func(netip.Addr, []byte)
	failed    func(netip.Addr, []byte, error)
	fruitless int // errors in a row of which the error queue knows nothing
}

// maxFruitless is after how many such errors a socket counts as failed.
const maxFruitless = 10

// batch is how much is read at a time: who closes the socket waits for it.
const batch = 64

// drain reads what has come, and tells whether there was something. It returns an error
// when the socket has failed.
func (in *incoming) drain(fd int) (some bool, failed error) {
	for range batch {
		n, _, _, from, err := unix.Recvmsg(fd, in.buf, nil, 0)
		switch {
		case err == nil:
			in.take(n, from)
		case err == unix.EINTR:
			continue
		case in.drainErrors(fd):
		case err == unix.EAGAIN:
			in.fruitless = 0
			return some, nil
		default:
			if in.fruitless++; in.fruitless == maxFruitless {
				return some, err
			}
			continue
		}
		some, in.fruitless = true, 0
	}
	return true, nil
}

// take takes a packet in.
func (in *incoming) take(n int, from unix.Sockaddr) {
	message, ok := in.buf[:n], true
	if !in.six {
		message, ok = withoutIPv4(message)
	}
	if ok {
		in.reply(hostOf(from), message)
	}
}

// drainErrors reads the error queue, and tells whether there was something in it.
func (in *incoming) drainErrors(fd int) (some bool) {
	for range batch {
		n, oobn, _, to, err := unix.Recvmsg(fd, in.buf, in.oob, unix.MSG_ERRQUEUE)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return some
		}
		some = true
		if errno, ok := in.extendedError(in.oob[:oobn]); ok {
			in.failed(hostOf(to), in.buf[:n], errno)
		}
	}
	return some
}
