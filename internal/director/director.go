package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// stopTimeout bounds how long a stopping director tries to clean the kernel.
const stopTimeout = 10 * time.Second

// Options are what a Director is made of. All are required but ProbePaths, Prober, RunHook,
// NewPeers, NewRelay, Process and Journalled.
type Options struct {
	Config  *conf.Config
	Self    string // this director's name in Config
	Version string

	Kernel Kernel
	Marker Marker
	// Translator does what the forwarding method fullnat needs beside Kernel.
	Translator Translator
	Params     Parameters
	// PrivateLink is where the kernel's sync daemons talk when connections are relayed.
	PrivateLink PrivateLink
	Ledger      Ledger
	// Overrides keeps what operators want instead of the configuration.
	Overrides OverrideStore
	// Statuses keeps which targets are down, for checks whose initial is "last", and panics.
	Statuses StatusStore
	VRRP     VRRP
	Health   Health
	// ProbePaths makes the probes of Health that go through virtual addresses; nil: there
	// are none.
	ProbePaths ProbePaths
	// Reports and HealthEvents are where VRRP and Health tell what happened.
	Reports      <-chan vrrp.Report
	HealthEvents <-chan healthcheck.Event
	Process      VRRPProcess
	// Tracks asks about the tracks that have to be asked, and TrackEvents is where it
	// tells. Links tells of the interfaces that are tracks.
	Tracks      Health
	TrackEvents <-chan healthcheck.Event
	Links       Links
	// NewPeers makes the membership of the directors; nil: none.
	NewPeers PeersFactory
	// NewRelay makes the relay of connections; nil: none.
	NewRelay RelayFactory
	// KeyIDs name the cluster's keys that a configuration asks for, the one in use first,
	// so that membership and relay follow them.
	KeyIDs func(*conf.Config) ([]string, error)
	// InterfaceOf finds the interface that holds an address.
	InterfaceOf func(netip.Addr) (string, error)
	// Interfaces are this machine's, with their addresses.
	Interfaces func() (map[string][]netip.Prefix, error)
	// Prober asks who has the virtual addresses; nil: nobody does.
	Prober Prober
	// RunHook runs the commands that virtual servers name; nil: none is run.
	RunHook HookRunner

	Recorder Recorder
	// Journalled is what the journal has of other directors' events.
	Journalled Journalled
	Logger     *slog.Logger
	// Started is called once, when the kernel's table has been read and programmed
	// as far as the kernel would, and the virtual routers take part.
	Started func()
}

