package peers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
		Self: c.names[n], Bind: c.addr(n), Port: 7946, Key: c.key, Label: "test",
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

func TestThreeDirectorsSeeEachOther(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b", "lb-c")
	var nodes []*node
	for i := range c.names {
		nodes = append(nodes, c.start(c.options(i)))
	}
	for i, n := range nodes {
		var others []string
		for j, name := range c.names {
			if j != i {
				others = append(others, name)
			}
		}
		n.until("sees the others and their configuration", func(ms map[string]Member) bool {
			for _, name := range others {
				if _, ok := n.PeerConfig(name); !ok {
					return false
				}
			}
			return alive(others...)(ms)
		})
		if len(n.Members()) != 2 {
			t.Errorf("%s knows %d peers, want 2", n.opts.Self, len(n.Members()))
		}
	}
	m := nodes[0].Members()["lb-c"]
	want := Meta{
		Version: "1.0",
		Started: time.Unix(1_000_002, 0),
		Config:  FingerprintOf("config of everybody"),
		Roles:   []Role{{"web", Backup}},
	}
	if diff := cmp.Diff(want, m.Meta); diff != "" {
		t.Errorf("lb-a sees of lb-c -want +got\n%s", diff)
	}
	if m.Addr != c.addr(2) || m.Since.IsZero() || m.LastSeen.IsZero() || m.Why != "" {
		t.Errorf("lb-a sees lb-c as %+v", m)
	}

	// What changes at one reaches all.
	l := nodes[0].opts.Local
	l.Roles = []Role{{"web", Master}, {"mail", Backup}}
	l.Config = "another configuration"
	nodes[0].Update(l)
	for _, n := range nodes[1:] {
		n.until("sees the new role and the new configuration", func(ms map[string]Member) bool {
			text, _ := n.PeerConfig("lb-a")
			return ms["lb-a"].Meta.Masters == 1 && text == "another configuration"
		})
		if diff := cmp.Diff(l.Roles, n.Members()["lb-a"].Meta.Roles); diff != "" {
			t.Errorf("roles of lb-a -want +got\n%s", diff)
		}
	}
}

func TestTheNewestUpdateWins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.until("joined", alive("lb-b"))
	for i := range 1000 {
		a.Update(Local{Version: fmt.Sprint(i)})
	}
	b.until("sees the last update", func(ms map[string]Member) bool { return ms["lb-a"].Meta.Version == "999" })
}

func TestNothingToTellYet(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	o := c.options(0)
	o.Local = Local{}
	a, b := c.start(o), c.start(c.options(1))
	b.log("peer cannot be reached")
	a.Update(Local{Version: "2", Config: "text"})
	if e := b.event(Joined, "lb-a"); e.Member.Meta.Version != "2" || e.Member.Meta.Config != FingerprintOf("text") {
		t.Errorf("lb-a joined as %+v", e.Member.Meta)
	}
	c.start(Options{Self: "lb-c", Bind: c.addr(2), Port: 7946, Key: c.key, Label: "x"}).end(false)
}

func TestCrashAndReturn(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.event(Joined, "lb-b")
	b.event(Joined, "lb-a")

	crashed := time.Now()
	b.end(true)
	lost := a.event(Lost, "lb-b")
	if took := lost.At.Sub(crashed); took > 2*time.Second {
		t.Errorf("the crash was seen after %v, want at most 2s", took)
	}
	if m := a.Members()["lb-b"]; m.Alive || !m.Since.Equal(lost.At) || m.Meta.Version != "1.0" {
		t.Errorf("after the crash lb-a knows %+v", m)
	}
	if text, ok := a.PeerConfig("lb-b"); !ok || text != "config of everybody" {
		t.Errorf("after the crash the last configuration is %q, %t", text, ok)
	}
	line := a.log("peer cannot be reached")
	if want := fmt.Sprintf("peer cannot be reached peer=lb-b addr=%s err=connection refused: no director runs there", c.addr(1)); line != want {
		t.Errorf("logged %q, want %q", line, want)
	}

	// It comes back as a new process, with another version and an empty memory.
	o := c.options(1)
	o.Local.Version = "1.1"
	back := time.Now()
	c.start(o)
	joined := a.event(Joined, "lb-b")
	if took := joined.At.Sub(back); took > 3*time.Second {
		t.Errorf("the return was seen after %v, want at most 3s", took)
	}
	a.until("sees the new version", func(ms map[string]Member) bool { return ms["lb-b"].Meta.Version == "1.1" })
}

