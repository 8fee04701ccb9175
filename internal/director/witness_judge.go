package director

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// look takes in who is Master by now.
func (r *witnessRunner) look(now time.Time, snapshots map[string]vrrp.Snapshot) {
	stopped := false
	for name, w := range r.watched {
		s := snapshots[name]
		is := role{state: s.State, master: r.master(w.in, s)}
		switch {
		case is.state != vrrp.Backup && is.state != vrrp.Master:
			if w.role != (role{}) {
				w.Stop()
				w.role, w.joined = role{}, false
				stopped = true
			}
		case is.state == w.role.state && w.role.master == "":
			w.role = is // its name is known now: it has not changed
		case is != w.role:
			w.joined = w.role != (role{})
			w.role = is
			w.Changed(now)
		}
	}
	if stopped {
		r.publish()
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
	if name := directorName(cfg, nil, addr); name != addr.String() {
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
				// Also for excluded addresses of the other family: they are on the same link.
				Virtual: vrrp.VirtualMAC(w.in.ID.Family, w.in.ID.VRID), Doubled: doubled,
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
