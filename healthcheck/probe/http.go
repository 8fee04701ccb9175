package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// httpCheck sends one request and judges the answer's status.
//
// It uses net/http's response parser on a connection of its own, and not its
// Transport, for two reasons. A Transport dials in the background and goes on after
// the request is canceled, so that a probe would leave a goroutine and a socket
// behind for as long as the kernel tries. And it does not tell a server that does
// not answer from one that stops in the middle. (It also takes twice the
// allocations, see BenchmarkHTTP.)
//
// So there is by construction no proxy from the environment, no redirect, no
// compression and no reuse of a connection.
type httpCheck struct {
	dial     dialFunc
	timeout  time.Duration // for the cause's text
	request  []byte        // as it goes on the wire
	method   *http.Request // the parser must know that HEAD's answer has no body
	min, max int           // accepted status
}

func newHTTP(sp healthcheck.Spec, t healthcheck.Target) (*httpCheck, error) {
	h := sp.HTTP
	if h.Method != http.MethodGet && h.Method != http.MethodHead {
		return nil, fmt.Errorf("method %q is neither GET nor HEAD", h.Method)
	}
	if !strings.HasPrefix(h.Path, "/") || !visible(h.Path) {
		return nil, fmt.Errorf("path %q is not one that a request can carry", h.Path)
	}
	if !visible(h.Host) {
		return nil, fmt.Errorf("host %q is not one that a request can carry", h.Host)
	}
	if h.StatusMin < 100 || h.StatusMax > 599 || h.StatusMin > h.StatusMax {
		return nil, fmt.Errorf("status range %d-%d is not one within 100-599", h.StatusMin, h.StatusMax)
	}
	return &httpCheck{
		dial:    dialWithin(t.Addr, sp.ConnectTimeout),
		timeout: sp.Timeout,
		request: fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: hadirector\r\nConnection: close\r\n\r\n",
			h.Method, h.Path, hostHeader(h, t)),
		method: &http.Request{Method: h.Method},
		min:    h.StatusMin,
		max:    h.StatusMax,
	}, nil
}

// visible reports whether s has visible ASCII characters only: no space or line end
// that would make another request of the one that is meant.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// hostHeader is the configured Host, else the target's address in the form a browser
// sends it: without the port if that is 80, and without an IPv6 zone.
func hostHeader(h healthcheck.HTTPSpec, t healthcheck.Target) string {
	if h.Host != "" {
		return h.Host
	}
	host := t.Addr.Addr().WithZone("").String()
	if t.Addr.Addr().Is6() {
		host = "[" + host + "]"
	}
	if port := t.Addr.Port(); port != 80 {
		host += ":" + strconv.Itoa(int(port))
	}
	return host
}

// Check succeeds when the status is within the accepted range, the headers are
// complete, and the body is too or its first 64 KiB have come.
func (c *httpCheck) Check(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()

	if _, err := conn.Write(c.request); err != nil {
		return explain(ctx, sending, c.timeout, err)
	}
	bound := &io.LimitedReader{R: conn, N: maxHeaders}
	answer, err := c.readHead(ctx, bufio.NewReader(bound), bound)
	if err != nil {
		return err
	}
	if answer.StatusCode < c.min || answer.StatusCode > c.max {
		return &cause{text: fmt.Sprintf("status %d, want %s", answer.StatusCode, c.want())}
	}
	return c.readBody(ctx, answer, bound)
}

func (c *httpCheck) want() string {
	if c.min == c.max {
		return strconv.Itoa(c.min)
	}
	return fmt.Sprintf("%d-%d", c.min, c.max)
}
