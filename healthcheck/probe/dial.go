package probe

import (
	"context"
	"errors"
	"net"
	"time"
)

// dialFunc opens the connection that a probe asks on.
type dialFunc func(context.Context) (net.Conn, error)

// dialWithin returns the dialFunc for a way, with a timeout for the connect alone, for
// the types that have a ConnectTimeout; 0 means that of the context. Keep-alive probes are
// off: they would start long after the probe has ended. (Dialer.DialTCP would bind the
// socket to a local port first, and then no two probes at a time could share one.)
func dialWithin(w way, timeout time.Duration) dialFunc {
	dialer := net.Dialer{KeepAlive: -1, Timeout: timeout}
	return func(ctx context.Context) (net.Conn, error) {
		deadline, has := ctx.Deadline()
		first := timeout > 0 && (!has || time.Until(deadline) > timeout)
		conn, err := w.stream(ctx, dialer)
		if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() && first {
			return nil, &connectTimeout{timeout, err}
		}
		return conn, err
	}
}

// connectTimeout is the error of a connect that took longer than its own timeout.
type connectTimeout struct {
	after time.Duration
	error
}

func (c *connectTimeout) Unwrap() error { return c.error }

// reset closes a connection with a reset instead of the orderly close, see the
// package comment. The verdict stands already, so nobody wants its errors.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
