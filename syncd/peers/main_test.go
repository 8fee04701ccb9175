package peers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. A test that needs it has failed.
const patience = 20 * time.Second

// cluster is a set of directors on addresses 127.x.y.2, .3 … that no other test uses.
type cluster struct {
	t     *testing.T
	x, y  byte
	key   [32]byte
	names []string
}

func newCluster(t *testing.T, names ...string) *cluster {
	t.Parallel() // most of a test's time is waiting for memberlist's
	return &cluster{t, byte(1 + rand.N(254)), byte(rand.N(255)), [32]byte{1, 2, 3}, names}
}

// addr is the address of the n-th director.
func (c *cluster) addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, c.x, c.y, byte(2 + n)}) }

// options are those of the n-th director.
func (c *cluster) options(n int) Options {
	o := Options{
		Self: c.names[n], Bind: c.addr(n), Port: 7946, Keys: [][32]byte{c.key}, Label: "test",
		Peers: make(map[string]netip.Addr),
		Local: Local{
			Version: "1.0",
			Started: time.Unix(1_000_000+int64(n), 0),
			Roles:   []Role{{"web", Backup}},
			Config:  "config of everybody",
		},
	}
	for i, name := range c.names {
		if i != n {
			o.Peers[name] = c.addr(i)
		}
	}
	return o
}

// node is a running director.
type node struct {
	*Peers
	t      *testing.T
	events chan Event
	logs   chan string
	end    func(crash bool)
}

func (c *cluster) start(o Options) *node {
	c.t.Helper()
	n := &node{t: c.t, events: make(chan Event), logs: make(chan string, 1000)}
	o.Events = n.events
	o.Logger = slog.New(logTap(n.logs))
	p, err := New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	n.Peers = p

	ctx, cancel := context.WithCancel(context.Background())
	crash, done := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(done)
		r := newRun(p)
		if !r.introduce(ctx) || !r.start(ctx) {
			return
		}
		r.loop(ctx)
		if <-crash {
			r.shutdown()
		} else {
			r.leave()
		}
	}()
	n.end = func(how bool) {
		select {
		case crash <- how:
		default:
			return // ended already
		}
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			c.t.Errorf("%s does not end", o.Self)
		}
	}
	c.t.Cleanup(func() { n.end(true) })
	return n
}

// until reads events until cond holds of what the node knows.
func (n *node) until(what string, cond func(map[string]Member) bool) []Event {
	n.t.Helper()
	var seen []Event
	timeout := time.After(patience)
	for !cond(n.Members()) {
		select {
		case e := <-n.events:
			seen = append(seen, e)
		case <-timeout:
			n.t.Fatalf("%s: not until now: %s\nknown: %+v\nevents: %+v", n.opts.Self, what, n.Members(), seen)
		}
	}
	return seen
}

// event reads events until one of this kind about this peer.
func (n *node) event(kind EventKind, name string) Event {
	n.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-n.events:
			if e.Kind == kind && e.Member.Name == name {
				return e
			}
		case <-timeout:
			n.t.Fatalf("%s: no %s of %s; known: %+v", n.opts.Self, kind, name, n.Members())
		}
	}
}

// log reads log lines until one that begins so.
func (n *node) log(prefix string) string {
	n.t.Helper()
	var seen []string
	timeout := time.After(patience)
	for {
		select {
		case line := <-n.logs:
			seen = append(seen, line)
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-n.events: // or the node would have events in mind, not lines
		case <-timeout:
			n.t.Fatalf("%s: no log line %q in %q", n.opts.Self, prefix, seen)
		}
	}
}

func alive(names ...string) func(map[string]Member) bool {
	return func(ms map[string]Member) bool {
		for _, name := range names {
			if !ms[name].Alive {
				return false
			}
		}
		return true
	}
}

// logTap is a slog handler that hands each line from warnings up to a channel.
type logTap chan<- string

func (logTap) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (t logTap) WithAttrs([]slog.Attr) slog.Handler         { return t }
func (t logTap) WithGroup(string) slog.Handler              { return t }
func (t logTap) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	select {
	case t <- line:
	default:
	}
	return nil
}
