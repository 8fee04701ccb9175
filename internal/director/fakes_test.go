package director

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/vrrp"
)

// world is everything around a director, faked, and one story of what happened to
// all of it in order.
type world struct {
	t       *testing.T
	kernel  *ipvstest.Kernel
	marker  *fakeTables[ipvs.Marking]
	fullNAT *fakeTables[ipvs.Translation]
	params  *fakeParameters
	private *fakePrivateLink
	ledger  *memoryLedger
	kept    *memoryOverrides
	down    *memoryStatuses
	vrrp    *fakeVRRP
	health  *fakeHealth
	tracks  *fakeTracks
	links   *fakeLinks
	peers   *fakePeers
	relay   *fakeRelay // nil: none
	paths   *fakePaths // nil: none
	// newPeers makes another membership than peers.
	newPeers PeersFactory
	prober   Prober
	hooks    *fakeHooks
	// interfaces are the machine's.
	interfaces func() (map[string][]netip.Prefix, error)
	slow       bool // the kernel takes its time
	// overKernel is between the director and the kernel; nil: nothing.
	overKernel Kernel

	process VRRPProcess

	newRelay   RelayFactory // nil: none
	journalled Journalled

	mu     sync.Mutex // guards what follows: every part of the director writes
	story  []string
	events []Event
	log    strings.Builder
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, kernel: ipvstest.New(), marker: &fakeTables[ipvs.Marking]{}, fullNAT: &fakeTables[ipvs.Translation]{},
		params: newFakeParameters(), private: &fakePrivateLink{}, interfaces: fourInterfaces, ledger: &memoryLedger{}, kept: &memoryOverrides{}, down: &memoryStatuses{},
	}
	w.hooks = &fakeHooks{}
	w.vrrp = &fakeVRRP{world: w, reports: make(chan vrrp.Report, 16)}
	w.health = &fakeHealth{events: make(chan healthcheck.Event, 16)}
	w.tracks, w.links = &fakeTracks{events: make(chan healthcheck.Event, 16)}, &fakeLinks{world: w}
	return w
}

func (w *world) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// told returns the story since the last call.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	story := w.story
	w.story = nil
	return story
}

// Record makes world a Recorder.
func (w *world) Record(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// Write makes world the log's writer.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

var _ io.Writer = (*world)(nil)

// logged returns the log's lines that contain text.
func (w *world) logged(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(strings.Split(w.log.String(), "\n"), func(l string) bool { return !strings.Contains(l, text) })
}

// recorded returns "kind object: text" of the events whose kind begins with prefix.
func (w *world) recorded(prefix string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, e := range w.events {
		if strings.HasPrefix(string(e.Kind), prefix) {
			list = append(list, fmt.Sprintf("%s %s: %s", e.Kind, e.Object, e.Text))
		}
	}
	return list
}

// run starts a director with the configuration and returns it with the function
// that stops it. It must be called inside a synctest bubble.
func (w *world) run(toml string) (d *Director, stop func() error) { return w.runAs("lb-a", toml) }

// runAs is run for another director.
func (w *world) runAs(self, toml string) (d *Director, stop func() error) {
	w.t.Helper()
	withoutTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	o := Options{
		Config: parse(w.t, toml), Self: self, Version: "v1",
		Kernel: w.kernel, Marker: w.marker, Translator: w.fullNAT, Params: w.params, PrivateLink: w.private, Ledger: w.ledger, Overrides: w.kept, Statuses: w.down, VRRP: w.vrrp, Health: w.health,
		Reports: w.vrrp.reports, HealthEvents: w.health.events,
		Process: w.process,
		Tracks:  w.tracks, TrackEvents: w.tracks.events, Links: w.links,
		InterfaceOf: func(netip.Addr) (string, error) { return "eth9", nil },
		Interfaces:  w.interfaces,
		Prober:      w.prober, RunHook: w.hooks.run, Recorder: w, Journalled: w.journalled, Logger: slog.New(slog.NewTextHandler(w, withoutTime)),
		Started: func() { w.tell("started") },
	}
	if w.paths != nil {
		o.ProbePaths = w.paths
	}
	if w.overKernel != nil {
		o.Kernel = w.overKernel
	}
	if w.slow {
		o.Kernel = slowKernel{w.kernel}
	}
	if w.peers != nil {
		o.NewPeers, o.KeyIDs = w.peers.make, w.peers.key
	}
	if w.relay != nil {
		o.NewRelay = w.relay.make
	}
	if w.newPeers != nil {
		o.NewPeers, o.KeyIDs = w.newPeers, func(*conf.Config) ([]string, error) { return nil, nil }
	}
	if w.newRelay != nil {
		o.NewRelay = w.newRelay
		if o.KeyIDs == nil {
			o.KeyIDs = func(*conf.Config) ([]string, error) { return nil, nil }
		}
	}
	d, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	synctest.Wait()
	return d, func() error { cancel(); return <-done }
}

// verdict delivers a check's result.
func (w *world) verdict(addr string, s healthcheck.Status, err error) {
	w.health.events <- healthcheck.Event{Target: target(addr), Status: s, Err: err}
	synctest.Wait()
}

// becomes delivers a virtual router's change of state.
func (w *world) becomes(from, to vrrp.State, reason vrrp.Reason) {
	w.vrrp.reports <- vrrp.Report{Instance: "web", At: time.Now(), Transition: vrrp.Transition{From: from, To: to, Reason: reason, Peer: netip.MustParseAddr("10.0.0.12"), PeerPriority: 100}}
	synctest.Wait()
}

type fakeVRRP struct {
	world   *world
	reports chan vrrp.Report

	mu        sync.Mutex // guards what follows
	snapshots map[string]vrrp.Snapshot
	running   map[string]vrrp.Instance
}

func (v *fakeVRRP) Apply(in map[string]vrrp.Instance) {
	v.mu.Lock()
	v.running = in
	v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v.world.tell("vrrp %s priority %d preempt %v", name, in[name].Priority, in[name].Preempt)
	}
}

