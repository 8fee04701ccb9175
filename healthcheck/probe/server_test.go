package probe

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// listen starts a server on 127.0.0.1 that gives each connection to serve and closes
// it afterwards. It ends with the test.
func listen(tb testing.TB, serve func(*net.TCPConn)) healthcheck.Target {
	tb.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		tb.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				if tb.Context().Err() != nil {
					return // closed below
				}
				continue // reset before it was accepted
			}
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return healthcheck.Target{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Check: "c"}
}

// readRequest reads the probe's request and returns it, nil if it does not come.
func readRequest(conn net.Conn) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return nil
	}
	return r
}

// untilClosed waits until the probe has closed its connection.
func untilClosed(conn net.Conn) {
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

// says answers a request with bytes and closes.
func says(answer string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		readRequest(conn)
		_, _ = conn.Write([]byte(answer))
	}
}

// saysAndWaits answers a request with bytes and leaves the connection open.
func saysAndWaits(answer string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		says(answer)(conn)
		untilClosed(conn)
	}
}

// repeats answers a request with bytes, and then with others again and again.
func repeats(first, again string) func(*net.TCPConn) {
	more := []byte(again)
	return func(conn *net.TCPConn) {
		readRequest(conn)
		_, err := conn.Write([]byte(first))
		for err == nil {
			_, err = conn.Write(more)
		}
	}
}

// deadlineContext is a context whose deadline passes when the test says so: no test has
// to guess how long is long enough for bytes to arrive.
type deadlineContext struct {
	context.Context // canceled by pass
	pass            context.CancelFunc
	passed          atomic.Bool
}

func newDeadlineContext(parent context.Context) *deadlineContext {
	ctx, cancel := context.WithCancel(parent)
	d := &deadlineContext{Context: ctx}
	d.pass = func() {
		d.passed.Store(true)
		cancel()
	}
	return d
}

func (d *deadlineContext) Err() error {
	if err := d.Context.Err(); err == nil || !d.passed.Load() {
		return err
	}
	return context.DeadlineExceeded
}

// stallingConn passes the deadline when its reader has had some bytes and wants more.
type stallingConn struct {
	net.Conn
	after int
	pass  func()
}

func (c *stallingConn) Read(b []byte) (int, error) {
	if c.after <= 0 {
		c.pass()
	}
	n, err := c.Conn.Read(b)
	c.after -= n
	return n, err
}

func (c *stallingConn) SetLinger(sec int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(sec)
	}
	return nil
}

// stall makes a dialFunc's connections pass the deadline of ctx after some bytes.
func stall(dial dialFunc, ctx *deadlineContext, after int) dialFunc {
	return func(context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &stallingConn{Conn: conn, after: after, pass: ctx.pass}, nil
	}
}

// tcpSpec and httpSpec are checks with the default figures.
func tcpSpec() healthcheck.Spec {
	return healthcheck.Spec{Name: "c", Type: healthcheck.TCP, Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 1, Fall: 3}
}

func httpSpec() healthcheck.Spec {
	sp := tcpSpec()
	sp.Type = healthcheck.HTTP
	sp.HTTP = healthcheck.HTTPSpec{Method: "GET", Path: "/health", Host: "www.example.com", Status: "200-299"}
	return sp
}

// untilClosedTCP accepts, and says nothing.
func untilClosedTCP(conn *net.TCPConn) { untilClosed(conn) }
