package director

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// Prober asks a segment who has an address.
type Prober interface {
	Probe(ctx context.Context, in vrrp.Inquiry) (vrrp.Answers, error)
}

const (
	// witnessBatch is how much too early a round may begin so that it is one with
	// another on the same interface.
	witnessBatch = 100 * time.Millisecond
	// witnessLook is how often it looks who is Master: a Master that follows another is
	// no transition of this director, and a report may come before the snapshot that
	// goes with it.
	witnessLook = 250 * time.Millisecond
	// macLife is how long a director's Ethernet address is believed after its last
	// answer.
	macLife = time.Minute
)

// witnessRunner asks who has the virtual addresses of each virtual router in which this
// director is Backup or Master, one round at a time on each interface.
type witnessRunner struct {
	prober  Prober
	vrrp    VRRP
	self    string
	peers   *peersRunner
	configs mailbox[applied]
	kicks   mailbox[struct{}] // a virtual router has changed its state
	news    chan witnessNews
	results chan probed
	// pub is what readers see, by virtual router.
	pub atomic.Pointer[map[string]witnessView]

	// Everything below belongs to the goroutine of run.
	cfg      *conf.Config // of the applied virtual routers
	watched  map[string]*watched
	learned  map[string]map[string]learned // by interface and director
	underway map[string]bool               // by interface
}

// applied are the virtual routers as they were last handed over to run, and the
// configuration that they come from.
type applied struct {
	cfg       *conf.Config
	instances map[string]vrrp.Instance
}

// watched is one virtual router.
type watched struct {
	*vrrp.Witness
	in     vrrp.Instance
	role   role
	joined bool // the role is not the first since it takes part
	view   witnessView
}

// role is who is Master as this director sees it.
type role struct {
	state  vrrp.State
	master string
}

// learned are a director's Ethernet addresses, and when they last answered.
type learned struct {
	macs []vrrp.MAC
	at   time.Time
}

// witnessView is what readers see of a witness. It is never written to again.
type witnessView struct {
	said           []vrrp.WitnessedAddr
	rounds, failed uint64
	err            string // of the last round
	changes        map[vrrp.Verdict]uint64
}

// witnessNews is what a round has brought for one virtual router.
type witnessNews struct {
	instance string
	state    vrrp.State
	// WitnessNews.Confirmed is for a change of Master, seen by one that is Backup. A
	// start is none, and a Master does not confirm itself.
	vrrp.WitnessNews
	// announce says that this Master should announce again, because another machine
	// has an address that is rightly its own.
	announce bool
}

// probed is the outcome of a round on an interface.
type probed struct {
	ifname  string
	rounds  map[string]uint64 // by virtual router
	owners  map[netip.Addr]string
	answers vrrp.Answers
	err     error
}

func newWitnessRunner(o Options, peers *peersRunner) *witnessRunner {
	r := &witnessRunner{
		prober: o.Prober, vrrp: o.VRRP, self: o.Self, peers: peers,
		configs: newMailbox[applied](), kicks: newMailbox[struct{}](),
		news: make(chan witnessNews), results: make(chan probed),
		watched: make(map[string]*watched), learned: make(map[string]map[string]learned), underway: make(map[string]bool),
	}
	r.pub.Store(&map[string]witnessView{})
	return r
}

func (r *witnessRunner) configure(a applied) { r.configs.put(a) }
func (r *witnessRunner) kick()               { r.kicks.put(struct{}{}) }

// run works until ctx is canceled.
func (r *witnessRunner) run(ctx context.Context) error {
	if r.prober == nil {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		r.begin(ctx)
		next := witnessLook
		if due, armed := r.deadline(); armed {
			next = min(next, time.Until(due))
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			for range r.underway {
				<-r.results
			}
			return nil
		case a := <-r.configs:
			r.reconfigure(a)
		case <-r.kicks:
		case <-timer.C:
		case p := <-r.results:
			for _, n := range r.judge(p) {
				select {
				case r.news <- n:
				case <-ctx.Done():
				}
			}
		}
		timer.Stop()
	}
}

// reconfigure watches the virtual routers that run. What is said of those that stay,
// stays.
func (r *witnessRunner) reconfigure(a applied) {
	was := r.watched
	r.cfg, r.watched = a.cfg, make(map[string]*watched)
	for i, name := range slices.Sorted(maps.Keys(a.instances)) {
		in := a.instances[name]
		w := was[name]
		if w == nil || w.in.ID != in.ID {
			// The places in the period, 13 of them for each second, go round.
			w = &watched{Witness: vrrp.NewWitness(nil, time.Duration(i)*77*time.Millisecond)}
			w.view.changes = map[vrrp.Verdict]uint64{}
		}
		w.in = in
		var addrs []netip.Addr
		for _, p := range slices.Concat(in.Addresses, in.Excluded) {
			addrs = append(addrs, p.Addr())
		}
		w.SetAddresses(addrs)
		r.watched[name] = w
	}
	r.publish()
}

// begin begins the rounds that are due.
func (r *witnessRunner) begin(ctx context.Context) {
	now := time.Now()
	snapshots := r.vrrp.Snapshots()
	r.look(now, snapshots)
	due := make(map[string]bool) // interfaces
	for _, w := range r.watched {
		if t, armed := w.Deadline(); armed && !t.After(now) && !r.underway[w.in.ID.Interface] {
			due[w.in.ID.Interface] = true
		}
	}
	for ifname := range due {
		p, in := r.inquiry(now, ifname, snapshots)
		r.underway[ifname] = true
		go func() {
			p.answers, p.err = r.prober.Probe(ctx, in)
			r.results <- p
		}()
	}
}

// inquiry begins a round of every witness on an interface that is due, or soon will be.
func (r *witnessRunner) inquiry(now time.Time, ifname string, snapshots map[string]vrrp.Snapshot) (probed, vrrp.Inquiry) {
	p := probed{ifname: ifname, rounds: make(map[string]uint64), owners: make(map[netip.Addr]string)}
	in := vrrp.Inquiry{Interface: ifname}
	for name, w := range r.watched {
		if t, armed := w.Deadline(); w.in.ID.Interface != ifname || !armed || t.After(now.Add(witnessBatch)) {
			continue
		}
		p.rounds[name] = w.Begin()
		in.Virtual = append(in.Virtual, w.Addresses()...)
		if w.in.VMAC != nil {
			in.Links = append(in.Links, w.in.VMAC.Link)
		}
		for _, s := range w.in.Senders {
			for _, a := range s.Addresses {
				p.owners[a.WithZone("")] = s.Name
			}
		}
		// What the Master advertises from is on the segment for sure.
		if m := snapshots[name].MasterAddr; m.IsValid() && w.role.state == vrrp.Backup && w.role.master != "" {
			p.owners[m.WithZone("")] = w.role.master
		}
	}
	in.Own = slices.SortedFunc(maps.Keys(p.owners), netip.Addr.Compare)
	slices.SortFunc(in.Virtual, netip.Addr.Compare)
	slices.Sort(in.Links)
	return p, in
}

// deadline is when the next round is due on an interface where none is under way.
func (r *witnessRunner) deadline() (due time.Time, armed bool) {
	for _, w := range r.watched {
		if t, ok := w.Deadline(); ok && !r.underway[w.in.ID.Interface] && (!armed || t.Before(due)) {
			due, armed = t, true
		}
	}
	return due, armed
}
