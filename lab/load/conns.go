package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Conns is a number of connections to an echo service which stay open. On each, a line is
// sent and must come back, again and again.
type Conns struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	speak  []chan struct{} // of one element: what Speak asks for

	mu      sync.Mutex // guards states and changed
	states  []connState
	changed chan struct{} // closed and replaced at each change
}

type connState struct {
	server string    // who answers; it must not change
	sent   time.Time // when the last line that came back was sent
	lines  int
	err    error // what ended it
}

// Open opens n connections to target and exchanges a line on each, every interval; with an
// interval of 0 one line, and no more until Speak. It returns when each has had its first
// answer. Enter is as in Requests.
func Open(ctx context.Context, target netip.AddrPort, n int, interval time.Duration, enter func() error) (*Conns, error) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Conns{cancel: cancel, states: make([]connState, n), changed: make(chan struct{})}
	conns, err := dialAll(ctx, target, n, enter)
	if err != nil {
		cancel()
		return nil, err
	}
	for range conns {
		c.speak = append(c.speak, make(chan struct{}, 1))
	}
	for i, conn := range conns {
		stop := context.AfterFunc(background, func() { conn.Close() })
		c.done.Go(func() {
			defer stop()
			// From the second line on, the connections' lines are spread over the interval.
			c.talk(background, i, conn, interval, interval*time.Duration(i)/time.Duration(n))
		})
	}
	return c, c.wait(ctx, func(s connState) bool { return s.lines > 0 })
}

// dialAll opens the connections from one thread, so that Enter is called once.
func dialAll(ctx context.Context, target netip.AddrPort, n int, enter func() error) ([]net.Conn, error) {
	type result struct {
		conns []net.Conn
		err   error
	}
	results := make(chan result)
	go func() {
		var r result
		if enter != nil {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			r.err = enter()
		}
		var d net.Dialer
		for len(r.conns) < n && r.err == nil {
			var conn net.Conn
			if conn, r.err = d.DialContext(ctx, "tcp4", target.String()); r.err == nil {
				r.conns = append(r.conns, conn)
			}
		}
		results <- r
	}()
	r := <-results
	if r.err != nil {
		for _, conn := range r.conns {
			conn.Close()
		}
		return nil, fmt.Errorf("connection %d of %d: %w", len(r.conns)+1, n, r.err)
	}
	return r.conns, nil
}

// talk exchanges lines until the connection fails or ctx is done. Nothing here has a time
// limit: TCP decides when a connection is dead, as it does for a real client.
func (c *Conns) talk(ctx context.Context, i int, conn net.Conn, interval, shift time.Duration) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.speak[i]:
		}
		sent := time.Now()
		server, err := exchange(conn, lines, n)
		if ctx.Err() != nil {
			return
		}
		c.update(i, func(s *connState) {
			if err == nil && s.server != "" && s.server != server {
				err = fmt.Errorf("%s answered on a connection to %s", server, s.server)
			}
			s.err = err
			if err == nil {
				s.server, s.sent = server, sent
				s.lines++
			}
		})
		if err != nil {
			return
		}
		if interval > 0 {
			timer.Reset(interval + shift)
		}
		shift = 0
	}
}

// exchange sends the nth line and returns the name of the real server that sent it back.
func exchange(conn net.Conn, lines *bufio.Reader, n int) (server string, err error) {
	if _, err := fmt.Fprintf(conn, "%d\n", n); err != nil {
		return "", err
	}
	answer, err := lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	server, text, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	if text != fmt.Sprint(n) {
		return "", fmt.Errorf("sent %d, got back %q", n, answer)
	}
	return server, nil
}

func (c *Conns) update(i int, f func(*connState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.states[i])
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until each connection has failed or satisfies ok.
func (c *Conns) wait(ctx context.Context, ok func(connState) bool) error {
	for {
		pending := 0
		c.mu.Lock()
		for _, s := range c.states {
			if s.err == nil && !ok(s) {
				pending++
			}
		}
		changed := c.changed
		c.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d connections are silent: %w", pending, context.Cause(ctx))
		}
	}
}

// Speak has every connection exchange a line now.
func (c *Conns) Speak() {
	for _, speak := range c.speak {
		select {
		case speak <- struct{}{}:
		default: // it is about to
		}
	}
}

// Kept waits until every connection has either failed or brought back a line that was sent
// after since, until ctx is done at the latest. It returns how many went on, and for those
// that did not, the reasons with their number.
func (c *Conns) Kept(ctx context.Context, since time.Time) (kept int, lost map[string]int) {
	_ = c.wait(ctx, func(s connState) bool { return s.sent.After(since) }) // counted below
	c.mu.Lock()
	defer c.mu.Unlock()
	lost = make(map[string]int)
	for _, s := range c.states {
		switch {
		case s.err != nil:
			lost[reason(s.err)]++
		case !s.sent.After(since):
			lost["silent"]++
		default:
			kept++
		}
	}
	return kept, lost
}

// reason drops the addresses from a network error: the same cause is the same text.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// ByServer returns how many connections each real server has.
func (c *Conns) ByServer() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := make(map[string]int)
	for _, s := range c.states {
		by[s.server]++
	}
	return by
}

// Close closes the connections.
func (c *Conns) Close() {
	c.cancel()
	c.done.Wait()
}
