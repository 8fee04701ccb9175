package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// LeavingAdverts calls f for every IPv4 advertisement that the machine where enter leads
// to sends on an interface, until ctx is done. Its time is that of the program's send:
// between two namespaces a packet may wait for a processor of the receiver, which with
// machines of their own would be another's.
func LeavingAdverts(ctx context.Context, device string, enter func() error, f func(Advert)) error {
	tap, err := tapAdverts(device, enter)
	if err != nil {
		return fmt.Errorf("watch advertisements leave on %s: %w", device, err)
	}
	defer tap.Close()
	defer context.AfterFunc(ctx, func() { tap.Close() })()
	raw, err := tap.SyscallConn()
	if err != nil {
		return err
	}
	b, oob := make([]byte, 2048), make([]byte, 128)
	for {
		var n, oobn int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, oobn, _, from, failed = unix.Recvmsg(int(fd), b, oob, 0)
			return failed != unix.EAGAIN
		})
		if ctx.Err() != nil {
			return nil
		}
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		if a, ok := parseAdvert(b[:n], arrival(oob[:oobn])); ok {
			f(a)
		}
	}
}

// parseAdvert reads an advertisement with its IPv4 header.
func parseAdvert(b []byte, at time.Time) (Advert, bool) {
	if len(b) < 20 {
		return Advert{}, false
	}
	header := int(b[0]&0x0f) * 4
	if len(b) < header+3 {
		return Advert{}, false
	}
	return Advert{At: at, From: netip.AddrFrom4([4]byte(b[12:16])), VRID: b[header+1], Priority: b[header+2]}, true
}

// tapAdverts opens a packet socket that sees what comes and goes with VRRP's protocol
// number (112, RFC 9568 section 5.1.1.4).
func tapAdverts(device string, enter func() error) (*os.File, error) {
	var tap *os.File
	err := within(enter, func() error {
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		tap = os.NewFile(uintptr(fd), device)
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0}, // version and header length
			{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x40, Jf: 3},
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 112, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: 2048},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		return errors.Join(
			os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})),
			os.NewSyscallError("SO_TIMESTAMPNS", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
			os.NewSyscallError("SO_RCVBUFFORCE", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)),
			os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})),
		)
	})
	if err != nil && tap != nil {
		tap.Close()
	}
	return tap, err
}
