package director

import (
	"fmt"
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
	keyedRunner[Relay, RelayOrders]
}

func newRelayRunner(o Options, changed chan struct{}) *relayRunner {
	r := &relayRunner{keyedRunner[Relay, RelayOrders]{
		what: "connection sync with the other directors", keyIDs: o.KeyIDs, wants: wantsRelay, tell: Relay.Apply,
		changed: changed, logger: o.Logger, configs: newMailbox[*conf.Config](), news: newMailbox[RelayOrders](),
	}}
	if o.NewRelay != nil {
		r.make = func(cfg *conf.Config, changed chan<- struct{}) (Relay, error) {
			return o.NewRelay(cfg, o.Self, changed)
		}
	}
	return r
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
	if p := r.current.Load(); p != nil {
		return p.part
	}
	return nil
}

// relayState is what the loop knows of the relay.
type relayState struct {
	epoch uint64 // of the kernel's daemons
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
		Tick: p.Ticks,
	}
	for _, daemon := range p.Daemons {
		if daemon.Interface == syncd.PrivateInterface {
			o.Capture = o.Capture || daemon.Role == syncd.RoleMaster
			o.Inject = o.Inject || daemon.Role == syncd.RoleBackup
		}
	}
	o.Serves, o.Serving = serves(d.force.cfg, d.facts.VRRP)
	d.relay.update(o)
}

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
type syncGate struct {
	since map[string]time.Time // since when a peer's connections are missing
}

// discovery is how long a director that has just started takes a peer for alive of which
// nothing is known yet.
const discovery = 5 * time.Second

// lacking returns what is missing, and when that ends by itself; zero: never. alive are the
// peers that are known, and whether they are alive; started is when this director began to look
// for them.
func (g *syncGate) lacking(now, started time.Time, maxWait time.Duration, complete, alive map[string]bool) (why []string, until time.Time) {
	if g.since == nil {
		g.since = make(map[string]time.Time)
	}
	for name, done := range complete {
		awaited := alive[name] || now.Before(started.Add(discovery))
		if done || !awaited {
			delete(g.since, name)
			continue
		}
		if g.since[name].IsZero() {
			g.since[name] = now
		}
		end := g.since[name].Add(maxWait)
		if !alive[name] {
			end = started.Add(min(discovery, maxWait))
		}
		if !now.Before(end) {
			continue
		}
		why = append(why, fmt.Sprintf("connections of %s are not all here", name))
		if until.IsZero() || end.Before(until) {
			until = end
		}
	}
	slices.Sort(why)
	return why, until
}

// lackingSync returns what the gate waits for now, and until when. One that is Master
// everywhere preempts nobody, and has the connections.
func (d *Director) lackingSync(now time.Time) (why []string, until time.Time) {
	relay := d.relay.relay()
	_, standsBy := roles(d.force.cfg, d.facts.VRRP)
	if d.relay.make == nil || !relays(d.force.cfg) || !standsBy || len(d.force.cfg.VirtualRouters) == 0 {
		return nil, time.Time{}
	}
	complete := make(map[string]bool)
	for _, o := range d.force.cfg.Directors {
		if o.Name != d.o.Self {
			complete[o.Name] = false // also without a relay
		}
	}
	if relay != nil {
		for name, done := range relay.Complete() {
			complete[name] = done
		}
	}
	alive := make(map[string]bool)
	peers, _ := d.peers.snapshots()
	for _, p := range peers {
		alive[p.Name] = p.Alive
	}
	return d.relaying.gate.lacking(now, d.board.started, d.force.cfg.Sync.MaxWait, complete, alive)
}

// moveGate looks whether the gate has opened or closed.
func (d *Director) moveGate() {
	now := time.Now()
	why, until := d.lackingSync(now)
	was, over := d.facts.Unsynced, !d.relaying.until.IsZero() && !now.Before(d.relaying.until)
	d.relaying.until = until
	if slices.Equal(why, was) {
		return
	}
	if over && len(why) == 0 {
		d.o.Logger.Warn("not waiting any longer for connections of other directors", "reason", listed(was), "max_wait", d.force.cfg.Sync.MaxWait)
	}
	d.facts.Unsynced = why
	d.readiness()
}
