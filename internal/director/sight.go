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
// empty: there is none. was is what it was before: that director may go on to see none
// either, since it is the Master then, and to take the virtual routers back for that would
// only be one more move.
func blinded(sight Sight, was string, peers []Peer, fingerprint [16]byte) string {
	if sight != SightNone {
		return ""
	}
	still := ""
	for _, p := range peers {
		switch {
		case !p.Alive || p.Fingerprint != fingerprint:
		case p.Sight == SightSome:
			return p.Name
		case p.Name == was:
			still = was
		}
	}
	return still
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
	if d.blinded == was {
		return
	}
	switch {
	case was == "":
		d.o.Logger.Warn("sees no real server, and a peer does", "director", d.o.Self, "peer", d.blinded)
		d.record(Event{Kind: EventSightLost, Object: d.o.Self, Text: fmt.Sprintf("every check fails here, and %s sees real servers that pass", d.blinded)})
	case d.blinded == "":
		d.o.Logger.Info("sees as much as its peers again", "director", d.o.Self)
		d.record(Event{Kind: EventSightBack, Object: d.o.Self, Text: "real servers pass here too, or none passes anywhere"})
	}
	if d.instancesAt == 0 {
		d.applyInstances()
	}
}
