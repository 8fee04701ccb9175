package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hadirector/hadirector/syncd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// established is a connection of a client through the virtual server that this director is
// Master of, unless a test says otherwise.
func established(client string) syncd.Conn {
	return syncd.Conn{
		Protocol: syncd.ProtocolTCP, Client: netip.MustParseAddrPort(client), Virtual: netip.MustParseAddrPort("10.0.0.100:80"),
		Real: netip.MustParseAddrPort("10.0.0.21:80"), Flags: syncd.ForwardDirect, State: syncd.StateTCPEstablished, Timeout: 15 * time.Minute,
	}
}

func closing(c syncd.Conn) syncd.Conn {
	c.State, c.Flags, c.Timeout = 4, c.Flags|syncd.FlagInactive, 2*time.Minute
	return c
}

// clients names connections by their clients and states.
func clients(conns []syncd.Conn) string {
	var s []string
	for _, c := range conns {
		s = append(s, c.Client.Addr().String()+" "+c.StateName())
	}
	return strings.Join(s, ", ")
}

// fakeKernel is a kernel with its sync daemons.
type fakeKernel struct {
	mu      sync.Mutex // guards the rest: the relay's workers, and the test
	capture *fakeCapture
	opened  map[string]int // by what was opened
	open    map[string]int // of these, what is open
	fails   map[string]error
	holds   map[string]chan struct{} // until it is closed
	table   []lasting                // what a list shows
	told    []syncd.Conn             // to the backup daemon
	syncIDs []uint8
	deaf    bool // what it is told it does not take
	silent  bool // its master daemon does not send the ticks
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{opened: make(map[string]int), open: make(map[string]int), fails: make(map[string]error), holds: make(map[string]chan struct{})}
}

// use opens something; the error is the one that a test has set.
func (k *fakeKernel) use(ctx context.Context, what string) error {
	k.mu.Lock()
	hold, err := k.holds[what], k.fails[what]
	k.opened[what]++
	k.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (k *fakeKernel) count(what string, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[what] += n
}

func (k *fakeKernel) fail(what string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails[what] = err
}

func (k *fakeKernel) mute(silent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = silent
}

// hold lets what is asked for wait until release is called.
func (k *fakeKernel) hold(what string) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := make(chan struct{})
	k.holds[what] = c
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.holds, what)
		close(c)
	}
}

func (k *fakeKernel) has(conns ...syncd.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = nil
	k.enter(conns)
}

// times returns how often something was opened or read.
func (k *fakeKernel) times(what string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened[what]
}

// wasTold returns what the backup daemon was told since the last call.
func (k *fakeKernel) wasTold() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := clients(k.told)
	k.told = nil
	return s
}

// says is what the master daemon sends.
func (k *fakeKernel) says(lost uint32, conns ...syncd.Conn) {
	for d, err := range syncd.Messages(1, syncd.MaxMessage, slices.Values(conns)) {
		if err != nil {
			panic(err)
		}
		k.mu.Lock()
		c := k.capture
		k.mu.Unlock()
		c.datagrams <- syncd.Datagram{Payload: slices.Clone(d), At: time.Now(), Lost: lost}
	}
}

func (k *fakeKernel) Capture() (Capture, error) {
	if err := k.use(context.Background(), "capture"); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open["capture"]++
	k.capture = &fakeCapture{k: k, datagrams: make(chan syncd.Datagram, 1000), broken: make(chan error, 1), closed: make(chan struct{})}
	return k.capture, nil
}

func (k *fakeKernel) Injector(syncID uint8) (Injector, error) {
	if err := k.use(context.Background(), "injector"); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open["injector"]++
	k.syncIDs = append(k.syncIDs, syncID)
	return &fakeInjector{k: k}, nil
}

func (k *fakeKernel) Tick(ctx context.Context) error {
	if err := k.use(ctx, "tick"); err != nil {
		return err
	}
	k.count("tick", 1)
	defer k.count("tick", -1)
	<-ctx.Done()
	return ctx.Err()
}

