package director

import (
	"fmt"

	"github.com/hadirector/hadirector/healthcheck"
)

// Sight is what a director sees of all its checked real servers. One that sees none that
// passes, while another director with the same configuration sees some, has a fault of its
// own: of its network, or of what its checks need. A fault of one service is seen by both.
type Sight uint8

// The sights.
const (
	// SightUnknown is that of a director without checks, or without all verdicts, or of a
	// version of the program that does not tell.
	SightUnknown Sight = iota
	SightSome          // real servers pass
	SightNone          // none does
)

// lookAround counts the checked real servers anew.
func (d *Director) lookAround() {
	d.seen = [3]int{}
	for i := range d.force.cfg.VirtualServers {
		vs := &d.force.cfg.VirtualServers[i]
		for j := range vs.RealServers {
			if rs := &vs.RealServers[j]; len(rs.Checks) > 0 {
				d.seen[d.facts.status(rs)]++
			}
		}
	}
}

// sight is what this director sees.
func (d *Director) sight() Sight {
	switch {
	case d.waiting > 0:
	case d.seen[healthcheck.Up] > 0:
		return SightSome
	case d.seen[healthcheck.Down] > 0:
		return SightNone
	}
	return SightUnknown
}

// blinded returns the name of a director that sees real servers while this one sees none;
// empty: there is none. was is what it was before. That stays until a real server passes here:
// the other one may see none any more either, or may not be heard for a while, or have another
// configuration for the time of a reload. To take the virtual routers back for that would bring
// clients to a director that sees nobody; where no other one is left, a lowered priority
// is enough to be Master.
func blinded(sight Sight, was string, peers []Peer, fingerprint [16]byte) string {
	switch sight {
	case SightSome:
		return ""
	case SightUnknown:
		return was
	}
	for _, p := range peers {
		if p.Alive && p.Fingerprint == fingerprint && p.Sight == SightSome {
			return p.Name
		}
	}
	return was
}

// compareSight tells the other directors what this one sees when that has changed, and
// lowers the priorities as long as it sees less than they.
func (d *Director) compareSight() {
	sight := d.sight()
	if sight != d.toldSight {
		d.announce()
	}
	was := d.blinded
	if sight != SightNone && was == "" {
		return // whatever the others see: asking for that costs much for each failing check
	}
	peers, _ := d.peers.snapshots()
	d.blinded = blinded(sight, was, peers, d.force.fingerprint)
	if _, known := d.force.cfg.Director(d.blinded); !known || !hasMembership(d.force.cfg) || d.seen == [3]int{} {
		d.blinded = "" // a reload has taken away that director, the membership, or all checks
	}
	if d.blinded == was {
		return
	}
	switch {
	case was == "":
		d.o.Logger.Warn("sees no real server, and a peer does", "director", d.o.Self, "peer", d.blinded)
		d.record(Event{Kind: EventSightLost, Object: d.o.Self, Text: fmt.Sprintf("every check fails here, and %s sees real servers that pass", d.blinded)})
	case d.blinded == "":
		d.o.Logger.Info("sees as much as its peers again", "director", d.o.Self)
		text := "real servers pass here again"
		if sight != SightSome {
			text = was + " is not compared with any more"
		}
		d.record(Event{Kind: EventSightBack, Object: d.o.Self, Text: text})
	}
	if d.instancesAt == 0 {
		d.applyInstances()
	}
}