// Director owns the facts and the configuration. Run is its loop; Reload,
// RejectReload, Settle and Status may be called by any goroutine.
type Director struct {
	o       Options
	rec     *reconciler
	peers   *peersRunner
	relay   *relayRunner
	witness *witnessRunner
	split   *splitRunner
	board   board // what readers see
	passes  chan Pass
	reloads chan reloadRequest
	plans   chan planRequest
	orders  chan *switchover
	// overrides are requests, and live is what is kept of those before.
	overrides chan *overriding
	rejected  mailbox[rejection]
	// peersChanged wakes the loop when the membership has news, and relayChanged when the
	// relay has; their snapshots say which.
	peersChanged, relayChanged chan struct{}

	// Everything below belongs to the goroutine of Run.
	force inForce
	facts Facts
	// waiting is how many checks have no verdict of their own yet.
	waiting int
	// seen counts the checked real servers by their status, toldSight is what other directors
	// have been told of that, and blinded the one that sees more.
	seen      [3]int
	toldSight Sight
	blinded   string
	verdicts  verdicts // those of facts, for readers
	links     linkWatch
	desired   Desired // the newest
	look      bool    // what is desired next comes from a reload
	// instancesAt is the generation of the desired state that must have been tried
	// before the configured virtual routers are applied; 0: they have been.
	instancesAt uint64
	// running is the configuration that the virtual routers run with: the one before
	// until then, nil before the first.
	// ranBefore is the one before that.
	running, ranBefore *conf.Config
	started            bool // the virtual routers take part
	live               overrideState
	statuses           keptStatuses
	hooks              *hooks
	ready              bool // nothing is missing to preempt a Master
	everReady          bool // it has been, since the start
	// yielded is when a virtual router was switched over to another director. Until it
	// is Master again it preempts nobody.
	yielded  map[string]time.Time
	hold     map[string]bool // the virtual routers that must not take over, on_split
	switches []*switchover
	senders  map[string][]netip.Addr // where the other directors advertise from, as they tell
	relaying relayState
	// announced is where this director has told them that it advertises from.
	announced []netip.Addr
	// later wakes the loop when the passing of time alone changes the virtual routers.
	later    *time.Timer
	reload   ReloadStatus
	ops      reloadOps
	lastPass Pass
	said     said // what the log has been told
	// views are the directors' verdicts on real servers, failovers what they tell of their
	// virtual routers.
	views     viewing
	failovers failovers
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
		passes:       make(chan Pass),
		reloads:      make(chan reloadRequest),
		rejected:     newMailbox[rejection](),
		peersChanged: make(chan struct{}, 1),
		relayChanged: make(chan struct{}, 1),
		force:        newInForce(o.Config),
		facts: Facts{
			VRRP:    make(map[string]vrrp.State),
			Health:  make(map[healthcheck.Target]healthcheck.Status),
			Assumed: make(map[healthcheck.Target]bool),
			Values:  make(map[healthcheck.Target]healthcheck.Value),
			Pools:   make(map[string]Memory),
			Tracks:  make(map[string]TrackState),
		},
		reload:    ReloadStatus{At: time.Now(), OK: true},
		said:      newSaid(),
		yielded:   make(map[string]time.Time),
		senders:   make(map[string][]netip.Addr),
		plans:     make(chan planRequest),
		orders:    make(chan *switchover),
		overrides: make(chan *overriding),
		hooks:     newHooks(),
		later:     time.NewTimer(0),
	}
	<-d.later.C
	d.views = newViewing()
	d.failovers = newFailovers(time.Now(), o.Journalled)
	d.rec = &reconciler{
		kernel: o.Kernel, marker: o.Marker, translator: o.Translator, params: o.Params, privateLink: o.PrivateLink, ledger: o.Ledger, paths: o.ProbePaths,
		interfaceOf: o.InterfaceOf, interfaces: o.Interfaces,
		desired: newMailbox[Desired](), passes: d.passes, rehearsals: make(chan rehearsing), owned: owned,
	}
	d.live.keeper = overrideKeeper{store: o.Overrides, want: newMailbox[numbered](), saved: make(chan savedOverrides)}
	d.live.heard, d.live.refused = make(map[string]string), make(map[string]string)
	d.statuses.keeper = statusKeeper{store: o.Statuses, logger: o.Logger, want: newMailbox[KeptHealth]()}
	d.loadStatuses()
	d.configureHooks(o.Config)
	d.stillLeaving(owned.Leaving)
	d.relaying.gate = make(syncGate)
	d.peers, d.relay = newPeersRunner(o, d.peersChanged), newRelayRunner(o, d.relayChanged)
	d.witness, d.split = newWitnessRunner(o, d.peers), newSplitRunner(o, d.peers)
	d.board.started = time.Now()
	d.publish()
	return d, nil
}

// Run works until ctx is canceled and then leaves a clean machine: every Master
// says priority 0 and gives up its addresses, then services and sync daemons go, unless
// on_stop keeps them.
// Its error says what could not be cleaned.
func (d *Director) Run(ctx context.Context) error {
	routers := spawn(d.o.VRRP.Run)
	checks, tracks := spawn(d.o.Health.Run), spawn(d.o.Tracks.Run)
	peers, relay := spawn(d.peers.run), spawn(d.relay.run)
	witness, split := spawn(d.witness.run), spawn(d.split.run)
	reconciler, keeper, statuses := spawn(d.rec.run), spawn(d.live.keeper.run), spawn(d.statuses.keeper.run)

	d.record(Event{Kind: EventStart, Object: d.o.Self, Text: "started version " + d.o.Version + " with " + d.force.cfg.File})
	d.logResumed()
	d.loadOverrides()
	d.configure()
	d.loop(ctx)

	d.o.Logger.Info("stopping")
	d.abandonSwitches()
	// The virtual routers go first: the peer takes over at once and new
	// connections find it, while what is still under way here is still served.
	err := d.stopRouters(routers)
	d.unwatchLinks()
	err = errors.Join(err, checks.stop(), tracks.stop(), witness.stop(), split.stop(), peers.stop(), relay.stop(), reconciler.stop(), statuses.stop())
	d.stopHooks()
	kept := keeper.stop()
	d.answerOverrides(kept)
	err = errors.Join(err, kept)

	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	p := d.rec.pass(clean, d.atStop())
	d.logParameters(p)
	for _, s := range p.Released {
		if s.Err != nil {
			err = errors.Join(err, fmt.Errorf("put back kernel parameter %s: %w", s.Name, s.Err))
		}
	}
	if errs := slices.Concat(p.Errs, p.SyncErrs); len(errs) > 0 {
		err = errors.Join(err, fmt.Errorf("leave the kernel's ipvs as it should be: %w", errors.Join(errs...)))
	}
	d.record(Event{Kind: EventStop, Object: d.o.Self, Text: "stopped"})
	return err
}

