package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/lab/cluster"
)

// tap listens to what the programs of a machine ask IPVS to change, by a link of the kind
// nlmon, which shows all netlink messages of a network namespace.
type tap struct {
	ops  chan tapped
	err  error // why ops was closed
	file *os.File
}

// tapped is a change to a service or to one of its destinations.
type tapped struct {
	at      time.Time
	service netip.AddrPort
}

// tapQueue is more than any measurement sends.
const tapQueue = 1 << 20

func newTap(c *cluster.Cluster, machine string) (*tap, error) {
	family, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		return nil, fmt.Errorf("this kernel has no IPVS: %w", err)
	}
	if _, err := c.Run(machine, "ip", "link", "add", "nlmon0", "up", "type", "nlmon"); err != nil {
		return nil, err
	}
	t := &tap{ops: make(chan tapped, tapQueue)}
	err = c.Do(machine, func() error {
		link, err := net.InterfaceByName("nlmon0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		t.file = os.NewFile(uintptr(fd), "nlmon0")
		filter := requestFilter(family.ID)
		return errors.Join(
			os.NewSyscallError("SO_RCVBUFFORCE", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)),
			os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})),
			os.NewSyscallError("SO_TIMESTAMPNS", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)),
			os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: link.Index})), // ETH_P_ALL
		)
	})
	if err != nil {
		return nil, fmt.Errorf("listen to netlink on %s: %w", machine, err)
	}
	go t.listen()
	return t, nil
}

// expect waits for so many changes of a program.
func (t *tap) expect(ctx context.Context, p *cluster.Process, changes int) error {
	for n := range changes {
		select {
		case _, open := <-t.ops:
			if !open {
				return t.err
			}
		case <-p.Done():
			return fmt.Errorf("it ended with status %d:\n%s", p.ExitCode(), p.Output())
		case <-ctx.Done():
			return fmt.Errorf("%d of %d changes: %w", n, changes, context.Cause(ctx))
		}
	}
	return nil
}

func (t *tap) close() { t.file.Close() }

// requestFilter lets through the requests of a generic netlink family. A filter reads its
// words in network order, and netlink is in the machine's.
func requestFilter(family uint16) []unix.SockFilter {
	word := func(v uint16) uint32 {
		return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4}, // nlmsg_type
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: word(family), Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}, // nlmsg_flags
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: word(unix.NLM_F_REQUEST), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// listen passes the changes on until the tap is closed.
func (t *tap) listen() {
	defer close(t.ops)
	raw, err := t.file.SyscallConn()
	if err != nil {
		t.err = err
		return
	}
	buf, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		var n, oob int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, oob, _, _, failed = unix.Recvmsg(int(fd), buf, control, 0)
			return failed != unix.EAGAIN
		})
		if t.err = errors.Join(err, failed); t.err != nil {
			return
		}
		service, change := parseRequest(buf[:n])
		if !change {
			continue
		}
		select {
		case t.ops <- tapped{stamp(control[:oob]), service}:
		default:
			t.err = errors.New("more changes than expected")
			return
		}
	}
}

// stamp is the kernel's time of a datagram.
func stamp(control []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

// parseRequest reads which service of IPv4 a request changes, or one of its destinations:
// IPVS_CMD_NEW_SERVICE to IPVS_CMD_DEL_DEST without the listing of services
// (linux/ip_vs.h). hadirector asks for schedulers with services of IPv6 that no kernel
// takes; these are no changes.
func parseRequest(b []byte) (service netip.AddrPort, change bool) {
	const header, genl, getService = 16, 4, 4
	if len(b) < header+genl || b[header] == 0 || b[header] > 7 || b[header] == getService {
		return netip.AddrPort{}, false
	}
	var addr netip.Addr
	var port uint16
	ipv4 := true
	attributes(b[header+genl:], func(typ uint16, v []byte) {
		if typ != 1 { // IPVS_CMD_ATTR_SERVICE
			return
		}
		attributes(v, func(typ uint16, v []byte) {
			switch {
			case typ == 1 && len(v) >= 2: // IPVS_SVC_ATTR_AF
				ipv4 = binary.NativeEndian.Uint16(v) == unix.AF_INET
			case typ == 3 && len(v) >= 4: // IPVS_SVC_ATTR_ADDR, a union of both families
				addr = netip.AddrFrom4([4]byte(bytes.Clone(v[:4])))
			case typ == 4 && len(v) >= 2: // IPVS_SVC_ATTR_PORT
				port = binary.BigEndian.Uint16(v)
			}
		})
	})
	return netip.AddrPortFrom(addr, port), ipv4
}

// attributes calls f for each netlink attribute of one level.
func attributes(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}
