package director

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

// relayRunner keeps the relay of connections going.
type relayRunner struct {
	keyedRunner[Relay, relayNews]
	notes map[uint8][]byte // as the relay was told; the runner's goroutine's
}

// relayNews is what the relay is told.
type relayNews struct {
	orders RelayOrders
	notes  map[uint8][]byte // never written to again
}

func newRelayRunner(o Options, changed chan struct{}) *relayRunner {
	r := &relayRunner{keyedRunner: keyedRunner[Relay, relayNews]{
		what: "connection sync with the other directors", keyIDs: o.KeyIDs, wants: wantsRelay,
		changed: changed, logger: o.Logger, configs: newMailbox[*conf.Config](), news: newMailbox[relayNews](),
	}}
	r.keyedRunner.tell = r.tell
	if o.NewRelay != nil {
		r.make = func(cfg *conf.Config, changed chan<- struct{}) (Relay, error) {
			r.notes = nil
			return o.NewRelay(cfg, o.Self, changed)
		}
	}
	return r
}

// tell gives the relay its orders, and the notes that it does not have.
func (r *relayRunner) tell(relay Relay, n relayNews) {
	relay.Apply(n.orders)
	for kind, payload := range n.notes {
		if had, known := r.notes[kind]; !known || !bytes.Equal(had, payload) {
			relay.SetNote(kind, payload)
		}
	}
	r.notes = n.notes
}

func wantsRelay(cfg *conf.Config) (dependence string, wanted bool) {
	if !relays(cfg) {
		return "", false
	}
	dependence = fmt.Sprintf("port %d, %d connections", cfg.Sync.StreamPort, cfg.Sync.MaxConnections)
	for i := range cfg.Directors {
		dependence += fmt.Sprintf(" %s=%s", cfg.Directors[i].Name, cfg.Directors[i].SyncLinks())
	}
	return dependence, true
}

// relay is the running relay, nil if there is none.
func (r *relayRunner) relay() Relay {
	relay, _ := r.numbered()
	return relay
}

// numbered is the running relay with its number among those of this process, nil if there is
// none.
func (r *relayRunner) numbered() (Relay, int) {
	if p := r.current.Load(); p != nil {
		return p.part, p.epoch
	}
	return nil, 0
}

// relayState is what the loop knows of the relay.
type relayState struct {
	orders RelayOrders
	notes  map[uint8][]byte // for the other directors, never written to again
	epoch  uint64           // of the kernel's daemons
	// programmed says that the kernel has had the whole table in this run.
	programmed bool
	gate       syncGate
	until      time.Time // the end of the gate's patience; zero: it waits for nothing
}

// relayed takes a pass in.
func (d *Director) relayed(p Pass) {
	d.relaying.epoch += uint64(p.DaemonStarts)
	d.relaying.programmed = d.relaying.programmed || p.Reached
	d.orderRelay()
}

// orderRelay tells the relay how the kernel is.
func (d *Director) orderRelay() {
	if !relays(d.force.cfg) {
		return
	}
	p := d.lastPass
	o := RelayOrders{
		Ready: d.relaying.programmed, Interface: p.Private.Index, Epoch: d.relaying.epoch,
		SyncID: d.force.cfg.Sync.SyncID, Scopes: d.force.scopes,
		Tick: p.Ticks && d.desired.ticks(), // it ends before its service does
	}
	for _, daemon := range p.Daemons {
		if daemon.Interface == syncd.PrivateInterface {
			o.Capture = o.Capture || daemon.Role == syncd.RoleMaster
			o.Inject = o.Inject || daemon.Role == syncd.RoleBackup
		}
	}
	o.Serves, o.Serving = serves(d.force.cfg, d.facts.VRRP)
	d.relaying.orders = o
	d.updateRelay()
}

// updateRelay gives the relay the newest of all.
func (d *Director) updateRelay() { d.relay.update(relayNews{d.relaying.orders, d.relaying.notes}) }

// serves tells of which connections the packets come to this director: those to the
// addresses of which it is Master. Without virtual routers something else sends packets to
// any director.
func serves(cfg *conf.Config, states map[string]vrrp.State) (serves func(syncd.Conn) bool, serving string) {
	if len(cfg.VirtualRouters) == 0 {
		return func(syncd.Conn) bool { return true }, "everything"
	}
	addrs := make(map[netip.Addr]bool)
	var names []string
	for _, vr := range cfg.VirtualRouters {
		if states[vr.Name] != vrrp.Master {
			continue
		}
		names = append(names, vr.Name)
		for _, a := range vr.VirtualAddresses {
			addrs[a.Addr()] = true
		}
	}
	// Templates of a firewall mark have the mark in the place of an address. A mark may
	// stand for addresses of several virtual routers.
	all := len(names) == len(cfg.VirtualRouters)
	return func(c syncd.Conn) bool {
		return addrs[c.Virtual.Addr()] || all && c.Protocol == syncd.ProtocolIP
	}, strings.Join(names, " ")
}

