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
		if due, armed := r.deadline(); armed {
			timer.Reset(time.Until(due))
		}
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

// look takes in who is Master by now.
func (r *witnessRunner) look(now time.Time, snapshots map[string]vrrp.Snapshot) {
	for name, w := range r.watched {
		s := snapshots[name]
		is := role{state: s.State, master: r.master(w.in, s)}
		switch {
		case is.state != vrrp.Backup && is.state != vrrp.Master:
			if w.role != (role{}) {
				w.Stop()
			}
			w.role, w.joined = role{}, false
		case is != w.role:
			w.joined = w.role != (role{})
			w.role = is
			w.Changed(now)
		}
	}
}

// master is the director that is Master by VRRP, or, where nothing is heard of it, by
// what the directors tell each other.
func (r *witnessRunner) master(in vrrp.Instance, s vrrp.Snapshot) string {
	if s.State == vrrp.Master {
		return r.self
	}
	if name := senderName(r.cfg, in, s.MasterAddr); name != "" {
		return name
	}
	peers, _ := r.peers.snapshots()
	masters := masters(peers, in.Name)
	if len(masters) == 1 {
		return masters[0].Name
	}
	if s.MasterAddr.IsValid() && len(in.Senders) == 1 {
		return in.Senders[0].Name
	}
	return ""
}

// senderName is the director that advertises from an address, empty if none is known.
func senderName(cfg *conf.Config, in vrrp.Instance, addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	for _, s := range in.Senders {
		if slices.Contains(s.Addresses, addr.WithZone("")) {
			return s.Name
		}
	}
	if name := directorName(cfg, addr); name != addr.String() {
		return name
	}
	return ""
}

// masters are the peers that are alive and say that they are Master.
func masters(peers []Peer, instance string) []Peer {
	return slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool {
		return !p.Alive || p.Roles[instance] != vrrp.Master
	})
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

// judge takes in the outcome of a round and returns what is new.
func (r *witnessRunner) judge(p probed) []witnessNews {
	delete(r.underway, p.ifname)
	now := time.Now()
	snapshots := r.vrrp.Snapshots()
	r.look(now, snapshots)
	doubled := false
	if p.err == nil {
		doubled = r.learn(now, p)
	}
	var news []witnessNews
	for _, name := range slices.Sorted(maps.Keys(p.rounds)) {
		w := r.watched[name]
		if w == nil {
			continue
		}
		if p.err != nil {
			w.Failed(now, p.rounds[name])
			w.view.failed++
			w.view.err = p.err.Error()
			continue
		}
		w.view.rounds++
		w.view.err = ""
		found := make(map[netip.Addr]vrrp.Finding)
		for _, a := range w.Addresses() {
			found[a] = vrrp.Sighting{
				Self: r.self, Held: slices.Contains(p.answers.Held, a), Answers: p.answers.By[a],
				Master: w.role.master, Directors: r.directors(p.ifname, w.in),
				Virtual: vrrp.VirtualMAC(vrrp.FamilyOf(a), w.in.ID.VRID), Doubled: doubled,
			}.Classify()
		}
		n := witnessNews{instance: name, state: w.role.state, WitnessNews: w.Done(now, p.rounds[name], found)}
		n.Confirmed = n.Confirmed && w.joined && n.state == vrrp.Backup
		n.announce = len(n.Disputed) > 0 && w.role.state == vrrp.Master && r.bestMaster(name, snapshots[name])
		w.view.changes = maps.Clone(w.view.changes)
		for _, c := range n.Changes {
			w.view.changes[c.To.Verdict]++
		}
		news = append(news, n)
	}
	r.publish()
	return news
}

// learn takes in the directors' Ethernet addresses, and tells whether the segment
// delivers answers twice.
func (r *witnessRunner) learn(now time.Time, p probed) (doubled bool) {
	known := r.learned[p.ifname]
	if known == nil {
		known = make(map[string]learned)
		r.learned[p.ifname] = known
	}
	fresh := make(map[string][]vrrp.MAC)
	for addr, name := range p.owners {
		for _, a := range p.answers.By[addr] {
			if a.MAC.Virtual() {
				continue // it moves with the Master
			}
			fresh[name] = append(fresh[name], a.MAC)
			doubled = doubled || a.Times > 1
		}
	}
	for name, macs := range fresh {
		known[name] = learned{macs, now}
	}
	maps.DeleteFunc(known, func(_ string, l learned) bool { return now.Sub(l.at) > macLife })
	return doubled
}

// directors are the other directors of a virtual router with their Ethernet addresses.
func (r *witnessRunner) directors(ifname string, in vrrp.Instance) map[string][]vrrp.MAC {
	directors := make(map[string][]vrrp.MAC)
	for _, s := range in.Senders {
		directors[s.Name] = r.learned[ifname][s.Name].macs
	}
	return directors
}

// bestMaster tells whether no other director that says it is Master comes before this
// one.
func (r *witnessRunner) bestMaster(name string, s vrrp.Snapshot) bool {
	vr, _ := virtualRouter(r.cfg, name)
	me, _ := r.cfg.Director(r.self)
	peers, _ := r.peers.snapshots()
	return !slices.ContainsFunc(masters(peers, name), func(p Peer) bool {
		theirs := vr.Priority[p.Name]
		return theirs > s.Params.Priority || theirs == s.Params.Priority && me.Address.Less(p.Address)
	})
}

// publish shows readers what is said.
func (r *witnessRunner) publish() {
	views := make(map[string]witnessView, len(r.watched))
	for name, w := range r.watched {
		w.view.said = w.Said()
		views[name] = w.view
	}
	r.pub.Store(&views)
}