func (k *fakeKernel) Connections(ctx context.Context) ([]syncd.Living, error) {
	k.count("list", 1)
	defer k.count("list", -1)
	if err := k.use(ctx, "list"); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list(), nil
}

// lasting is a connection in the kernel, and until when.
type lasting struct {
	syncd.Conn
	until time.Time
}

// list returns what is there. It has whole seconds.
func (k *fakeKernel) list() (all []syncd.Living) {
	for _, l := range k.table {
		if left := time.Until(l.until); left >= 0 {
			all = append(all, syncd.Living{Conn: l.Conn, Remaining: left.Truncate(time.Second)})
		}
	}
	return all
}

type fakeCapture struct {
	k         *fakeKernel
	datagrams chan syncd.Datagram
	broken    chan error
	closed    chan struct{}
}

func (c *fakeCapture) Read() (syncd.Datagram, error) {
	select {
	case d := <-c.datagrams:
		return d, nil
	case err := <-c.broken:
		return syncd.Datagram{}, err
	case <-c.closed:
		return syncd.Datagram{}, os.ErrClosed
	}
}

func (c *fakeCapture) Heard() time.Time {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if c.k.silent {
		return time.Time{}
	}
	return time.Now()
}

func (c *fakeCapture) Close() error {
	c.k.count("capture", -1)
	close(c.closed)
	return nil
}

type fakeInjector struct {
	k    *fakeKernel
	sent uint64
}

func (i *fakeInjector) Inject(ctx context.Context, datagrams [][]byte) error {
	if err := i.k.use(ctx, "inject"); err != nil {
		return err
	}
	i.k.mu.Lock()
	defer i.k.mu.Unlock()
	for _, d := range datagrams {
		m, err := syncd.ParseMessage(d)
		if err != nil || m.NotTaken > 0 {
			return fmt.Errorf("the daemon cannot read it: %w", errors.Join(err, errors.ErrUnsupported))
		}
		i.k.told = append(i.k.told, m.Conns...)
		if !i.k.deaf {
			i.k.enter(m.Conns)
		}
		i.sent++
	}
	return nil
}

// enter puts connections into the kernel's table.
func (k *fakeKernel) enter(conns []syncd.Conn) {
	for _, c := range conns {
		k.forget(c)
		k.table = append(k.table, lasting{c, time.Now().Add(c.Timeout)})
	}
}

func (k *fakeKernel) forget(c syncd.Conn) {
	k.table = slices.DeleteFunc(k.table, func(l lasting) bool { return l.Client == c.Client })
}

func (i *fakeInjector) Counts() (sent, dropped, again uint64) { return i.sent, 0, 0 }

func (i *fakeInjector) Close() error { i.k.count("injector", -1); return nil }

// fakeStreams notes what peers' Links are told.
type fakeStreams struct {
	actions chan syncd.StreamAction
	mu      sync.Mutex // guards told
	told    []string
	running bool
}

func newFakeStreams() *fakeStreams { return &fakeStreams{actions: make(chan syncd.StreamAction)} }

func (s *fakeStreams) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	return nil
}

func (s *fakeStreams) Actions() <-chan syncd.StreamAction { return s.actions }

func (s *fakeStreams) TellAll(ev syncd.LinkEvent) { s.Tell("all", ev) }

func (s *fakeStreams) Tell(peer string, ev syncd.LinkEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := fmt.Sprintf("%T %+v", ev, ev)
	switch ev := ev.(type) {
	case syncd.Change:
		what = "change " + clients(conns(ev.Payload))
	case syncd.Injected:
		what = fmt.Sprintf("injected %d", ev.Seq)
	case syncd.SetNote:
		what = fmt.Sprintf("note %d", ev.Kind)
	case syncd.SnapshotPart:
		what = fmt.Sprintf("part of %d", ev.Count)
	case syncd.SnapshotDone:
		what = "done"
	case syncd.WantResync:
		what = "want resync"
	}
	s.told = append(s.told, peer+": "+what)
}

// wasTold returns what was told since the last call, but for notes of digests.
func (s *fakeStreams) wasTold() string {
	return strings.Join(slices.DeleteFunc(s.all(), func(s string) bool { return strings.Contains(s, ": note ") }), "; ")
}

