package syncconn

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout      = 3 * time.Second
	handshakeTimeout = 5 * time.Second
	retryFirst       = 200 * time.Millisecond
	retryMax         = 5 * time.Second
	// lasting is how long a connection must have lasted for the next attempt to be made
	// at once.
	lasting = 5 * time.Second
	// maxUnknown bounds the connections of one address that have yet to prove who
	// they are.
	maxUnknown = 4
)

// limitUnacked sets the kernel's own limit for what stays unacknowledged. A listener's
// connections inherit it.
func limitUnacked(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}

// spread gives a time a quarter shorter to a quarter longer.
func spread(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// dial keeps a connection over a way, for the life of the process.
func (p *peer) dial(ctx context.Context, path int) {
	wait := retryFirst
	for n := 0; ; n++ {
		ids := *p.s.ids.Load()
		id := ids[n%len(ids)]
		began := time.Now()
		c, err := p.call(ctx, path, id)
		switch {
		case ctx.Err() != nil:
			if c != nil {
				c.tls.NetConn().Close()
			}
			return
		case errors.Is(err, errWrongKey) && n%len(ids) < len(ids)-1:
			p.s.refused.add("key")
			continue // it may have the other one
		case err != nil:
			p.post(failedMsg{path, explain(err)})
		case !p.post(connectedMsg{c}):
			c.tls.NetConn().Close()
			return
		default:
			<-c.ended
			if time.Since(began) > lasting {
				wait = retryFirst
			}
		}
		n = -1 // the first key is tried first
		select {
		case <-time.After(spread(wait)):
			wait = min(2*wait, retryMax)
		case <-ctx.Done():
			return
		}
	}
}

// call makes one connection.
func (p *peer) call(ctx context.Context, path int, id *identity) (*conn, error) {
	way := p.paths[path]
	d := net.Dialer{
		Timeout:   dialTimeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(way.Local, 0)), // a virtual address may move away
		Control:   limitUnacked,
	}
	raw, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(way.Peer, p.s.o.Port).String())
	if err != nil {
		return nil, err
	}
	t := tls.Client(raw, id.config())
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return &conn{tls: t, key: id, path: path, ended: make(chan struct{}), out: make(chan []byte, 1)}, nil
}

// caller is who may connect to one of our addresses.
type caller struct {
	p       *peer
	path    int
	unknown atomic.Int32 // connections that have yet to prove who they are
}

// listen takes connections at one of our addresses, from configured addresses alone. The
// address may come with a link that is still down, so it is tried again and again.
func (s *Streams) listen(ctx context.Context, local netip.Addr) {
	callers := make(map[netip.Addr]*caller)
	for name, p := range s.peers {
		for n, path := range p.paths {
			if path.Local == local && name < s.o.Self {
				callers[path.Peer.Unmap()] = &caller{p: p, path: n}
			}
		}
	}
	lc := net.ListenConfig{Control: limitUnacked}
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(local, s.o.Port).String())
		if err == nil {
			s.accept(ctx, l, callers)
		} else {
			for _, c := range callers {
				c.p.post(failedMsg{c.path, explain(err)})
			}
		}
		select {
		case <-time.After(spread(wait)):
		case <-ctx.Done():
			return
		}
	}
}

// accept takes connections until ctx is done or the listener fails.
func (s *Streams) accept(ctx context.Context, l net.Listener, callers map[netip.Addr]*caller) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		from, _ := raw.RemoteAddr().(*net.TCPAddr)
		c := callers[from.AddrPort().Addr().Unmap().WithZone("")]
		switch {
		case c == nil:
			s.refused.add("address")
			raw.Close()
		case c.unknown.Add(1) > maxUnknown:
			c.unknown.Add(-1)
			s.refused.add("too-many")
			raw.Close()
		default:
			c.p.greeters.Go(func() {
				defer c.unknown.Add(-1)
				s.greet(ctx, raw, c)
			})
		}
	}
}

// greet has a connection prove that it is a director's.
func (s *Streams) greet(ctx context.Context, raw net.Conn, from *caller) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	ids := *s.ids.Load()
	t := tls.Server(raw, serverConfig(ids))
	if err := t.HandshakeContext(ctx); err != nil {
		raw.Close()
		why := explainCaller(err)
		s.refused.add(why.token)
		from.p.post(failedMsg{from.path, why.text})
		return
	}
	c := &conn{tls: t, path: from.path, ended: make(chan struct{}), out: make(chan []byte, 1)}
	for _, id := range ids {
		if id.verify(t.ConnectionState()) == nil {
			c.key = id
		}
	}
	if !from.p.post(connectedMsg{c}) {
		raw.Close()
	}
}