func TestLeave(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.event(Joined, "lb-b")
	b.event(Joined, "lb-a")
	start := time.Now()
	b.end(false)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("leaving took %v, want at most 2s", took)
	}
	a.event(Left, "lb-b")
	// And it may come back.
	c.start(c.options(1))
	a.event(Joined, "lb-b")
}

func TestAnotherKeyNeverJoins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Key = [32]byte{9}
	b := c.start(o)
	for i, n := range []*node{a, b} {
		other := c.names[1-i]
		for !strings.HasSuffix(n.log("peer cannot be reached"), "err=it has another cluster key") {
		}
		if m := n.Members()[other]; m.Alive || m.Why != "it has another cluster key" {
			t.Errorf("%s knows %+v", n.opts.Self, m)
		}
	}
}

func TestAnotherLabelNeverJoins(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Label = "other"
	c.start(o)
	for !strings.Contains(a.log("peer cannot be reached"), "err=it hung up") {
	}
	if a.Members()["lb-b"].Alive {
		t.Error("joined")
	}
}

func TestUnknownNameIsRefused(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a := c.start(c.options(0))
	o := c.options(1)
	o.Self = "mallory"
	m := c.start(o)
	m.until("mallory sees lb-a, who has answered", alive("lb-a"))
	line := a.log("director that is not configured refused")
	if want := fmt.Sprintf("director that is not configured refused peer=mallory addr=%s", c.addr(1)); line != want {
		t.Errorf("logged %q, want %q", line, want)
	}
	if len(a.Members()) != 1 || a.Members()["lb-b"].Alive {
		t.Errorf("lb-a knows %+v", a.Members())
	}
}

func TestStrangersAreDroppedAndToldOnce(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.until("joined", alive("lb-b"))

	target := netip.AddrPortFrom(c.addr(0), 7946)
	udp, err := net.DialUDP("udp", &net.UDPAddr{IP: c.addr(7).AsSlice()}, net.UDPAddrFromAddrPort(target))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 100 {
		if _, err := udp.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.addr(8).AsSlice()}}
	tcp, err := d.DialContext(t.Context(), "tcp", target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcp.SetReadDeadline(time.Now().Add(patience))
	if n, err := tcp.Read(make([]byte, 1)); err == nil {
		t.Errorf("the stranger's connection was answered with %d bytes", n)
	}

	// What comes after the strangers proves that no second line about them did.
	b.end(true)
	a.event(Lost, "lb-b")
	counts := make(map[string]int)
	for len(a.logs) > 0 {
		counts[<-a.logs]++
	}
	for _, n := range []int{7, 8} {
		line := fmt.Sprintf("director that is not configured refused peer= addr=%s", c.addr(n))
		if counts[line] != 1 {
			t.Errorf("%d lines %q, want 1", counts[line], line)
		}
	}
}

func TestListeningIsTriedAgain(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	taken, err := net.Listen("tcp", netip.AddrPortFrom(c.addr(0), 7946).String())
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.start(c.options(0)), c.start(c.options(1))
	a.log("cannot listen for peers yet")
	taken.Close()
	a.log("listening for peers now")
	a.until("joined", alive("lb-b"))
	b.until("joined", alive("lb-a"))
}

func TestAnAddressThatIsNotThere(t *testing.T) {
	c := newCluster(t, "lb-a", "lb-b")
	o := c.options(0)
	o.Bind = netip.MustParseAddr("192.0.2.1") // RFC 5737: nobody's
	a := c.start(o)
	line := a.log("cannot listen for peers yet")
	if !strings.Contains(line, "cannot assign requested address") {
		t.Errorf("logged %q", line)
	}
	a.Update(Local{Version: "2"}) // does not block
	a.end(false)
}

func TestRunReturnsNil(t *testing.T) {
	c := newCluster(t, "lb-a")
	p, err := New(c.options(0))
	if err != nil {
		t.Fatal(err)
	}
	if members := p.Members(); len(members) != 0 {
		t.Errorf("a director without peers has %v", members)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
}
