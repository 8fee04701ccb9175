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
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		_ = s.close() // the interface is gone, and the socket is of no use
		return fmt.Errorf("announce on %s: %w", ifname, err)
	}
	// Asked each time: bonding and the operator may change it.
	if len(ifi.HardwareAddr) != 6 {
		return fmt.Errorf("announce on %s: the interface has no Ethernet address", ifname)
	}
	asRouter := forwardsIPv6(ifname)
	deadline := time.Now().Add(announceTimeout)
	var errs []error
	for _, p := range addrs {
		frames, err := announcement(ifi.HardwareAddr, p.Addr(), asRouter)
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
	if err := s.close(); err != nil {
		return fmt.Errorf("close packet socket: %w", err)
	}
	// Protocol 0 receives nothing, so no queue fills up unread.
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	s.index, s.conn = ifi.Index, conn
	return write(conn, frame, deadline)
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
