package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

// stopTimeout bounds how long a stopping director tries to clean the kernel.
const stopTimeout = 10 * time.Second

// Options are what a Director is made of. All are required but Peers.
type Options struct {
	Config  *conf.Config
	Self    string // this director's name in Config
	Version string

	Kernel Kernel
	Ledger Ledger
	VRRP   VRRP
	Health Health
	// Reports and HealthEvents are where VRRP and Health tell what happened.
	Reports      <-chan vrrp.Report
	HealthEvents <-chan healthcheck.Event
	// NewPeers makes the membership of the directors; nil: none.
	NewPeers PeersFactory
	// InterfaceOf finds the interface that holds an address.
	InterfaceOf func(netip.Addr) (string, error)

	Recorder Recorder
	Logger   *slog.Logger
	// Started is called once, when the kernel has been programmed for the first
	// time or has refused to be, and the virtual routers take part.
	Started func()
}

// Director owns the facts and the configuration. Run is its loop; Reload and Status
// may be called by any goroutine.
type Director struct {
	o       Options
	reloads chan reload
	rec     *reconciler
	passes  chan Pass
	// peersChanged wakes the loop when the membership has news; its snapshot says which.
	peersChanged chan struct{}
	board        board // what readers see

	// rejected takes the reloads that did not even validate.
	rejected chan rejection

	// Everything below belongs to the goroutine of Run.
	force      inForce
	facts      Facts
	targets    map[healthcheck.Target]healthcheck.Spec
	causes     map[healthcheck.Target]string // why a target is down
	sorry      map[string]bool               // virtual servers whose sorry server serves
	peers      *peersRunner
	peerStates map[string]peerState
	started    bool   // the virtual routers take part
	ready      bool   // nothing is missing to preempt a Master
	lastErr    string // of the reconciler, so that each is said once
	ledgerErr  string
	reload     ReloadStatus
	lastPass   Pass
	repaired   uint64 // operations that undid somebody else's change
	applied    uint64 // operations that the kernel accepted
	refused    uint64 // and those that it did not
}

type reload struct {
	cfg  *conf.Config
	done chan error
}

// New checks the options and wires a Director. Nothing runs yet.
func New(o Options) (*Director, error) {
	if !hasDirector(o.Config, o.Self) {
		return nil, fmt.Errorf("director %q is not in %s", o.Self, o.Config.File)
	}
	owned, err := o.Ledger.Load()
	if err != nil {
		// What the ledger held is unknown, so nothing is taken away that the
		// configuration does not name.
		o.Logger.Warn("ledger not readable, leftovers of an earlier run stay", "err", err)
	}
	d := &Director{
		o:            o,
		reloads:      make(chan reload),
		passes:       make(chan Pass),
		peersChanged: make(chan struct{}, 1),
		rejected:     make(chan rejection, 1),
		force:        newInForce(o.Config),
		facts: Facts{
			VRRP:   make(map[string]vrrp.State),
			Health: make(map[healthcheck.Target]healthcheck.Status),
		},
		causes:     make(map[healthcheck.Target]string),
		sorry:      make(map[string]bool),
		peerStates: make(map[string]peerState),
		reload:     ReloadStatus{At: time.Now(), OK: true},
	}
	d.rec = &reconciler{
		kernel: o.Kernel, ledger: o.Ledger, interfaceOf: o.InterfaceOf,
		desired: newMailbox[Desired](), passes: d.passes, owned: owned,
	}
	d.peers = newPeersRunner(o.NewPeers, o.Self, d.peersChanged, o.Logger)
	d.board.started = time.Now()
	d.publish()
	return d, nil
}

// Run works until ctx is canceled and then leaves a clean machine: every Master
// says priority 0 and gives up its addresses, then services and sync daemons go.
// Its error says what could not be cleaned.
func (d *Director) Run(ctx context.Context) error {
	// Each part has a context of its own, because they stop one after the other.
	routers := spawn(d.o.VRRP.Run)
	checks := spawn(d.o.Health.Run)
	peers := spawn(d.peers.run)
	reconciler := spawn(d.rec.run)

	d.record(Event{Kind: EventStart, Object: d.o.Self, Text: "started version " + d.o.Version + " with " + d.force.cfg.File})
	d.configure()
	d.loop(ctx)

	d.o.Logger.Info("stopping")
	// The virtual routers go first: the peer takes over at once and new
	// connections find it, while what is still under way here is still served.
	err := routers.stop()
	d.lastReports()
	err = errors.Join(err, checks.stop(), peers.stop(), reconciler.stop())

	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	p := d.rec.clean(clean)
	if cerr := p.err(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("clean the kernel's ipvs: %w", cerr))
	}
	d.record(Event{Kind: EventStop, Object: d.o.Self, Text: "stopped"})
	return err
}

// loop handles one event after the other.
func (d *Director) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.o.Reports:
			d.transition(r)
		case e := <-d.o.HealthEvents:
			d.healthBatch(e)
		case p := <-d.passes:
			d.passed(p)
			continue // a pass changes nothing about what is desired
		case <-d.peersChanged:
			d.peersNews()
			continue
		case r := <-d.rejected:
			d.rejectedReload(r)
			continue
		case r := <-d.reloads:
			r.done <- d.apply(r.cfg)
			continue
		}
		d.compile()
	}
}

