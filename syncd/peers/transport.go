package peers

import (
	"context"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own with three differences: it listens only to the
// configured addresses, it dials TCP from the director's own address, and its shutdown
// ends the connections that are open, so that nobody waits for their time-outs.
type transport struct {
	*memberlist.NetTransport
	bind    netip.Addr
	allowed map[netip.Addr]bool
	refuse  func(from netip.Addr)

	packets chan *memberlist.Packet
	streams chan net.Conn

	serving context.Context // ends when shutdown begins
	stop    context.CancelFunc
	filters sync.WaitGroup
	drained chan struct{} // closed when the listeners have ended
	once    sync.Once     // memberlist's shutdown, and ours when memberlist did not start

	mu   sync.Mutex // guards open and down: connections come and go on memberlist's goroutines
	open map[*conn]struct{}
	down bool
}

// newTransport listens. refuse is told the source of everything that is dropped; it must
// not block.
func newTransport(bind netip.Addr, port uint16, allowed map[string]netip.Addr, refuse func(netip.Addr), logger *log.Logger) (*transport, error) {
	nt, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{bind.String()},
		BindPort:  int(port),
		Logger:    logger,
	})
	if err != nil {
		return nil, err // says itself what was attempted, and where
	}
	t := &transport{
		NetTransport: nt,
		bind:         bind,
		allowed:      make(map[netip.Addr]bool),
		refuse:       refuse,
		packets:      make(chan *memberlist.Packet),
		streams:      make(chan net.Conn),
		drained:      make(chan struct{}),
		open:         make(map[*conn]struct{}),
	}
	for _, a := range allowed {
		t.allowed[a] = true
	}
	t.serving, t.stop = context.WithCancel(context.Background())
	t.filters.Go(t.filterPackets)
	t.filters.Go(t.filterStreams)
	return t, nil
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// source is the address that a packet or connection comes from, in the form in which
// configured addresses are compared.
func source(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func (t *transport) filterPackets() {
	for {
		select {
		case p := <-t.NetTransport.PacketCh():
			if from := source(p.From); !t.allowed[from] {
				t.refuse(from)
				continue
			}
			select {
			case t.packets <- p:
			case <-t.serving.Done():
			}
		case <-t.drained:
			return
		}
	}
}

func (t *transport) filterStreams() {
	for {
		select {
		case c := <-t.NetTransport.StreamCh():
			if from := source(c.RemoteAddr()); !t.allowed[from] {
				t.refuse(from)
				c.Close()
				continue
			}
			tracked := t.track(c)
			select {
			case t.streams <- tracked:
			case <-t.serving.Done():
				tracked.Close()
			}
		case <-t.drained:
			return
		}
	}
}

// PacketCh gives the datagrams from configured addresses.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh gives the connections from configured addresses.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout dials from the director's own address.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout dials from the director's own address.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   timeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.bind, 0)),
	}
	c, err := d.DialContext(t.serving, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	// memberlist sets a deadline of its own, but not for messages: a peer that stands still
	// must not hold one for ever.
	if err := c.SetDeadline(time.Now().Add(messageTimeout)); err != nil {
		c.Close()
		return nil, err
	}
	return t.track(c), nil
}

// messageTimeout bounds how long a message to a peer may take.
const messageTimeout = 10 * time.Second

// Shutdown stops listening and closes every connection.
func (t *transport) Shutdown() error {
	t.once.Do(t.shutdown)
	return nil
}

func (t *transport) shutdown() {
	// From here on the filters drop what comes, but they go on taking it until the
	// listeners have ended: a listener that hands something over does not look up.
	t.stop()
	t.NetTransport.Shutdown() // always nil
	close(t.drained)
	t.filters.Wait()

	t.mu.Lock()
	t.down = true
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
}

// conn is a connection that its transport can close.
type conn struct {
	net.Conn
	t *transport
}

func (t *transport) track(c net.Conn) *conn {
	tracked := &conn{c, t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down {
		c.Close() // its user sees it at the first read
		return tracked
	}
	t.open[tracked] = struct{}{}
	return tracked
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.t.mu.Lock()
	delete(c.t.open, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
