package probe

import (
	"context"
	"net"
	"net/netip"
)

// dialFunc opens the connection that a probe asks on.
type dialFunc func(context.Context) (net.Conn, error)

// dialTo returns the dialFunc for an address. Keep-alive probes are off: they would
// start long after the probe has ended. (Dialer.DialTCP would bind the socket to a
// local port first, and then no two probes at a time could share one.)
func dialTo(addr netip.AddrPort) dialFunc {
	dialer := &net.Dialer{KeepAlive: -1}
	address := addr.String()
	return func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	}
}

// reset closes a connection with a reset instead of the orderly close, see the
// package comment. The verdict stands already, so nobody wants its errors.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
