package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

const awaitingAgent step = "waiting for the agent's line"

// agentCheck asks a program beside the real server's service, which says in one line of
// HAProxy's agent protocol how the real server is (HAProxy's configuration manual, 5.2,
// agent-check).
type agentCheck struct {
	dial    dialFunc
	send    string
	timeout time.Duration

	// ignore makes an agent that gives no answer change nothing: what it has said last
	// stands, or, as long as it has said nothing, that all is well.
	ignore  bool
	last    agentAnswer
	silence error // why there was no answer the last time; nil: there was one
}

func newAgent(sp healthcheck.Spec, t healthcheck.Target) (*agentCheck, error) {
	a := sp.Agent
	if !t.Addr.IsValid() || a.Port == 0 {
		return nil, fmt.Errorf("address %v and port %d cannot be connected to", t.Addr.Addr(), a.Port)
	}
	c := &agentCheck{
		dial: dialWithin(way{addr: netip.AddrPortFrom(t.Addr.Addr(), a.Port)}, sp.ConnectTimeout),
		send: a.Send, timeout: sp.Timeout, ignore: a.IgnoreSilence,
	}
	if c.ignore {
		c.timeout -= c.timeout / 10 // after the whole of it success would be too late
	}
	return c, nil
}

// Check succeeds unless the agent says that the real server is down.
func (c *agentCheck) Check(ctx context.Context) error {
	_, err := c.Measure(ctx)
	return err
}

// Measure returns what the agent says of the weight.
func (c *agentCheck) Measure(ctx context.Context) (healthcheck.Value, error) {
	answer, err := c.answer(ctx)
	c.silence = err
	switch {
	case err == nil:
		c.last = answer
	case !c.ignore, errors.Is(err, healthcheck.ErrNotAsked), errors.Is(err, context.Canceled):
		return healthcheck.Value{}, err
	}
	return c.last.verdict()
}

// Notice warns of an agent that gives no answer.
func (c *agentCheck) Notice() healthcheck.Notice {
	if c.silence == nil {
		return healthcheck.Notice{}
	}
	return healthcheck.Notice{Text: "no answer of the agent, ignored: " + c.silence.Error()}
}

// answer asks the agent.
func (c *agentCheck) answer(ctx context.Context) (agentAnswer, error) {
	if c.ignore {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	line, err := c.ask(ctx)
	if err != nil {
		return agentAnswer{}, err
	}
	answer, ok := parseAgent(line)
	if !ok {
		return agentAnswer{}, notAgent(line)
	}
	return answer, nil
}

// ask returns the agent's line, without its end.
func (c *agentCheck) ask(ctx context.Context) ([]byte, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	if c.send != "" {
		if _, err := io.WriteString(conn, c.send); err != nil {
			return nil, explain(ctx, sending, c.timeout, err)
		}
	}
	line, err := readAgent(conn)
	if err != nil && err != errLongLine {
		err = explain(ctx, awaitingAgent, c.timeout, err)
	}
	return line, err
}

// maxAgentLine is how long an agent's line may be.
const maxAgentLine = 1024

var errLongLine error = &cause{text: fmt.Sprintf("agent's line is longer than %d bytes", maxAgentLine)}

// readAgent reads to the first CR or LF, or to the orderly end of what is not empty.
func readAgent(r io.Reader) ([]byte, error) {
	buf := make([]byte, maxAgentLine+1)
	n := 0
	for {
		more, err := r.Read(buf[n:])
		n += more
		if end := bytes.IndexAny(buf[:n], "\r\n"); end >= 0 {
			return buf[:end], nil
		}
		switch {
		case n > maxAgentLine:
			return nil, errLongLine
		case errors.Is(err, io.EOF) && n > 0:
			return buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
}
