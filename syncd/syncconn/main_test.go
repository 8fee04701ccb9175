package syncconn

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/syncd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streamPatience bounds every wait. A test that needs it has failed.
const streamPatience = 20 * time.Second

const testPort = 7947

// pair is two directors, lb-a and lb-b, on addresses 127.x.y.1 and up that no other test
// uses.
type pair struct {
	t    *testing.T
	x, y byte
}

func newPair(t *testing.T) *pair { return &pair{t, byte(1 + rand.N(254)), byte(rand.N(255))} }

func (p *pair) addr(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, p.x, p.y, byte(n)}) }

var (
	keyOld = [32]byte{1}
	keyNew = [32]byte{2}
)

// options are lb-a's (0) or lb-b's (1), with as many ways.
func (p *pair) options(n, ways int, keys ...[32]byte) Options {
	names := []string{"lb-a", "lb-b"}
	o := Options{Self: names[n], Port: testPort, Keys: keys, Peers: make(map[string][]syncd.Path)}
	for w := range ways {
		o.Peers[names[1-n]] = append(o.Peers[names[1-n]], syncd.Path{Local: p.addr(10*w + 1 + n), Peer: p.addr(10*w + 2 - n)})
	}
	return o
}

// node is a director that runs. It deals with what it is delivered at once.
type node struct {
	*Streams
	t     *testing.T
	peer  string
	told  chan string // what was delivered, and states
	logs  chan string
	table []string
	stop  func()
}

func (p *pair) start(o Options, table ...string) *node {
	p.t.Helper()
	n := &node{t: p.t, told: make(chan string, 10_000), logs: make(chan string, 1000), table: table}
	for name := range o.Peers {
		n.peer = name
	}
	o.Logger = slog.New(logTap(n.logs))
	s, err := New(o)
	if err != nil {
		p.t.Fatal(err)
	}
	n.Streams = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	go n.relay(ctx)
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case <-done:
		case <-time.After(streamPatience):
			p.t.Errorf("%s does not stop", o.Self)
		}
	}
	p.t.Cleanup(n.stop)
	return n
}

// relay is what the relay will be.
func (n *node) relay(ctx context.Context) {
	read := make(map[uint64]bool)
	for {
		var a syncd.StreamAction
		select {
		case a = <-n.Actions():
		case <-ctx.Done():
			return
		}
		switch a := a.Action.(type) {
		case syncd.Deliver:
			switch f := a.Frame.(type) {
			case syncd.Records:
				n.told <- string(f.Payload)
				n.Tell(n.peer, syncd.Injected{Run: a.Run, Seq: f.Seq})
			case syncd.SnapshotChunk:
				n.told <- "snapshot: " + string(f.Payload)
				n.Tell(n.peer, syncd.Injected{Run: a.Run, Seq: f.Seq})
			case syncd.SnapshotBegin:
				n.Tell(n.peer, syncd.Injected{Run: a.Run, Seq: f.Seq})
			case syncd.SnapshotEnd:
				n.Tell(n.peer, syncd.Injected{Run: a.Run, Seq: f.Seq})
			}
		case syncd.DeliverNote:
			n.told <- fmt.Sprintf("note %d: %s", a.Kind, a.Payload)
		case syncd.StateChanged:
			direction := "sending"
			if a.Receiving {
				direction = "receiving"
			}
			n.told <- direction + " " + a.To.String()
		case syncd.ReadSnapshot:
			if !read[a.Snapshot] && len(n.table) > 0 {
				n.Tell(n.peer, syncd.SnapshotPart{Snapshot: a.Snapshot, Count: len(n.table), Payload: []byte(strings.Join(n.table, " "))})
			} else {
				n.Tell(n.peer, syncd.SnapshotDone{Snapshot: a.Snapshot})
			}
			read[a.Snapshot] = true
		}
	}
}

// await reads what is told until all of these have come, in any order.
func (n *node) await(want ...string) {
	n.t.Helper()
	open := make(map[string]bool)
	for _, w := range want {
		open[w] = true
	}
	timeout := time.After(streamPatience)
	var seen []string
	for len(open) > 0 {
		select {
		case got := <-n.told:
			seen = append(seen, got)
			delete(open, got)
		case <-timeout:
			n.t.Fatalf("%s: not until now: %v\ntold: %q\nstatus: %+v", n.o.Self, open, seen, n.Status())
		}
	}
}

func (n *node) inSync() { n.t.Helper(); n.await("sending in sync", "receiving in sync") }

func (n *node) send(text string) {
	n.Tell(n.peer, syncd.Change{Count: 1, Payload: []byte(text)})
}

// log reads log lines until one that ends in one of these ways.
func (n *node) log(suffixes ...string) {
	n.t.Helper()
	var seen []string
	timeout := time.After(streamPatience)
	for {
		select {
		case line := <-n.logs:
			seen = append(seen, line)
			if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(line, s) }) {
				return
			}
		case <-timeout:
			n.t.Fatalf("%s: no log line %q in %q", n.o.Self, suffixes, seen)
		}
	}
}

// until asks again and again, a little apart.
func (n *node) until(what string, cond func() bool) {
	n.t.Helper()
	for end := time.Now().Add(streamPatience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%s: not until now: %s; %+v %v", n.o.Self, what, n.Status(), n.Refused())
		}
	}
}

// call connects to a director from an address.
func call(t *testing.T, from, to netip.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: streamPatience}
	for end := time.Now().Add(streamPatience); ; time.Sleep(5 * time.Millisecond) { // it may not listen yet
		c, err := d.Dial("tcp", netip.AddrPortFrom(to, testPort).String())
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// logTap is a slog handler that hands each line to a channel.
type logTap chan<- string

func (logTap) Enabled(context.Context, slog.Level) bool { return true }
func (t logTap) WithAttrs([]slog.Attr) slog.Handler     { return t }
func (t logTap) WithGroup(string) slog.Handler          { return t }
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
