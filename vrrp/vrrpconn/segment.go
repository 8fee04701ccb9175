package vrrpconn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// maxDatagram is more than the longest advertisement, 255 IPv6 addresses in
	// 4088 bytes, so one that was cut off has a wrong length too.
	maxDatagram = 4160
	// A socket that only gives errors is asked again after a time that doubles from
	// the first to the last.
	firstPause = time.Millisecond
	lastPause  = time.Second

	discardedMsg = "datagram discarded"
)

// errSlow is why an advertisement was lost that was in order.
var errSlow = errors.New("the virtual router does not keep up")

// datagram is what a socket received. Addresses have no zone.
type datagram struct {
	payload  []byte
	src, dst netip.Addr
	ttl      int // or hop limit
	index    int // of the interface that it came in on
}

// socket is a raw VRRP socket bound to one interface.
type socket interface {
	// receive waits for a datagram and reads it into buf. After close it returns an
	// error that wraps net.ErrClosed.
	receive(buf []byte) (datagram, error)
	// send may be called by any goroutine. It does not block for long.
	send(b []byte, src, dst netip.Addr, ttl int) error
	// join and leave are for the family's VRRP group.
	join() error
	leave() error
	close() error
}

// segment is one interface and family: the socket, and the virtual routers on it.
// The goroutine of receive reads the socket.
type segment struct {
	sock   socket
	key    segmentKey
	logger *slog.Logger
	group  netip.Addr
	closed chan struct{} // closed by close
	done   chan struct{} // closed when receive has returned
	users  int           // guarded by the Hub's mutex: Conns that receive or send here

	mu sync.Mutex // guards what follows
	// conns are the virtual routers.
	conns map[vrrp.VRID]*conn
	// members is how many of them listen to the group.
	members    int
	complaints *complaints
}

func newSegment(sock socket, key segmentKey, logger *slog.Logger) *segment {
	return &segment{
		sock: sock, key: key, logger: logger, group: vrrp.Group(key.family),
		closed: make(chan struct{}), done: make(chan struct{}),
		conns: map[vrrp.VRID]*conn{}, complaints: newComplaints(logger),
	}
}

func (s *segment) add(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.id.VRID] != nil {
		return errors.New("already open")
	}
	if !c.unicast {
		if s.members == 0 {
			if err := s.sock.join(); err != nil {
				return fmt.Errorf("join %v: %w", s.group, err)
			}
		}
		s.members++
	}
	s.conns[c.id.VRID] = c
	return nil
}

// remove ends the delivery to a Conn.
func (s *segment) remove(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.id.VRID)
	if c.unicast {
		return nil
	}
	if s.members--; s.members > 0 {
		return nil
	}
	// An interface that is gone has no members.
	if err := s.sock.leave(); err != nil && !goneInterface(err) {
		return fmt.Errorf("leave %v: %w", s.group, err)
	}
	return nil
}

// close closes the socket and waits until nobody reads it.
func (s *segment) close() error {
	close(s.closed)
	err := s.sock.close()
	<-s.done
	return err
}

// receive reads datagrams until the socket is closed.
func (s *segment) receive() {
	defer close(s.done)
	buf := make([]byte, maxDatagram)
	pause := firstPause
	for {
		d, err := s.sock.receive(buf)
		if err == nil {
			pause = firstPause
			s.dispatch(d)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.failed(err)
		select {
		case <-s.closed:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// dispatch gives a datagram to the virtual router that it is for.
func (s *segment) dispatch(d datagram) {
	// The socket is bound to the interface, so this is a second line of defence.
	if d.index != s.key.index {
		s.discard(d, fmt.Errorf("%w: interface %d", vrrp.ErrDestination, d.index))
		return
	}
	if len(d.payload) < 2 {
		s.discard(d, fmt.Errorf("%w: %d bytes", vrrp.ErrShort, len(d.payload)))
		return
	}
	vrid := vrrp.VRID(d.payload[1])
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.conns[vrid]
	if !ok {
		// Normal: another cluster on the same segment.
		s.count("vrid")
		s.logger.Debug("advertisement of another virtual router", "vrid", uint8(vrid), "peer", d.src)
		return
	}
	r, err := c.accept(d)
	if err != nil {
		reason := vrrp.DiscardReason(err)
		c.discarded[reason]++
		s.complaints.add(discardedMsg, complaint{vrid, reason, d.src}, err)
		return
	}
	if lost, ok := c.queue(r); ok {
		s.complaints.add(discardedMsg, complaint{lost.ID.VRID, ReasonOverflow, lost.From}, errSlow)
	}
}

// discard counts and says what cannot be said to be for one virtual router on all of
// them.
func (s *segment) discard(d datagram, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := vrrp.DiscardReason(err)
	s.count(reason)
	s.complaints.add(discardedMsg, complaint{reason: reason, peer: d.src}, err)
}

// failed counts and says that the socket gave an error.
func (s *segment) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := vrrp.DiscardReason(err)
	s.count(reason)
	if downInterface(err) {
		s.logger.Debug("cannot receive", "err", err)
		return
	}
	s.complaints.add("cannot receive", complaint{reason: reason}, err)
}

// count is called with the mutex held.
func (s *segment) count(reason string) {
	for _, c := range s.conns {
		c.discarded[reason]++
	}
}
