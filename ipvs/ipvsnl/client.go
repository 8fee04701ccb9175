package ipvsnl

import (
	"context"
	"os"
	"sync"
	"time"
)

// Client talks to the IPVS of one network namespace. Its methods may be called from
// any goroutine; the kernel sees one request after the other.
//
// Every call ends in bounded time: when the context ends, or when the kernel has
// been silent for the time of [Options.Timeout]. A call that is cut off has lost its
// answer: whether the change was made is unknown, and the sockets are replaced
// before the next call. A call that the kernel itself does not return from keeps
// the client busy, and all others end with [ErrTimeout] until it does.
type Client struct {
	timeout time.Duration
	proc    *os.File   // /proc/net/ip_vs; nil: there is none
	reading sync.Mutex // guards proc's position
	dial    func() (*conn, error)
	release func() error // after the last socket

	// tunnels is of the goroutine that owns the sockets, in a call's work.
	tunnels tunnelSupport

	calls chan call
	quit  chan struct{}
	done  chan struct{}
	close func() error
}

// call is a piece of work for the goroutine that owns the sockets.
type call struct {
	ctx   context.Context
	alive func() // the kernel has answered: the silence starts anew
	work  func(*conn) error
	err   chan<- error
}

// newClient starts the goroutine that owns the sockets. c is the first pair.
func newClient(timeout time.Duration, c *conn, dial func() (*conn, error), release func() error) *Client {
	cl := &Client{
		timeout: timeout,
		dial:    dial,
		release: release,
		calls:   make(chan call),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	cl.close = sync.OnceValue(func() error {
		close(cl.quit)
		<-cl.done
		return cl.release()
	})
	go cl.own(c)
	return cl
}

// Close ends the client. It waits for the call that is under way.
func (c *Client) Close() error { return c.close() }

// own runs the calls one after the other. A pair of sockets lives until a call on it
// is cut off.
func (c *Client) own(sockets *conn) {
	defer close(c.done)
	defer func() {
		if sockets != nil {
			sockets.close()
		}
	}()
	for {
		select {
		case <-c.quit:
			return
		case call := <-c.calls:
			sockets = c.run(call, sockets)
		}
	}
}

// run carries out one call and returns the sockets for the next one.
func (c *Client) run(call call, sockets *conn) *conn {
	if sockets == nil {
		fresh, err := c.dial()
		if err != nil {
			call.err <- err
			return nil
		}
		sockets = fresh
	}
	used := *sockets
	used.exchanger, used.call = &keepAlive{sockets.exchanger, call.alive}, call
	call.alive()
	// Closing the sockets is what ends a wait for an answer that will not come.
	stop := context.AfterFunc(call.ctx, sockets.close)
	err := call.work(&used)
	if !stop() {
		sockets = nil
	}
	call.err <- err
	return sockets
}

// keepAlive reports each exchange that came back.
type keepAlive struct {
	exchanger
	alive func()
}

func (k *keepAlive) exchange(cmd uint8, flags int, attrs []byte) ([][]byte, error) {
	msgs, err := k.exchanger.exchange(cmd, flags, attrs)
	k.alive()
	return msgs, err
}

// do has work carried out on the sockets and waits for it. If do returns early, work
// may still be running: what it writes must not be read then.
func (c *Client) do(ctx context.Context, work func(*conn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.timeout, func() { cancel(ErrTimeout) })
	defer silence.Stop()

	result := make(chan error, 1)
	select {
	case c.calls <- call{ctx, func() { silence.Reset(c.timeout) }, work, result}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrClosed
	}
	select {
	case err := <-result:
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx) // err is of the socket that was closed under the call
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
