package router

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/vrrp"
)

// settings are what a virtual router is told from outside.
type settings struct {
	in vrrp.Instance
	// virtual are the virtual addresses of all virtual routers on the interface. They
	// share it, and nobody writes to it: 255 of them look at each of 255 addresses
	// whenever one comes or goes.
	virtual map[netip.Addr]bool
}

// apply turns the running virtual routers into those of in.
//
// A sync group that has the same members as before is told its settings. Every other
// one is taken apart, and its members, which keep their states, are put together anew.
// Whoever is in the way of a new one is stopped before it starts; whoever is merely
// gone is stopped when everybody else runs.
func (s *Set) apply(in map[string]vrrp.Instance) {
	wanted := settingsByID(in)
	s.await(in, wanted)
	before := *s.running.Load()
	kept := func(m *member) bool {
		cfg, ok := wanted[m.id]
		return ok && cfg.in.Link() == m.in.Link()
	}
	// Before anybody releases what a Master is about to be given.
	for id, m := range before {
		if _, now := m.snapshot(); kept(m) && now.State == vrrp.Master {
			s.holders.hold(m, m.in.Link(), without(wanted[id].in.Held(), now.Params.Held()))
		}
	}

	groups := groupsOf(wanted)
	free := make(map[vrrp.ID]*member)
	var told []<-chan struct{}
	for r := range maps.Clone(s.runners) {
		key := groupKey(wanted[r.members[0].id].in)
		if !r.runs(groups[key]) || slices.ContainsFunc(r.members, func(m *member) bool { return !kept(m) }) {
			r.dissolve()
			delete(s.runners, r)
			for _, m := range r.members {
				free[m.id] = m
			}
			continue
		}
		delete(groups, key)
		told = append(told, r.post(func() { r.tell(wanted) }))
	}
	wait(told)
	told = nil

	var inTheWay, gone []*runner
	names := make(map[string]bool) // of those in the way
	for old, members := range leaving(free, kept) {
		r := newRunner(s.opts, members...)
		r.inbox = old.inbox // where their sockets deliver
		first := false
		for _, m := range members {
			delete(free, m.id)
			_, sameID := wanted[m.id]
			_, sameName := in[m.in.Name]
			names[m.in.Name] = true
			first = first || sameID || sameName
		}
		if first {
			inTheWay = append(inTheWay, r)
		} else {
			gone = append(gone, r)
		}
	}

	// Those that run go on at once: to stop others takes time, and they have to advertise.
	waits := func(id vrrp.ID) bool { return free[id] == nil || names[wanted[id].in.Name] }
	for key, ids := range groups {
		if !slices.ContainsFunc(ids, waits) {
			told = append(told, s.start(ids, free, wanted))
			delete(groups, key)
		}
	}
	wait(told)
	told = nil
	s.stop(inTheWay)
	for _, ids := range groups {
		told = append(told, s.start(ids, free, wanted))
	}
	wait(told)
	running := make(map[vrrp.ID]*member, len(wanted))
	for r := range s.runners {
		for _, m := range r.members {
			running[m.id] = m
		}
	}
	s.running.Store(&running)
	s.part(gone)
}

// part stops sync groups while the others go on being told what is new: a hand-over that
// nobody answers takes its time.
func (s *Set) part(rs []*runner) {
	for _, r := range rs {
		s.parting = append(s.parting, r)
		r.cancel()
		go r.end()
	}
}

// await waits for those that are parting and in the way of what is wanted, and forgets
// those that have ended.
func (s *Set) await(in map[string]vrrp.Instance, wanted map[vrrp.ID]settings) {
	s.parting = slices.DeleteFunc(s.parting, func(r *runner) bool {
		for _, m := range r.members {
			_, sameID := wanted[m.id]
			_, sameName := in[m.in.Name]
			if sameID || sameName {
				<-r.done
			}
		}
		select {
		case <-r.done:
			return true
		default:
			return false
		}
	})
}

// start runs a sync group, of new members and of those that are free. The channel is
// closed when they have their settings.
func (s *Set) start(ids []vrrp.ID, free map[vrrp.ID]*member, wanted map[vrrp.ID]settings) <-chan struct{} {
	var members []*member
	for _, id := range ids {
		m := free[id]
		if m == nil {
			m = newMember(s.opts, s.holders, wanted[id])
		}
		members = append(members, m)
	}
	r := newRunner(s.opts, members...)
	s.runners[r] = struct{}{}
	go r.run()
	return r.post(func() { r.tell(wanted) })
}

// leaving are the members that are not kept, by the runner that they come from, in
// their order there.
func leaving(free map[vrrp.ID]*member, kept func(*member) bool) map[*runner][]*member {
	groups := make(map[*runner][]*member)
	for _, m := range free {
		if !kept(m) {
			groups[m.runner] = append(groups[m.runner], m)
		}
	}
	for _, members := range groups {
		slices.SortFunc(members, func(a, b *member) int { return cmp.Compare(a.number, b.number) })
	}
	return groups
}

// stop stops sync groups side by side and waits for them.
func (s *Set) stop(rs []*runner) {
	for _, r := range rs {
		r.cancel()
		if _, running := s.runners[r]; !running {
			go r.end() // one that was made to be stopped
		}
		delete(s.runners, r)
	}
	for _, r := range rs {
		<-r.done
	}
}

func settingsByID(in map[string]vrrp.Instance) map[vrrp.ID]settings {
	virtual := make(map[string]map[netip.Addr]bool) // by interface
	for _, i := range in {
		if virtual[i.ID.Interface] == nil {
			virtual[i.ID.Interface] = make(map[netip.Addr]bool)
		}
		for _, a := range i.Held() {
			virtual[i.ID.Interface][a.Addr()] = true
		}
	}
	wanted := make(map[vrrp.ID]settings, len(in))
	for _, i := range in {
		wanted[i.ID] = settings{i, virtual[i.ID.Interface]}
	}
	return wanted
}

// key is a sync group's name, or the ID of a virtual router that is in none.
type key struct {
	group string
	id    vrrp.ID
}

func groupKey(in vrrp.Instance) key {
	if in.Group != "" {
		return key{group: in.Group}
	}
	return key{id: in.ID}
}

// groupsOf returns the members of each sync group, in the order of their names.
func groupsOf(wanted map[vrrp.ID]settings) map[key][]vrrp.ID {
	groups := make(map[key][]vrrp.ID)
	byName := slices.SortedFunc(maps.Values(wanted), func(a, b settings) int {
		return cmp.Compare(a.in.Name, b.in.Name)
	})
	for _, cfg := range byName {
		k := groupKey(cfg.in)
		groups[k] = append(groups[k], cfg.in.ID)
	}
	return groups
}
