package probe

import (
	"context"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// tcpCheck connects and nothing more.
type tcpCheck struct {
	dial    dialFunc
	timeout time.Duration // for the cause's text
}

func newTCP(sp healthcheck.Spec, t healthcheck.Target) *tcpCheck {
	return &tcpCheck{dial: dialWithin(t.Addr, sp.ConnectTimeout), timeout: sp.Timeout}
}

// Check succeeds when the handshake is complete.
func (c *tcpCheck) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	reset(conn)
	return nil
}
