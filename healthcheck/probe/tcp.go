package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// tcpCheck connects, says something if it has something to say, and reads the answer if
// one is expected.
type tcpCheck struct {
	dial    dialFunc
	timeout time.Duration // for the cause's text
	send    []byte
	expect  phrase
}

func newTCP(sp healthcheck.Spec, w way) (*tcpCheck, error) {
	expect, err := newPhrase(sp.TCP.Expect, sp.TCP.Regexp)
	if err != nil {
		return nil, err
	}
	if sp.TCP.Send != "" && expect.none() {
		return nil, fmt.Errorf("what is sent to a server needs an expected answer")
	}
	return &tcpCheck{dial: dialWithin(w, sp.ConnectTimeout), timeout: sp.Timeout, send: []byte(sp.TCP.Send), expect: expect}, nil
}

// Check succeeds when the handshake is complete and the answer, if one is expected, has
// come.
func (c *tcpCheck) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	if c.expect.none() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()
	if len(c.send) > 0 {
		if _, err := conn.Write(c.send); err != nil {
			return explain(ctx, sending, c.timeout, err)
		}
	}
	return c.await(ctx, conn)
}