// atStop is what the kernel holds after the end of this run: nothing, or with
// on_stop = "keep" what it holds now. The ledger names it as ours, so the next run takes
// it over. Meanwhile another director is Master, whose connections are received by a daemon
// on the wire. Those on the private interface have nobody to talk to without this program:
// they stay so that the next run need not start them, but the tick goes.
func (d *Director) atStop() Desired {
	if !d.force.cfg.IPVS.KeepOnStop {
		return Desired{}
	}
	f := d.facts
	f.VRRP = nil
	d.o.Logger.Info("services stay in the kernel")
	kept := Compile(d.force.cfg, d.o.Self, f)
	kept.tick(false)
	return kept
}

// loop handles one event after the other.
func (d *Director) loop(ctx context.Context) {
	for {
		d.arm()
		select {
		case <-ctx.Done():
			return
		case r := <-d.o.Reports:
			d.transition(r)
		case e := <-d.o.HealthEvents:
			d.healthBatch(e)
		case e := <-d.o.TrackEvents:
			d.trackEvent(e)
		case links := <-d.links.news:
			d.linksChanged(links)
		case p := <-d.passes:
			d.passed(p)
		case <-d.o.Process.Pulse:
			continue
		case e := <-d.o.Process.Ends:
			d.processEnded(e)
		case <-d.peersChanged:
			d.peersNews()
		case <-d.relayChanged:
			d.relayNews()
			d.notesNews()
		case n := <-d.witness.news:
			d.witnessed(n)
		case n := <-d.split.news:
			d.splitNews(n)
		case e := <-d.hooks.ended:
			d.hookEnded(e)
		case <-d.later.C:
			d.timePassed()
		case o := <-d.orders:
			d.switchover(o)
		case o := <-d.overrides:
			d.override(o)
		case s := <-d.live.keeper.saved:
			d.overridesSaved(s)
		case r := <-d.rejected:
			d.rejectedReload(r)
		case r := <-d.reloads:
			out, err := d.apply(r.next)
			d.publish() // before the answer: who has it waits for the kernel next, see Settle
			r.done <- reloaded{out, err}
		case r := <-d.plans:
			r.answer <- d.draft(r.next, time.Now())
			continue
		}
		d.publish()
	}
}

// stopRouters stops the virtual routers and says what they report meanwhile.
func (d *Director) stopRouters(routers *runner) error {
	routers.cancel()
	for {
		select {
		case r := <-d.o.Reports:
			d.logTransition(r)
		case err := <-routers.done:
			for len(d.o.Reports) > 0 {
				d.logTransition(<-d.o.Reports)
			}
			return err
		}
	}
}

// configure hands the current configuration to all parts. The virtual routers get
// theirs when the kernel has been brought to it, see passed: a Master must not
// announce an address whose service is not there yet.
func (d *Director) configure() {
	if d.o.ProbePaths != nil {
		d.o.ProbePaths.Avoid(movingVIPs(d.force.cfg, d.o.Self))
	}
	d.o.Health.Apply(d.force.targets)
	d.waiting = d.facts.waiting(d.force.targets)
	d.lookAround()
	d.configureTracks()
	d.peers.configure(d.force.cfg)
	d.relay.configure(d.force.cfg)
	d.orderRelay()
	d.moveGate()
	d.announce()
	d.compile()
	d.keepAllStatuses() // when it is known which panics go on
	d.instancesAt = d.desired.Generation
	d.knownTracks()
	d.readiness()
	d.configureRouters()
	d.compareSight()
	d.configureViews()
}

