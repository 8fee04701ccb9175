package director

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// peersRetry is how long a membership that could not be made waits for its next
// attempt. What stands in the way is usually a key file that an operator has yet to
// copy.
const peersRetry = 10 * time.Second

// peersRunner keeps the membership of the directors going over reloads: it makes it
// anew when what it depends on has changed, and only then.
type peersRunner struct {
	make    PeersFactory
	keyIDs  func(*conf.Config) ([]string, error)
	self    string
	changed chan struct{}
	logger  *slog.Logger
	configs mailbox[*conf.Config]
	news    mailbox[Announcement]
	// current and failure are what readers see of it.
	current atomic.Pointer[runningPeers]
	failure atomic.Pointer[string]
}

// runningPeers is a membership with its number among those of this process.
type runningPeers struct {
	Peers
	epoch int
}

// membership is what a running membership depends on.
type membership struct {
	keyFile   string
	keyIDs    string // the one in use first
	port      uint16
	directors string
}

// wanted tells what membership a configuration asks for, if any.
func (r *peersRunner) wanted(cfg *conf.Config) (m membership, wanted bool, err error) {
	if !hasMembership(cfg) || r.make == nil {
		return membership{}, false, nil
	}
	m = membership{keyFile: cfg.Sync.KeyFile, port: cfg.Sync.Port}
	for _, d := range cfg.Directors {
		m.directors += fmt.Sprintf("%s=%s ", d.Name, d.Address)
	}
	ids, err := r.keyIDs(cfg)
	m.keyIDs = strings.Join(ids, " ")
	return m, true, err
}

// rekeys tells whether only the keys differ, and one of them is in both: then the
// membership goes on.
func (m membership) rekeys(from membership) bool {
	same := from
	same.keyIDs = m.keyIDs
	return same == m && slices.ContainsFunc(strings.Fields(m.keyIDs), func(id string) bool {
		return slices.Contains(strings.Fields(from.keyIDs), id)
	})
}

func newPeersRunner(o Options, changed chan struct{}) *peersRunner {
	return &peersRunner{
		make: o.NewPeers, keyIDs: o.KeyIDs, self: o.Self, changed: changed, logger: o.Logger,
		configs: newMailbox[*conf.Config](), news: newMailbox[Announcement](),
	}
}

func (r *peersRunner) configure(cfg *conf.Config) { r.configs.put(cfg) }
func (r *peersRunner) update(a Announcement)      { r.news.put(a) }

// snapshots are the other directors and the number of the membership that knows of
// them, nil without one.
func (r *peersRunner) snapshots() (peers []Peer, epoch int) {
	if p := r.current.Load(); p != nil {
		return p.Snapshots(), p.epoch
	}
	return nil, 0
}

// run works until ctx is canceled.
func (r *peersRunner) run(ctx context.Context) error {
	var (
		cfg     *conf.Config
		now     membership // of the running one
		running *runner
		last    Announcement
		epoch   int
		retry   = time.NewTimer(0)
	)
	<-retry.C
	defer retry.Stop()
	stop := func() {
		if running == nil {
			return
		}
		r.current.Store(nil)
		if err := running.stop(); err != nil {
			r.logger.Warn("membership of the directors ended with an error", "err", err)
		}
		running, now = nil, membership{}
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case last = <-r.news:
			if p := r.current.Load(); p != nil {
				p.Update(last)
			}
			continue
		case cfg = <-r.configs:
		case <-retry.C:
		}
		retry.Stop()
		want, wanted, err := r.wanted(cfg)
		if !wanted {
			stop()
			r.fail("")
			continue
		}
		if err == nil && running != nil && want == now {
			r.fail("")
			continue
		}
		if err == nil && running != nil && want.rekeys(now) {
			if err = r.current.Load().Rekey(cfg); err == nil {
				now = want
				r.fail("")
				continue
			}
		}
		// A key that cannot be read leaves the running membership as it is.
		var peers Peers
		if err == nil {
			stop()
			peers, err = r.make(cfg, r.self, r.changed)
		}
		if err != nil {
			r.fail(err.Error())
			retry.Reset(peersRetry)
			continue
		}
		r.fail("")
		epoch++
		now, running = want, spawn(peers.Run)
		if last.Version != "" { // otherwise the first one is on its way
			peers.Update(last)
		}
		r.current.Store(&runningPeers{peers, epoch})
	}
}

