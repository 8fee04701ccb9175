package probe

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// endWith ends what conn waits for when ctx ends. The caller calls what it returns when
// it is done with conn.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
}

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
	dial    dialFunc
	secure  *secureLayer       // nil without TLS
	notice  healthcheck.Notice // of the last success
	timeout time.Duration      // for the cause's text
	request []byte             // as it goes on the wire
	method  *http.Request      // the parser must know that HEAD's answer has no body
	accepts healthcheck.Statuses
	wants   expectation
}

func newHTTP(sp healthcheck.Spec, w way, store *tlsStore) (*httpCheck, error) {
	h := sp.HTTP
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost}, h.Method) {
		return nil, fmt.Errorf("method %q is not GET, HEAD, OPTIONS or POST", h.Method)
	}
	if !strings.HasPrefix(h.Path, "/") || !visible(h.Path) {
		return nil, fmt.Errorf("path %q is not one that a request can carry", h.Path)
	}
	if !visible(h.Host) {
		return nil, fmt.Errorf("host %q is not one that a request can carry", h.Host)
	}
	accepts, err := healthcheck.ParseStatuses(h.Status)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	wants, err := newExpectation(h)
	if err != nil {
		return nil, err
	}
	request, err := requestOf(sp.Type, h, w.addr)
	if err != nil {
		return nil, err
	}
	var secure *secureLayer
	if sp.Type == healthcheck.HTTPS {
		if secure, err = newSecure(store, sp.TLS, serverName(h.Host, w.addr), sp.Timeout, "http/1.1"); err != nil {
			return nil, err
		}
	}
	return &httpCheck{
		dial:    dialWithin(w, sp.ConnectTimeout),
		secure:  secure,
		timeout: sp.Timeout,
		request: request,
		method:  &http.Request{Method: h.Method},
		accepts: accepts,
		wants:   wants,
	}, nil
}

// Check succeeds when the status is an accepted one, the headers are complete, the body
// is too or its first 64 KiB have come, and that much of it is as expected.
func (c *httpCheck) Check(ctx context.Context) error {
	if c.secure != nil {
		if err := c.secure.prepare(); err != nil {
			return err
		}
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return explain(ctx, connecting, c.timeout, err)
	}
	defer reset(conn)
	stop := endWith(ctx, conn)
	defer stop()

	if c.secure != nil {
		secure, err := c.secure.handshake(ctx, conn)
		if err != nil {
			return err
		}
		c.notice = c.secure.notice(secure.ConnectionState(), time.Now())
		conn = secure
	}
	if _, err := conn.Write(c.request); err != nil {
		return explain(ctx, sending, c.timeout, err)
	}
	bound := &bounded{conn: conn, N: maxHeaders}
	answer, err := c.readHead(ctx, bufio.NewReader(bound), bound)
	if err != nil {
		return err
	}
	if !c.accepts.Has(answer.StatusCode) {
		return &cause{text: fmt.Sprintf("status %d, want %s", answer.StatusCode, c.accepts.String())}
	}
	return c.readBody(ctx, answer, bound)
}

// Notice is that of the last success.
func (c *httpCheck) Notice() healthcheck.Notice { return c.notice }