// syncGate says what a director waits for before it counts as ready: the connections of its
// peers. It does not wait longer than the configuration says, nor for a peer that is not
// there.
type syncGate map[string]awaited

// awaited is a peer whose connections are missing.
type awaited struct {
	since  time.Time
	gaveUp bool // they have been for too long
}

// waiting is what a syncGate says.
type waiting struct {
	why    []string  // what it waits for, in words
	until  time.Time // when that ends by itself; zero: never
	gaveUp []string  // the living peers that it has just ceased to wait for
}

// discovery is how long a director that has just started takes a peer for alive of which
// nothing is known yet.
const discovery = 5 * time.Second

// look tells what it waits for. Of each peer complete says whether its connections are here,
// and alive whether it is known to be alive; started is when this director began to look for
// them.
func (g syncGate) look(now, started time.Time, maxWait time.Duration, complete, alive map[string]bool) (w waiting) {
	for _, name := range slices.Sorted(maps.Keys(complete)) {
		discovering := now.Before(started.Add(discovery))
		if complete[name] || !alive[name] && !discovering {
			delete(g, name)
			continue
		}
		a, known := g[name]
		if !known {
			a.since = now
		}
		end := a.since.Add(maxWait)
		if !alive[name] && end.After(started.Add(discovery)) {
			end = started.Add(discovery)
		}
		switch {
		case now.Before(end):
			w.why = append(w.why, fmt.Sprintf("connections of %s are not all here", name))
			if w.until.IsZero() || end.Before(w.until) {
				w.until = end
			}
		case !a.gaveUp && alive[name]:
			a.gaveUp = true
			w.gaveUp = append(w.gaveUp, name)
		}
		g[name] = a
	}
	return w
}

// awaitSync looks at the gate. A director that is Master everywhere preempts nobody, and has
// the connections.
func (d *Director) awaitSync(now time.Time) waiting {
	cfg := d.force.cfg
	_, standsBy := roles(cfg, d.facts.VRRP)
	if d.relay.make == nil || !relays(cfg) || !standsBy || len(cfg.VirtualRouters) == 0 {
		clear(d.relaying.gate) // if it waits again, then from that time on
		return waiting{}
	}
	complete, alive := make(map[string]bool), make(map[string]bool)
	for _, o := range cfg.Directors {
		if o.Name != d.o.Self {
			complete[o.Name] = false // also without a relay
		}
	}
	if relay := d.relay.relay(); relay != nil {
		maps.Copy(complete, relay.Complete())
	}
	peers, _ := d.peers.snapshots()
	for _, p := range peers {
		alive[p.Name] = p.Alive
	}
	return d.relaying.gate.look(now, d.board.started, cfg.Sync.MaxWait, complete, alive)
}

// moveGate looks whether the gate has opened or closed.
func (d *Director) moveGate() {
	now := time.Now()
	w := d.awaitSync(now)
	d.relaying.until = w.until
	for _, peer := range w.gaveUp {
		limit := d.force.cfg.Sync.MaxWait
		d.o.Logger.Warn("not waiting any longer for connections of another director", "peer", peer, "max_wait", limit)
		d.record(Event{
			At: now, Kind: EventSyncWaitEnded, Object: peer,
			Text: fmt.Sprintf("its connections are not all here after %v, not waiting any longer", limit),
		})
	}
	if !slices.Equal(w.why, d.facts.Unsynced) {
		d.facts.Unsynced = w.why
		d.readiness()
	}
}

// relayNews takes in what the relay has to tell. Its log says already when directors come to
// have the same connections and when they no longer do; here that becomes an event.
func (d *Director) relayNews() {
	d.moveGate()
	relay, number := d.relay.numbered()
	if relay == nil {
		return
	}
	if number != d.said.relay {
		// What a new relay has yet to find out is no change.
		d.said.relay, d.said.synced = number, make(map[string]syncd.RelayState)
	}
	for _, p := range relay.Status().Peers {
		was := d.said.synced[p.Name]
		d.said.synced[p.Name] = p.State
		switch {
		case p.State == was:
		case p.State == syncd.RelayInSync:
			d.record(Event{
				At: p.Since, Kind: EventPeerInSync, Object: p.Name, From: string(was), To: string(p.State),
				Text: fmt.Sprintf("has the same connections, %d", p.Here.Conns+p.Here.Templates),
			})
		case was == syncd.RelayInSync:
			d.record(Event{
				At: p.Since, Kind: EventPeerOutOfSync, Object: p.Name, From: string(was), To: string(p.State),
				Text: fmt.Sprintf("no longer in sync, %s: %s", p.State, p.Why),
			})
		}
	}
}