func (v *fakeVRRP) HandOver(names ...string) {
	v.world.tell("hand over %s", strings.Join(names, " "))
}

func (v *fakeVRRP) Announce(names ...string) {
	v.world.tell("announce %s", strings.Join(names, " "))
}

func (v *fakeVRRP) Run(ctx context.Context) error {
	<-ctx.Done()
	v.world.tell("vrrp stopped, table has %d services", strings.Count(v.world.kernel.String(), "-A"))
	for range 100 { // more than the channel holds
		v.reports <- vrrp.Report{Instance: "web", Transition: vrrp.Transition{From: vrrp.Master, To: vrrp.Initialize, Reason: vrrp.ReasonShutdown}}
	}
	return nil
}

func (v *fakeVRRP) Snapshots() map[string]vrrp.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.snapshots)
}

// applied is a virtual router as it was last applied.
func (v *fakeVRRP) applied(name string) vrrp.Instance {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.running[name]
}

// snapshot sets what is seen of the virtual router.
func (v *fakeVRRP) snapshot(s vrrp.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshots = map[string]vrrp.Snapshot{"web": s}
}

type fakeHealth struct {
	events chan healthcheck.Event
	mu     sync.Mutex // guards what follows
	passed time.Time  // when a probe of the first real server has last succeeded
	failed time.Time  // when one of the second has last failed
	since  time.Time  // since when the second is down
}

func (*fakeHealth) Apply(map[healthcheck.Target]healthcheck.Spec) {}
func (*fakeHealth) Run(ctx context.Context) error                 { <-ctx.Done(); return nil }

// Snapshots says that the second real server's last probe was refused.
func (h *fakeHealth) Snapshots() map[healthcheck.Target]healthcheck.Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[healthcheck.Target]healthcheck.Snapshot{target("10.0.0.22:80"): {Status: healthcheck.Down, Err: errors.New("connect refused"), At: h.failed, Since: h.since, Failures: 1}}
	if !h.passed.IsZero() {
		all[target("10.0.0.21:80")] = healthcheck.Snapshot{Status: healthcheck.Up, Successes: 1, At: h.passed, Duration: time.Millisecond}
	}
	return all
}

// pass lets a probe of the first real server succeed.
func (h *fakeHealth) pass() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passed = time.Now()
}

// fail lets a probe of the second real server fail.
func (h *fakeHealth) fail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = time.Now()
}

// fails says that the second real server's check fails from now on.
func (h *fakeHealth) fails() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = time.Now()
}

func (*fakeHealth) Load() healthcheck.Load { return healthcheck.Load{Probes: 7, Late: 1} }

// memoryLedger is a Ledger, as a file would be.
type memoryLedger struct {
	mu    sync.Mutex // guards saved and err
	saved Owned
	err   error
}

func (l *memoryLedger) Load() (Owned, error) { return l.load(), nil }

func (l *memoryLedger) load() Owned {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.saved
}

func (l *memoryLedger) Save(o Owned) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.saved = o
	return nil
}

// memoryOverrides is an OverrideStore, as a file would be.
type memoryOverrides struct {
	mu    sync.Mutex // guards saved and err
	saved Registers
	err   error
}

func (o *memoryOverrides) load() Registers {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.saved)
}

func (o *memoryOverrides) Load() (Registers, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.saved), o.err
}

func (o *memoryOverrides) Save(all Registers) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.saved = all
	}
	return o.err
}

func (o *memoryOverrides) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

// memoryStatuses is a StatusStore, as a file would be.
type memoryStatuses struct {
	mu    sync.Mutex // guards what follows
	saved KeptHealth
	saves int
	err   error
}

func (s *memoryStatuses) Load() (KeptHealth, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved, s.err
}

func (s *memoryStatuses) Save(kept KeptHealth) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.err == nil {
		s.saved = kept
	}
	return s.err
}

func (s *memoryStatuses) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// kept returns the addresses that are saved, and how often that has been tried.
func (s *memoryStatuses) kept() (addrs string, saves int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for t := range s.saved.Down {
		list = append(list, t.Addr.String())
	}
	slices.Sort(list)
	return strings.Join(list, " "), s.saves
}

func owned(keys ...ipvs.ServiceKey) Owned {
	o := Owned{Services: make(map[ipvs.ServiceKey]bool)}
	for _, k := range keys {
		o.Services[k] = true
	}
	return o
}

// benchmarkDirector is a director whose parts do nothing.
func benchmarkDirector(tb testing.TB, toml string, events <-chan healthcheck.Event) *Director {
	tb.Helper()
	cfg, err := conf.Parse([]byte(toml), "bench.toml")
	if err != nil {
		tb.Fatal(err)
	}
	d, err := New(Options{
		Config: cfg, Self: "lb-a", Kernel: ipvstest.New(), Ledger: &memoryLedger{}, Overrides: &memoryOverrides{}, Statuses: &memoryStatuses{},
		Marker: &fakeTables[ipvs.Marking]{}, Translator: &fakeTables[ipvs.Translation]{}, Params: newFakeParameters(), PrivateLink: &fakePrivateLink{}, Interfaces: fourInterfaces,
		VRRP: &fakeVRRP{}, Health: &fakeHealth{}, Tracks: &fakeTracks{}, HealthEvents: events, Recorder: discard{}, Logger: slog.New(slog.DiscardHandler), Started: func() {},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

type discard struct{}

func (discard) Record(Event) {}