func (s *fakeStreams) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

func (s *fakeStreams) Status() map[string]syncd.StreamStatus {
	return map[string]syncd.StreamStatus{"lb-b": {Paths: []syncd.PathStatus{{Err: "connection refused"}, {Err: "connection refused"}}}}
}

func (s *fakeStreams) Refused() map[string]uint64 { return map[string]uint64{"key": 1} }

// conns reads the records of a frame.
func conns(payload []byte) (all []syncd.Conn) {
	for len(payload) > 0 {
		c, rest, err := syncd.ParseConn(payload)
		if err != nil {
			panic(err)
		}
		all, payload = append(all, c), rest
	}
	return all
}

func payload(conns ...syncd.Conn) (b []byte) {
	for _, c := range conns {
		var err error
		if b, err = syncd.AppendConn(b, c); err != nil {
			panic(err)
		}
	}
	return b
}

// logbook is what was logged.
type logbook struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logbook) taken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return strings.Join(lines, "\n")
}

// rig is a relay with everything around it.
type rig struct {
	*Relay
	t       *testing.T
	kernel  *fakeKernel
	streams *fakeStreams
	logs    *logbook
	changed chan struct{}
	seq     uint64
	stop    func()
}

// simulate runs a test with a Relay that runs, in a bubble of its own.
func simulate(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, kernel: newFakeKernel(), streams: newFakeStreams(), logs: new(logbook), changed: make(chan struct{}, 1)}
		r.run(r.streams)
		test(t, r)
		r.stop()
		for what, n := range r.kernel.open {
			if n != 0 {
				t.Errorf("%d of %s are left open", n, what)
			}
		}
		if r.streams.running {
			t.Error("the streams still run")
		}
	})
}

func (r *rig) run(s Streams) {
	r.Relay = New(Options{Peers: []string{"lb-b"}, Limit: 10_000, Kernel: r.kernel, Streams: s, Changed: r.changed, Logger: slog.New(r.logs)})
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

// ordered are the orders of a Backup with everything in place.
var ordered = Orders{Ready: true, Interface: 7, Epoch: 1, SyncID: 1, Capture: true, Inject: true}

// master makes them a Master's, of everything.
func master(o Orders) Orders {
	o.Serves, o.Serving = func(syncd.Conn) bool { return true }, "all"
	return o
}

// order gives orders and waits until they are carried out.
func (r *rig) order(o Orders) {
	r.Apply(o)
	synctest.Wait()
}

// wait lets time pass.
func (r *rig) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// act has a peer's Link want something. It waits until somebody has begun with it.
func (r *rig) act(a syncd.LinkAction) {
	r.t.Helper()
	select {
	case r.streams.actions <- syncd.StreamAction{Peer: "lb-b", Action: a}:
	case <-time.After(time.Minute):
		r.t.Fatalf("nobody takes %T", a)
	}
	synctest.Wait()
}

// deliver has the peer tell connections.
func (r *rig) deliver(conns ...syncd.Conn) {
	r.t.Helper()
	r.seq++
	r.act(syncd.Deliver{Run: 9, Frame: syncd.Records{Place: syncd.Place{Seq: r.seq}, Count: uint32(len(conns)), Payload: payload(conns...)}})
}

// connect has the Link to the peer be in sync, in both directions.
func (r *rig) connect() {
	r.t.Helper()
	for _, receiving := range []bool{false, true} {
		r.act(syncd.StateChanged{Receiving: receiving, From: syncd.LinkConnecting, To: syncd.LinkInSync})
	}
}

// notes has the peer tell its digests.
func (r *rig) notes(all ...syncd.ServerDigest) {
	r.t.Helper()
	book := syncd.NewDigestBook()
	book.Set(all)
	for i, page := range book.Notes() {
		r.act(syncd.DeliverNote{Kind: uint8(syncd.NoteDigests + i), Payload: page})
	}
}

// expect compares texts.
func (r *rig) expect(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s:\n got  %s\n want %s", what, got, want)
	}
}

func (r *rig) peer() syncd.RelayPeer { return r.Status().Peers[0] }
