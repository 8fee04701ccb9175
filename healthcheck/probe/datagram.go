package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// datagramTo returns the dialFunc for datagrams on a way. The socket is connected:
// it takes datagrams from there alone, and the ICMP errors about its own.
func datagramTo(w way) dialFunc {
	option, level := unix.IP_RECVERR, unix.SOL_IP
	if addr := w.addr.Addr(); addr.Is6() && !addr.Is4In6() {
		option, level = unix.IPV6_RECVERR, unix.SOL_IPV6
	}
	// Without the option the kernel tells of a closed port alone, and not of a host or a
	// network that routers cannot reach.
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error { return unix.SetsockoptInt(fd, level, option, 1) })
	}}
	return func(ctx context.Context) (net.Conn, error) { return w.datagrams(ctx, dialer) }
}

// exchange is a datagram and the wait for the one that answers it, or for an ICMP error.
type exchange struct {
	dial    dialFunc
	timeout time.Duration // for the cause's text
	request []byte
	// again is when the request is sent once more, since either datagram may get lost.
	again time.Duration
	// wait is how long silence has to last to be a success; 0: it is none.
	wait time.Duration
	// judge looks at a datagram that has come. It is the verdict unless more is true.
	judge func(datagram []byte) (verdict error, more bool)
}

func (x exchange) run(ctx context.Context) error {
	conn, err := x.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, x.timeout, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	if _, err := conn.Write(x.request); err != nil {
		return explain(ctx, sending, x.timeout, err)
	}
	// An ICMP error is told once: to the one who reads, or to this write.
	writeErr := make(chan error, 1)
	again := time.AfterFunc(x.again, func() {
		if _, err := conn.Write(x.request); err != nil {
			writeErr <- err
			_ = conn.SetReadDeadline(longAgo)
		}
	})
	defer again.Stop()
	if x.wait > 0 {
		silence := time.AfterFunc(x.wait, func() { _ = conn.SetReadDeadline(longAgo) })
		defer silence.Stop()
	}
	buf := make([]byte, healthcheck.MaxReply+1)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			select {
			case err = <-writeErr:
			default:
				err = cmp.Or(pendingError(conn), err)
			}
		}
		if x.wait > 0 && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		if err != nil {
			return explain(ctx, awaitingAnswer, x.timeout, err)
		}
		if verdict, more := x.judge(buf[:n]); !more {
			return verdict
		}
	}
}

// pendingError is the ICMP error that a socket still has to tell of. One that came before a
// deadline is not told by a read after it: a director without processor time reads late.
func pendingError(conn net.Conn) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	errno := 0
	_ = raw.Control(func(fd uintptr) { errno, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
	if errno == 0 {
		return nil
	}
	return syscall.Errno(errno)
}

// udpCheck sends a datagram and waits for a reply, or for a while in which no ICMP error
// comes.
type udpCheck struct {
	exchange
	reply    healthcheck.Pattern
	min, max int
}

func newUDP(sp healthcheck.Spec, w way) (*udpCheck, error) {
	u := sp.UDP
	switch {
	case u.Payload == "":
		return nil, errors.New("there is no payload to send")
	case u.Wait < 0 || u.Wait > sp.Timeout:
		return nil, fmt.Errorf("wait %v is not within the timeout %v", u.Wait, sp.Timeout)
	case len(u.Reply.Value) != len(u.Reply.Mask):
		return nil, errors.New("the reply's pattern has a mask of another length")
	case u.Wait == 0 && (u.ReplyMin < 0 || u.ReplyMin > u.ReplyMax || u.ReplyMax > healthcheck.MaxReply):
		return nil, fmt.Errorf("reply of %d to %d bytes is not within 0 to %d", u.ReplyMin, u.ReplyMax, healthcheck.MaxReply)
	}
	c := &udpCheck{reply: u.Reply, min: u.ReplyMin, max: u.ReplyMax}
	c.exchange = exchange{
		dial: datagramTo(w), timeout: sp.Timeout, request: []byte(u.Payload), again: sp.Timeout / 2, judge: c.judge,
		wait: min(u.Wait, sp.Timeout-sp.Timeout/10), // after the whole timeout success would be too late
	}
	return c, nil
}

// Check succeeds when the reply has come, or the wait is over and no error has.
func (c *udpCheck) Check(ctx context.Context) error { return c.run(ctx) }

// judge takes the first datagram for the reply.
func (c *udpCheck) judge(datagram []byte) (error, bool) {
	switch n := len(datagram); {
	case c.wait > 0:
		return nil, false // whatever it says, somebody is there
	case n < c.min:
		return &cause{text: fmt.Sprintf("answer shorter than %d bytes", c.min)}, false
	case n > c.max:
		return &cause{text: fmt.Sprintf("answer longer than %d bytes", c.max)}, false
	case !c.reply.Matches(datagram):
		return &cause{text: fmt.Sprintf("answer %s, want %s", shown(datagram), shownPattern(c.reply))}, false
	}
	return nil, false
}

// shown is the beginning of a datagram in the form that the configuration has.
func shown(b []byte) string { return quoted([]byte(healthcheck.FormatBytes(string(b)))) }

func shownPattern(p healthcheck.Pattern) string { return quoted([]byte(p.String())) }
