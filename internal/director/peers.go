package director

import (
	"fmt"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// peersRunner keeps the membership of the directors going.
type peersRunner struct {
	keyedRunner[Peers, Announcement]
}

func newPeersRunner(o Options, changed chan struct{}) *peersRunner {
	r := &peersRunner{keyedRunner[Peers, Announcement]{
		what: "membership with the other directors", keyIDs: o.KeyIDs, wants: wantsMembership, tell: Peers.Update,
		changed: changed, logger: o.Logger, configs: newMailbox[*conf.Config](), news: newMailbox[Announcement](),
	}}
	if o.NewPeers != nil {
		r.make = func(cfg *conf.Config, changed chan<- struct{}) (Peers, error) {
			return o.NewPeers(cfg, o.Self, changed)
		}
	}
	return r
}

func wantsMembership(cfg *conf.Config) (dependence string, wanted bool) {
	if !hasMembership(cfg) {
		return "", false
	}
	dependence = fmt.Sprintf("port %d", cfg.Sync.Port)
	for _, d := range cfg.Directors {
		dependence += fmt.Sprintf(" %s=%s", d.Name, d.Address)
	}
	return dependence, true
}

// snapshots are the other directors and the number of the membership that knows of
// them, nil without one.
func (r *peersRunner) snapshots() (peers []Peer, epoch int) {
	if p := r.current.Load(); p != nil {
		return p.part.Snapshots(), p.epoch
	}
	return nil, 0
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
	d.moveGate()
	d.compareSight()
	d.compareViews(time.Now())
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
