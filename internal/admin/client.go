package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
)

// ErrNotRunning says that no daemon answers on the socket.
var ErrNotRunning = errors.New("no hadirector is running")

// Client talks to a daemon's admin socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the socket at path. It connects with each call.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks for the director's status.
func (c *Client) Status(ctx context.Context) (director.Status, error) {
	var s director.Status
	err := c.call(ctx, http.MethodGet, "/v1/status", &s)
	return s, err
}

// Reload has the daemon load its configuration file again. The error is the daemon's
// reason for keeping the old one.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var r Reloaded
	err := c.call(ctx, http.MethodPost, "/v1/reload", &r)
	return r, err
}

// Switchover gives the named virtual routers, all of them without a name, to another
// director, and tells which did take over.
func (c *Client) Switchover(ctx context.Context, names []string) ([]director.SwitchedOver, error) {
	var out []director.SwitchedOver
	err := c.call(ctx, http.MethodPost, "/v1/switchover?"+url.Values{"instance": names}.Encode(), &out)
	return out, err
}

// Override makes a live change of real servers. By is not sent: the daemon sees who asks.
func (c *Client) Override(ctx context.Context, req director.OverrideRequest) (Overridden, error) {
	q := url.Values{"target": {req.Target}, "kind": {string(req.Kind)}}
	if req.Kind == director.OverrideWeight {
		q.Set("weight", strconv.FormatUint(uint64(req.Weight), 10))
	}
	if req.For != 0 {
		q.Set("for", req.For.String())
	}
	if req.Reason != "" {
		q.Set("reason", req.Reason)
	}
	var out Overridden
	err := c.call(ctx, http.MethodPost, "/v1/override?"+q.Encode(), &out)
	return out, err
}

// Events calls each with the journal's records from since on; with follow it goes on
// until ctx is canceled, each returns an error, or the daemon stops.
func (c *Client) Events(ctx context.Context, since time.Time, follow bool, each func(journal.Record) error) error {
	q := url.Values{"since": {since.Format(time.RFC3339Nano)}}
	if follow {
		q.Set("follow", "1")
	}
	resp, err := c.do(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var rec journal.Record
		if err := dec.Decode(&rec); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read events from %s: %w", c.path, err)
		}
		if err := each(rec); err != nil {
			return err
		}
	}
}

// callTimeout bounds a request whose answer is one object, so that a command does not
// wait for ever for a daemon that was stopped by SIGSTOP or a debugger.
const callTimeout = 30 * time.Second

func (c *Client) call(ctx context.Context, method, path string, into any) error {
	return c.send(ctx, method, path, nil, into)
}

// send is call with a body.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.path, err)
	}
	return nil
}

// do makes a request; an answer that is an error becomes one.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://hadirector"+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.path, err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing answers on %s", ErrNotRunning, c.path)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("the daemon on %s does not answer", c.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission to use %s: run this as root", c.path)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", c.path, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e apiError
	if json.NewDecoder(resp.Body).Decode(&e) != nil || e.Error == "" {
		e.Error = resp.Status
	}
	return nil, errors.New(e.Error)
}
