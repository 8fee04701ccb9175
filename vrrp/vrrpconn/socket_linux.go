package vrrpconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// trafficClass is Internetwork Control (precedence 6, DSCP CS6).
	trafficClass = 0xc0
	// priority is the queueing priority on this machine, and the VLAN priority where
	// the interface maps it. It is the highest that needs no privilege.
	priority = 6
	// sendTimeout bounds the wait for room in the socket's buffer. An advertisement
	// that late is of no use.
	sendTimeout = 100 * time.Millisecond
)

// openSocket opens the raw socket of an interface and family. On a virtual router's own
// link only is its VRID, else 0: such a link has no address of its own, so it is sent from
// those that another interface has, and what is sent to the group arrives on the links of
// all virtual routers, but this one's alone is received.
func openSocket(ifi *net.Interface, f vrrp.Family, only vrrp.VRID) (socket, error) {
	network, any := "ip4:", "0.0.0.0"
	if f == vrrp.IPv6 {
		network, any = "ip6:", "::"
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return control(rc, func(fd int) error { return bindAndTune(fd, ifi.Index, f, only) })
	}}
	pc, err := lc.ListenPacket(context.Background(), network+strconv.Itoa(vrrp.Protocol), any)
	if err != nil {
		return nil, fmt.Errorf("open raw socket on %s: %w", ifi.Name, err)
	}
	s, err := configure(pc.(*net.IPConn), ifi, f) // ListenPacket's documentation says so
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configure raw socket on %s: %w", ifi.Name, err), pc.Close())
	}
	return s, nil
}

// bindAndTune sets the options that x/net has no function for. The socket is bound
// to the interface before it can receive anything.
func bindAndTune(fd, index int, f vrrp.Family, only vrrp.VRID) error {
	set := func(level, option, value int, name string) error {
		return named(name, unix.SetsockoptInt(fd, level, option, value))
	}
	if only != 0 {
		program := vridFilter(f, only)
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		if err := named("SO_ATTACH_FILTER", err); err != nil {
			return err
		}
	}
	if err := set(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index, "SO_BINDTOIFINDEX"); err != nil {
		return err
	}
	if f == vrrp.IPv6 {
		if only != 0 {
			// IPv4 lets any local address be the source, IPv6 wants a link-local one on
			// the interface itself.
			if err := set(unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1, "IPV6_FREEBIND"); err != nil {
				return err
			}
		}
		// Groups that other programs have joined are not for us.
		return set(unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0, "IPV6_MULTICAST_ALL")
	}
	return errors.Join(
		set(unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL"),
		// Without Don't Fragment, as keepalived and routers send it.
		set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT, "IP_MTU_DISCOVER"),
	)
}

// vridFilter lets the advertisements of one virtual router pass. The VRID is the second
// octet (RFC 9568 section 5.1); the kernel shows the filter a datagram with its IPv4 header,
// or without its IPv6 header, as the socket gets it.
func vridFilter(f vrrp.Family, only vrrp.VRID) []unix.SockFilter {
	load := []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // x = length of the IPv4 header
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 1},  // a = octet x + 1
	}
	if f == vrrp.IPv6 {
		load = []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 1}}
	}
	return append(load,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(only), Jf: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}, // all of it
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0},      // nothing
	)
}

func configure(pc *net.IPConn, ifi *net.Interface, f vrrp.Family) (socket, error) {
	var s socket
	var err error
	if f == vrrp.IPv6 {
		s, err = configure6(pc, ifi)
	} else {
		s, err = configure4(pc, ifi)
	}
	if err != nil {
		return nil, err
	}
	rc, err := pc.SyscallConn()
	if err != nil {
		return nil, err
	}
	// After the traffic class, which would set it to best effort.
	return s, control(rc, func(fd int) error {
		return named("SO_PRIORITY", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priority))
	})
}

func control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// named puts the name of the option before an error.
func named(option string, err error) error {
	if err != nil {
		return fmt.Errorf("set %s: %w", option, err)
	}
	return nil
}