// compile works out the desired state and hands it to the reconciler if it is a new
// one.
func (d *Director) compile() {
	d.facts.rememberAll(d.force.cfg)
	next := Compile(d.force.cfg, d.o.Self, d.facts)
	next.changed = next.since(d.desired)
	d.give(next)
}

// give hands a desired state to the reconciler if it is a new one.
func (d *Director) give(next Desired) {
	if d.desired.Generation > 0 && len(next.changed) == 0 && next.SyncAddr == d.desired.SyncAddr && next.Private == d.desired.Private &&
		slices.Equal(next.Daemons, d.desired.Daemons) && slices.Equal(next.Marks, d.desired.Marks) &&
		slices.Equal(next.Translations, d.desired.Translations) && maps.Equal(next.Leaving, d.desired.Leaving) &&
		slices.EqualFunc(next.Parameters, d.desired.Parameters, Need.equal) {
		return
	}
	next.Generation = d.desired.Generation + 1
	d.desired = next
	next.look = d.look
	d.hand(next)
}

// hand puts a desired state into the reconciler's mailbox.
func (d *Director) hand(next Desired) {
	changed, entries := make(map[ipvs.ServiceKey]bool, len(next.changed)), make(ipvs.Table, len(next.changed))
	select {
	case untaken := <-d.rec.desired: // what that one is about is still to be done
		changed, entries, next.look = untaken.changed, untaken.entries, next.look || untaken.look
	default:
	}
	for key := range next.changed {
		changed[key] = true
		if e, there := next.Table[key]; there {
			entries[key] = e
		} else {
			delete(entries, key)
		}
	}
	next.Table, next.changed, next.entries = nil, changed, entries
	d.rec.desired.put(next)
}

// transition takes in a virtual router's change of state.
func (d *Director) transition(r vrrp.Report) {
	r.Instance = d.nameNow(r.Instance)
	d.facts.VRRP[r.Instance] = r.To
	next := d.desired
	next.changed = nil
	next.compileSync(d.force.cfg, d.o.Self, d.facts)
	d.orderRelay() // it stops ticking before the kernel has no service for that
	d.give(next)
	d.moveGate()
	d.witness.kick()
	d.logTransition(r)
	d.switched(r)
	d.announce()
}

// readiness tells the virtual routers when this director has become ready, or has
// ceased to be. It returns whether it is.
func (d *Director) readiness() bool {
	why := d.force.notReady(d.waiting, d.facts)
	if ready := len(why) == 0; ready != d.ready {
		d.ready = ready
		d.everReady = d.everReady || ready
		if ready {
			d.o.Logger.Info("ready", "director", d.o.Self)
		} else {
			d.o.Logger.Warn("not ready, preempts nobody", "director", d.o.Self, "reason", listed(why))
		}
		if d.instancesAt == 0 {
			d.applyInstances()
		}
	}
	return d.ready
}

// passed takes in the outcome of a reconciliation.
func (d *Director) passed(p Pass) {
	d.lastPass = p
	d.ops.observe(p)
	d.logPass(p)
	d.facts.Programmed, d.facts.Unmet = p.Reached, p.unmet()
	if !slices.Equal(d.sources(), d.announced) {
		d.announce()
	}
	before := d.facts.DataPlane
	d.facts.DataPlane.observe(p)
	if d.instancesAt == 0 && d.facts.DataPlane != before {
		d.applyInstances()
	}
	d.left(time.Now())
	d.relayed(p)
	d.readiness()
	d.configureRouters()
}

// configureRouters gives the virtual routers their configuration, once the last pass
// was for the state that is desired with it.
func (d *Director) configureRouters() {
	if d.instancesAt == 0 || !d.lastPass.Read || d.lastPass.Desired.Generation < d.instancesAt {
		return
	}
	d.instancesAt, d.running, d.ranBefore = 0, d.force.cfg, d.running
	d.applyInstances()
	if !d.started {
		d.started = true
		d.o.Started()
	}
	d.lookAtQuorums(nil)
}
