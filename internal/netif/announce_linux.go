package netif

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp/router"
)

var _ router.Announcer = (*Announcer)(nil)

// announceTimeout bounds one call of Announce, which otherwise waits for room in
// the device's queue.
const announceTimeout = 200 * time.Millisecond

// Announcer announces addresses. It may be used by any goroutine.
//
// It checks nothing about the addresses before it sends, not even that they are on
// the interface: an announcement that is held back because a check went wrong is
// worse than one too many.
type Announcer struct {
	mu    sync.Mutex // guards the map
	socks map[string]*sock
}

// sock is one interface's packet socket, which only sends. It has a mutex of its
// own, so that an interface that is stuck delays no other.
type sock struct {
	mu    sync.Mutex
	index int          // of the interface that conn is bound to
	conn  *packet.Conn // nil until needed
}

// NewAnnouncer returns an Announcer without sockets; they are opened when needed.
func NewAnnouncer() *Announcer {
	return &Announcer{socks: map[string]*sock{}}
}

// Announce sends, for each address, what makes the neighbours on the interface's
// segment use this machine for it: for IPv4 a gratuitous ARP request and reply, for
// IPv6 an unsolicited neighbour advertisement. The prefix lengths do not matter.
// Each frame is tried, whatever happened to those before it, and the failures are
// joined.
func (a *Announcer) Announce(ifname string, addrs []netip.Prefix) error {
	s := a.sock(ifname)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nothing here waits for the kernel's lock of all links and addresses (RTNL), which
	// a busy machine may hold for long: the address has moved, and neighbours do not
	// know it yet.
	ifi := &net.Interface{Name: ifname, Index: linkIndex(ifname)}
	if ifi.Index == 0 {
		_ = s.close() // the interface is gone, and the socket is of no use
		return fmt.Errorf("announce on %s: there is no such interface", ifname)
	}
	mac, err := s.hardwareAddr(ifi)
	if err != nil {
		return fmt.Errorf("announce on %s: %w", ifname, err)
	}
	asRouter := forwardsIPv6(ifname)
	deadline := time.Now().Add(announceTimeout)
	var errs []error
	for _, p := range addrs {
		frames, err := announcement(mac, p.Addr(), asRouter)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range frames {
			if err := s.send(ifi, f, deadline); err != nil {
				errs = append(errs, fmt.Errorf("announce %v on %s: %w", p.Addr(), ifname, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (a *Announcer) sock(ifname string) *sock {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.socks[ifname]
	if !ok {
		s = &sock{}
		a.socks[ifname] = s
	}
	return s
}

// Close closes the sockets. Announce opens new ones when called again.
func (a *Announcer) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.socks {
		s.mu.Lock()
		errs = append(errs, s.close())
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// send sends one frame. A socket keeps the error of an interface that was down for
// its next caller, so a failure on a socket that was open before is tried once more
// on a new one.
func (s *sock) send(ifi *net.Interface, frame []byte, deadline time.Time) error {
	if s.conn != nil && s.index == ifi.Index {
		if err := write(s.conn, frame, deadline); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if err := s.open(ifi); err != nil {
		return err
	}
	return write(s.conn, frame, deadline)
}

// open opens the socket anew.
func (s *sock) open(ifi *net.Interface) error {
	if err := s.close(); err != nil {
		return fmt.Errorf("close packet socket: %w", err)
	}
	// Protocol 0 receives nothing, so no queue fills up unread.
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	s.index, s.conn = ifi.Index, conn
	return nil
}

// hardwareAddr is the interface's Ethernet address as it is now: bonding and the operator
// may change it. The kernel tells it as that of the socket (packet(7)).
func (s *sock) hardwareAddr(ifi *net.Interface) (net.HardwareAddr, error) {
	if s.conn == nil || s.index != ifi.Index {
		if err := s.open(ifi); err != nil {
			return nil, err
		}
	}
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var sa unix.Sockaddr
	var nerr error
	if err := raw.Control(func(fd uintptr) { sa, nerr = unix.Getsockname(int(fd)) }); err != nil {
		return nil, err
	}
	if nerr != nil {
		return nil, fmt.Errorf("ask for its address: %w", nerr)
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok || ll.Halen != 6 || ll.Hatype != unix.ARPHRD_ETHER {
		return nil, errors.New("the interface has no Ethernet address")
	}
	return net.HardwareAddr(ll.Addr[:6]), nil
}

func (s *sock) close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

func write(conn *packet.Conn, frame []byte, deadline time.Time) error {
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
	return err
}

// forwardsIPv6 tells whether this machine is a router on the interface, the way
// the kernel itself decides on the Router flag. Without IPv6 it is none.
func forwardsIPv6(ifname string) bool {
	v, err := sysctl.Get("net/ipv6/conf/" + ifname + "/forwarding")
	return err == nil && v != "0"
}