// fail publishes why there is no membership, once for each reason.
func (r *peersRunner) fail(why string) {
	was := r.failure.Swap(&why)
	if why != "" && (was == nil || *was != why) {
		r.logger.Error("no membership with the other directors, trying again", "err", why)
	}
	r.wake()
}

// wake tells the director's loop that there is news.
func (r *peersRunner) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// announce tells the other directors about this one.
func (d *Director) announce() {
	roles := make(map[string]vrrp.State, len(d.force.cfg.VirtualRouters))
	for _, vr := range d.force.cfg.VirtualRouters {
		roles[vr.Name] = d.facts.VRRP[vr.Name]
	}
	d.announced, d.toldSight = d.sources(), d.sight()
	d.peers.update(Announcement{
		Version: d.o.Version, Roles: roles, Sources: d.announced,
		Fingerprint: d.force.fingerprint, Config: d.force.text,
		Overrides: d.live.text, OverridesID: d.live.id, Sight: d.toldSight,
	})
}

// peerState is what was last said about a peer in the log.
type peerState struct {
	alive   bool
	differs bool
}

// peersNews says once in the log and the journal when a peer comes or goes, and when
// its configuration begins or ceases to differ.
func (d *Director) peersNews() {
	list, epoch := d.peers.snapshots()
	if d.learnSenders(list) && d.instancesAt == 0 {
		d.applyInstances()
	}
	d.overridesNews(list)
	d.compareSight()
	if epoch != d.said.epoch {
		// A new membership has yet to find the peers that the old one knew.
		d.said.epoch, d.said.peers = epoch, make(map[string]peerState)
	}
	for _, p := range list {
		was := d.said.peers[p.Name]
		is := peerState{alive: p.Alive, differs: p.Alive && p.Fingerprint != d.force.fingerprint}
		if is.differs && p.Config == "" && !p.ConfigTooLong {
			is.differs = was.differs // said when it can be said in what
		}
		d.said.peers[p.Name] = is
		switch {
		case is.alive && !was.alive:
			d.o.Logger.Info("peer joined", "peer", p.Name, "version", p.Version)
			d.record(Event{Kind: EventPeerJoined, Object: p.Name, Text: "joined, version " + p.Version})
		case !is.alive && was.alive && p.Leaving:
			d.o.Logger.Info("peer left", "peer", p.Name)
			d.record(Event{Kind: EventPeerLeft, Object: p.Name, Text: "was stopped"})
		case !is.alive && was.alive:
			d.o.Logger.Warn("peer lost", "peer", p.Name)
			d.record(Event{Kind: EventPeerLost, Object: p.Name, Text: "no longer answers on the membership protocol"})
		}
		switch {
		case is.differs && !was.differs:
			keys := "in keys that are not known: the file is too long to be exchanged"
			if p.Config != "" {
				keys = listed(conf.DiffKeys(d.force.text, p.Config))
			}
			d.o.Logger.Warn("peer has a different configuration", "peer", p.Name, "config_hash", hash(p.Fingerprint), "keys", keys)
			d.record(Event{Kind: EventPeerConfigDiffers, Object: p.Name, Text: "its configuration differs: " + keys})
		case is.alive && !is.differs && was.differs:
			d.o.Logger.Info("peer has the same configuration again", "peer", p.Name)
			d.record(Event{Kind: EventPeerConfigAgrees, Object: p.Name, Text: "its configuration is the same again"})
		}
	}
}