// configure hands the current configuration to all parts.
func (d *Director) configure() {
	d.targets = Targets(d.force.cfg)
	d.o.Health.Apply(d.targets)
	d.peers.configure(d.force.cfg)
	d.applyInstances()
	d.announce()
	d.compile()
}

// compile works out the desired state, hands it to the reconciler and publishes
// what readers see.
func (d *Director) compile() {
	d.rec.desired.put(Compile(d.force.cfg, d.o.Self, d.facts))
	d.publish()
}

// applyInstances starts or updates the virtual routers. They do not take part
// before the kernel was programmed, or has refused, once: a Master whose table is
// empty would refuse every connection.
func (d *Director) applyInstances() {
	if d.started {
		d.o.VRRP.Apply(Instances(d.force.cfg, d.o.Self, d.ready))
	}
}

// transition takes in a virtual router's change of state.
func (d *Director) transition(r vrrp.Report) {
	if _, ok := virtualRouter(d.force.cfg, r.Instance); !ok {
		delete(d.facts.VRRP, r.Instance) // stopped by a reload
	} else {
		d.facts.VRRP[r.Instance] = r.To
	}
	d.logTransition(r)
	d.announce()
}

// healthBatch takes in an event and whatever else is waiting behind it: after a
// start thousands of checks have their first verdict at the same time, and one
// compilation serves them all.
func (d *Director) healthBatch(e healthcheck.Event) {
	for more := true; more; {
		d.health(e)
		select {
		case e = <-d.o.HealthEvents:
		default:
			more = false
		}
	}
	d.readiness()
}

// health takes in a target's change of status.
func (d *Director) health(e healthcheck.Event) {
	was := d.facts.Health[e.Target]
	if _, ok := d.targets[e.Target]; !ok || was == e.Status {
		return // a reload has taken it away, or nothing new
	}
	d.facts.Health[e.Target] = e.Status
	delete(d.causes, e.Target)
	if e.Err != nil {
		d.causes[e.Target] = e.Err.Error()
	}
	d.logHealth(e, was)
}

// readiness tells the virtual routers when this director has become ready, or has
// ceased to be after a reload that brought new checks.
func (d *Director) readiness() {
	ready := len(NotReady(d.force.cfg, d.facts)) == 0
	if ready == d.ready {
		return
	}
	d.ready = ready
	d.o.Logger.Info("readiness changed", "director", d.o.Self, "ready", ready)
	d.applyInstances()
}

// passed takes in the outcome of a reconciliation.
func (d *Director) passed(p Pass) {
	d.logPass(p)
	first := !d.started
	if first && (p.Read || len(d.force.cfg.VirtualServers) == 0) {
		d.started = true
	}
	d.facts.Programmed = d.facts.Programmed || p.Reached
	d.readiness()
	if first && d.started {
		d.applyInstances()
		d.o.Started()
	}
	d.lastPass = p
	d.publish()
}

// Reload replaces the configuration. It returns when the new one is in force, or
// with an error when nothing has changed. The caller has validated cfg.
func (d *Director) Reload(ctx context.Context, cfg *conf.Config) error {
	r := reload{cfg: cfg, done: make(chan error, 1)}
	select {
	case d.reloads <- r:
		return <-r.done
	case <-ctx.Done():
		return fmt.Errorf("reload %s: %w", cfg.File, ctx.Err())
	}
}

// Fingerprint is that of the configuration in force. Any goroutine may call it.
func (d *Director) Fingerprint() [16]byte { return d.board.current.Load().force.fingerprint }

// lastReports says what the stopping virtual routers have reported.
func (d *Director) lastReports() {
	for {
		select {
		case r := <-d.o.Reports:
			d.logTransition(r)
		default:
			return
		}
	}
}

// inForce is a configuration with what is derived from it once.
type inForce struct {
	cfg         *conf.Config
	at          time.Time // when it was put in force
	text        string    // canonical
	fingerprint [16]byte
}

func newInForce(cfg *conf.Config) inForce {
	return inForce{cfg: cfg, at: time.Now(), text: cfg.Canonical(), fingerprint: cfg.Fingerprint()}
}

// hasDirector tells whether a director of that name can run with a configuration. One
// without directors is a plain load balancer's, and its director has any name.
func hasDirector(cfg *conf.Config, name string) bool {
	_, ok := cfg.Director(name)
	return ok || len(cfg.Directors) == 0
}

// virtualRouter finds a virtual router by its name.
func virtualRouter(cfg *conf.Config, name string) (conf.VirtualRouter, bool) {
	i := slices.IndexFunc(cfg.VirtualRouters, func(vr conf.VirtualRouter) bool { return vr.Name == name })
	if i < 0 {
		return conf.VirtualRouter{}, false
	}
	return cfg.VirtualRouters[i], true
}

// runner is a part's goroutine and the way to stop it.
type runner struct {
	cancel context.CancelFunc
	done   chan error
}

// spawn runs a part under a context of its own, which ends with stop.
func spawn(run func(context.Context) error) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	return r
}

func (r *runner) stop() error {
	r.cancel()
	return <-r.done
}

// board is what readers see, written by the loop alone.
type board struct {
	started time.Time
	current atomic.Pointer[published]
}