// goneInterface tells whether an error means that the interface does not exist.
func goneInterface(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// downInterface tells whether an error means that the interface is down or gone. The
// link watcher says that.
func downInterface(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

type socket4 struct {
	pc  *ipv4.PacketConn
	raw *net.IPConn // the same
	ifi *net.Interface
}

func configure4(raw *net.IPConn, ifi *net.Interface) (*socket4, error) {
	pc := ipv4.NewPacketConn(raw)
	err := errors.Join(
		named("IP_MULTICAST_IF", pc.SetMulticastInterface(ifi)),
		named("IP_MULTICAST_LOOP", pc.SetMulticastLoopback(false)),
		named("IP_TOS", pc.SetTOS(trafficClass)),
		named("control messages", pc.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst|ipv4.FlagInterface, true)),
	)
	return &socket4{pc, raw, ifi}, err
}

func (s *socket4) receive(buf []byte) (datagram, error) {
	n, cm, src, err := s.pc.ReadFrom(buf)
	if err != nil {
		return datagram{}, err
	}
	if cm == nil {
		return datagram{}, errors.New("datagram without control message")
	}
	return datagram{payload: buf[:n], src: hostOf(src), dst: addrOf(cm.Dst), ttl: cm.TTL, index: cm.IfIndex}, nil
}

func (s *socket4) send(b []byte, src, dst netip.Addr, ttl int) error {
	if err := s.pc.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, _, err := s.raw.WriteMsgIP(b, control4(src, s.ifi.Index, ttl), &net.IPAddr{IP: dst.AsSlice()})
	return err
}

// control4 makes the control messages that set a datagram's source address,
// interface and TTL. x/net has none for the TTL.
func control4(src netip.Addr, index, ttl int) []byte {
	info := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(index), Spec_dst: src.As4()})
	b := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_TTL
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], uint32(ttl))
	return append(info, b...)
}

func (s *socket4) join() error  { return s.pc.JoinGroup(s.ifi, group(vrrp.IPv4)) }
func (s *socket4) leave() error { return s.pc.LeaveGroup(s.ifi, group(vrrp.IPv4)) }
func (s *socket4) close() error { return s.pc.Close() }

type socket6 struct {
	pc  *ipv6.PacketConn
	ifi *net.Interface
}

func configure6(raw net.PacketConn, ifi *net.Interface) (*socket6, error) {
	pc := ipv6.NewPacketConn(raw)
	err := errors.Join(
		named("IPV6_MULTICAST_IF", pc.SetMulticastInterface(ifi)),
		named("IPV6_MULTICAST_LOOP", pc.SetMulticastLoopback(false)),
		named("IPV6_TCLASS", pc.SetTrafficClass(trafficClass)),
		named("control messages", pc.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst|ipv6.FlagInterface, true)),
	)
	return &socket6{pc, ifi}, err
}

func (s *socket6) receive(buf []byte) (datagram, error) {
	n, cm, src, err := s.pc.ReadFrom(buf)
	if err != nil {
		return datagram{}, err
	}
	if cm == nil {
		return datagram{}, errors.New("datagram without control message")
	}
	return datagram{payload: buf[:n], src: hostOf(src), dst: addrOf(cm.Dst), ttl: cm.HopLimit, index: cm.IfIndex}, nil
}

func (s *socket6) send(b []byte, src, dst netip.Addr, ttl int) error {
	if err := s.pc.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	cm := &ipv6.ControlMessage{Src: src.AsSlice(), IfIndex: s.ifi.Index, HopLimit: ttl}
	// Without a zone: the socket is bound to the interface, and x/net remembers a
	// zone's index for a minute after the interface was made again.
	_, err := s.pc.WriteTo(b, cm, &net.IPAddr{IP: dst.AsSlice()})
	return err
}

func (s *socket6) join() error  { return s.pc.JoinGroup(s.ifi, group(vrrp.IPv6)) }
func (s *socket6) leave() error { return s.pc.LeaveGroup(s.ifi, group(vrrp.IPv6)) }
func (s *socket6) close() error { return s.pc.Close() }

func group(f vrrp.Family) net.Addr { return &net.IPAddr{IP: vrrp.Group(f).AsSlice()} }

func hostOf(a net.Addr) netip.Addr {
	if ip, ok := a.(*net.IPAddr); ok {
		return addrOf(ip.IP)
	}
	return netip.Addr{}
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
