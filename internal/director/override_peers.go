package director

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// sharedID identifies what a director knows of overrides: the first 16 bytes of the
// SHA-256 of the form in which directors tell each other, as the membership has it.
func sharedID(text string) [16]byte {
	sum := sha256.Sum256([]byte(text))
	return [16]byte(sum[:16])
}

// shares tells whether there are other directors to share the overrides with: whether the
// configuration asks for a membership.
func (d *Director) shares() bool { return hasMembership(d.force.cfg) }

// hasMembership tells whether a configuration asks for a membership of the directors.
func hasMembership(cfg *conf.Config) bool {
	return cfg.Sync != nil && cfg.Sync.KeyFile != "" && len(cfg.Directors) > 1
}

// agreed tells whether no other director runs another configuration, as far as they share
// the overrides.
func (d *Director) agreed() bool {
	if !d.shares() {
		return true
	}
	same := make(map[string]bool)
	peers, _ := d.peers.snapshots()
	for _, p := range peers {
		same[p.Name] = p.Alive && p.Fingerprint == d.force.fingerprint
	}
	for _, other := range d.force.cfg.Directors {
		if other.Name != d.o.Self && !same[other.Name] {
			return false
		}
	}
	return true
}

// overridesNews takes in what the other directors know.
func (d *Director) overridesNews(list []Peer) {
	now, before := time.Now(), d.live.id
	for _, p := range list {
		if p.Overrides == "" || p.Overrides == d.live.heard[p.Name] {
			continue
		}
		d.live.heard[p.Name] = p.Overrides
		err := d.learnOverrides(p.Overrides, now)
		if why := errText(err); why != d.live.refused[p.Name] {
			if d.live.refused[p.Name] = why; why != "" {
				d.o.Logger.Warn("overrides of a peer refused", "peer", p.Name, "err", why)
			}
		}
	}
	d.endUnnamed(now)
	if d.live.id != before {
		d.layOverrides(now)
		d.announce()
	}
}

// learnOverrides takes in what another director has told.
func (d *Director) learnOverrides(text string, now time.Time) error {
	if text == d.live.text {
		return nil
	}
	told, err := parseShared(text)
	if err != nil {
		return err
	}
	return d.adopt(merge(d.live.all, told.prune(now)), now)
}

// Reach is how far this director's overrides have come.
type Reach struct {
	// On are the directors that have them, this one first.
	On []string
	// Missing says of each other director, in words for the operator, why it has not.
	Missing []string
}

// Reach waits until the other directors that can be reached have what this one has of
// overrides, or until ctx ends. Any goroutine may call it.
func (d *Director) Reach(ctx context.Context) Reach {
	for {
		p := d.board.current.Load()
		r, complete := p.reach(d.o.Self)
		if complete {
			return r
		}
		select {
		case <-p.replaced:
		case <-ctx.Done():
			return r
		}
	}
}

// reach is complete when nothing is on its way any more.
func (p *published) reach(self string) (r Reach, complete bool) {
	r, complete = Reach{On: []string{self}, Missing: []string{}}, true
	peers := make(map[string]Peer)
	list, _ := p.peers.snapshots()
	for _, peer := range list {
		peers[peer.Name] = peer
	}
	for _, other := range p.force.cfg.Directors {
		name := other.Name
		peer := peers[name]
		state := p.liveChanges(peer)
		failure := p.peers.failed()
		switch {
		case name == self:
		case !hasMembership(p.force.cfg):
			r.Missing = append(r.Missing, name+" does not get this: without [sync] key_file the directors share nothing; make the change there too")
		case len(list) == 0 && failure != "":
			r.Missing = append(r.Missing, fmt.Sprintf("%s does not get this now: %s", name, failure))
		case !peer.Alive:
			r.Missing = append(r.Missing, name+" cannot be reached: it gets this when it is back")
		case state == LiveChangesNotShared:
			r.Missing = append(r.Missing, fmt.Sprintf("%s does not get this: its version %s does not share live changes; make the change there too", name, peer.Version))
		case state == LiveChangesOnTheWay:
			r.Missing = append(r.Missing, name+" has not confirmed it yet")
			complete = false
		default:
			r.On = append(r.On, name)
		}
	}
	return r, complete
}

// The states of what another director knows of the overrides.
const (
	LiveChangesSame      = "same"       // as this one
	LiveChangesOnTheWay  = "on-the-way" // to it, or from it
	LiveChangesNotShared = "not-shared" // its version of the program does not know of it
)

// liveChanges is what is known of another director's; empty: nothing.
func (p *published) liveChanges(peer Peer) string {
	switch {
	case !hasMembership(p.force.cfg) || !peer.Alive:
		return ""
	case peer.OverridesID == [16]byte{}:
		return LiveChangesNotShared
	case peer.OverridesID != p.overridesID:
		return LiveChangesOnTheWay
	}
	return LiveChangesSame
}
