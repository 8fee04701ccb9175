package director

import (
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// hookDoubt is how often a quorum's loss is looked at again that may be this director's own
// fault.
const hookDoubt = 500 * time.Millisecond

// doubt is about a quorum's loss that may be this director's own fault.
type doubt struct {
	since time.Time // only probes that have begun after it tell more
	blind bool      // the director has seen nothing meanwhile, so all that failed is in doubt
}

// doubts tells whether a quorum that was lost may be there for clients: another director with
// the same configuration sees real servers, and this one none, or its probes have not told since
// then that it is not its own fault. The checks of a director that loses its network fail one
// after the other, and when that is back they pass one after the other.
func (d *Director) doubts(told func() bool) bool {
	peers, _ := d.peers.snapshots()
	sees := func(p Peer) bool { return p.Alive && p.Fingerprint == d.force.fingerprint && p.Sight == SightSome }
	switch {
	case slices.ContainsFunc(peers, sees):
		return d.sight() == SightNone || !told()
	case d.blinded != "":
		// One that is not heard just now may still see them.
		return !slices.ContainsFunc(peers, func(p Peer) bool { return p.Alive && p.Name == d.blinded && p.Sight == SightNone })
	}
	return false
}

// asks tells whether a check leaves the director: others tell nothing of its network, and their
// failures are not made by it.
func asks(sp healthcheck.Spec) bool { return sp.Type != healthcheck.File }

// forLackOfPasses tells whether a virtual server that has lost its quorum would have it if each
// of its checks passed that asks and fails. What operators, the configuration and checks that pass take
// away is no fault of the director's network.
func (f Facts) forLackOfPasses(vs *conf.VirtualServer, targets map[healthcheck.Target]healthcheck.Spec) bool {
	health := make(map[healthcheck.Target]healthcheck.Status)
	for i := range vs.RealServers {
		for t := range targetsOf(&vs.RealServers[i]) {
			if health[t] = f.Health[t]; health[t] == healthcheck.Down && asks(targets[t]) {
				health[t] = healthcheck.Up
			}
		}
	}
	f.Health, f.Pools = health, nil // it was there before
	return f.quorum(vs, quorumUnknown) != quorumDown
}

// lastFailure is when the last check failed of those that keep real servers of a virtual server
// from counting to its quorum; now, if that is not known.
func (f Facts) lastFailure(vs *conf.VirtualServer, probes map[healthcheck.Target]healthcheck.Snapshot, targets map[healthcheck.Target]healthcheck.Spec, now time.Time) time.Time {
	var last time.Time
	for i := range vs.RealServers {
		if vs.RealServers[i].Backup {
			continue
		}
		for t := range targetsOf(&vs.RealServers[i]) {
			if f.Health[t] != healthcheck.Down || !asks(targets[t]) {
				continue
			}
			since := probes[t].Since
			if since.IsZero() {
				return now
			}
			if since.After(last) {
				last = since
			}
		}
	}
	return last
}

// lastSuccess is when the last probe began that has succeeded, of any real server.
func lastSuccess(probes map[healthcheck.Target]healthcheck.Snapshot, targets map[healthcheck.Target]healthcheck.Spec) time.Time {
	var last time.Time
	for t, s := range probes {
		if !asks(targets[t]) {
			continue
		}
		if begun := s.At.Add(-s.Duration); s.Successes > 0 && s.Err == nil && begun.After(last) {
			last = begun
		}
	}
	return last
}

// mayRise tells whether a real server that counts to the quorum may be on its way up: not each
// of its checks that fail has failed again in a probe that began after since.
func (f Facts) mayRise(vs *conf.VirtualServer, probes map[healthcheck.Target]healthcheck.Snapshot, since time.Time) bool {
	for i := range vs.RealServers {
		if vs.RealServers[i].Backup {
			continue
		}
		for t := range targetsOf(&vs.RealServers[i]) {
			s := probes[t]
			again := s.Successes == 0 && s.At.Add(-s.Duration).After(since)
			if f.Health[t] == healthcheck.Down && !again {
				return true
			}
		}
	}
	return false
}

// doubtful looks again at losses that were not believed.
func (d *Director) doubtful(now time.Time) {
	if len(d.hooks.doubted) == 0 || now.Before(d.hooks.doubtedUntil) {
		return
	}
	d.hooks.doubtedUntil = now.Add(hookDoubt)
	again := make(map[*conf.VirtualServer]bool)
	for s := range d.hooks.doubted {
		again[s.vs] = true
	}
	d.lookAtQuorums(again)
}
