package vrrp

import (
	"fmt"
	"slices"
	"time"
)

// SyncGroup moves virtual routers together: all of its members are Master, or none is.
// One becomes Master when every member would; one that has to leave takes the others
// with it. A virtual router without a sync group is a SyncGroup of one. Like a
// [VirtualRouter] it is not safe for concurrent use.
//
// Members that run can be put into another SyncGroup and keep their state. One that
// starts in a group of Masters becomes Master.
type SyncGroup struct {
	members []*groupMember
}

type groupMember struct {
	number int
	name   string
	vr     *VirtualRouter
	// trouble is why this member cannot take part, whatever the others do.
	trouble string
}

// GroupAction is an action of one member, by its number.
type GroupAction struct {
	Member int
	Action Action
}

// Add makes a virtual router a member. Members are numbered from 0 in the order in
// which they are added, which has to be the same on every director: the first one's
// addresses decide between equal priorities. The name is for the operator.
func (g *SyncGroup) Add(name string, vr *VirtualRouter) {
	vr.rank = len(g.members)
	g.members = append(g.members, &groupMember{number: len(g.members), name: name, vr: vr})
}

// Rename gives member number i another name.
func (g *SyncGroup) Rename(i int, name string) { g.members[i].name = name }

// Handle gives an event to member number i and returns what has to be done, in that
// order. Timeout and HandOver are for all members, whatever the number. A member that
// is in Fault because of another one recovers with that one.
func (g *SyncGroup) Handle(now time.Time, i int, ev Event) []GroupAction {
	var out []GroupAction
	switch ev := ev.(type) {
	case Timeout, HandOver:
		out = g.all(now, ev)
	case Failed:
		g.members[i].trouble = ev.Detail
		out = g.fail(now)
	case Recovered:
		g.members[i].trouble = ""
		out = g.recovered(now)
	case Startup:
		out = g.startup(now, g.members[i], ev)
	default:
		out = g.one(now, g.members[i], ev)
		g.hurry(now, g.members[i].vr)
	}
	return append(out, g.settle(now)...)
}

// hurry passes it on that the Master of one member has left: its director's sync group
// has left with it, so the other members need not wait for three of its advertisements.
// They do wait for one, in case that director has them in another group.
func (g *SyncGroup) hurry(now time.Time, released *VirtualRouter) {
	if released.state != Backup || !released.backup.released {
		return
	}
	for _, m := range g.members {
		if vr := m.vr; vr.state == Backup && !vr.backup.released {
			vr.hurry(now)
		}
	}
}

// Deadline returns when the next Timeout event is due, if one is.
func (g *SyncGroup) Deadline() (t time.Time, armed bool) {
	for _, m := range g.members {
		if d, ok := m.vr.Deadline(); ok && (!armed || d.Before(t)) {
			t, armed = d, true
		}
	}
	return t, armed
}

func (g *SyncGroup) one(now time.Time, m *groupMember, ev Event) []GroupAction {
	return m.does(m.vr.Handle(now, ev))
}

// all gives an event to every member. That a Backup's timer has run out is only noted:
// settle decides what becomes of it.
func (g *SyncGroup) all(now time.Time, ev Event) []GroupAction {
	_, timer := ev.(Timeout)
	var out []GroupAction
	for _, m := range g.members {
		if timer && m.vr.state == Backup {
			if !m.vr.expire(now) {
				out = append(out, m.does(m.vr.sweepHeld())...)
			}
			continue
		}
		out = append(out, g.one(now, m, ev)...)
	}
	return out
}

// fail puts every member into Fault: those in trouble with their own, the others with
// that of the first.
func (g *SyncGroup) fail(now time.Time) []GroupAction {
	var out []GroupAction
	for _, m := range g.members {
		if m.vr.state == Initialize && m.trouble == "" {
			continue // is put there when it starts
		}
		out = append(out, g.one(now, m, Failed{g.reason(m)})...)
	}
	return out
}

// recovered ends Fault when nobody is in trouble any more. Until then those that are in
// Fault say whose trouble it is.
func (g *SyncGroup) recovered(now time.Time) []GroupAction {
	if g.troubled() != nil {
		return g.fail(now)
	}
	var out []GroupAction
	for _, m := range g.members {
		out = append(out, g.one(now, m, Recovered{})...)
	}
	return out
}

// startup starts a member as what the others are.
func (g *SyncGroup) startup(now time.Time, m *groupMember, ev Startup) []GroupAction {
	if g.troubled() != nil {
		return g.one(now, m, Failed{g.reason(m)})
	}
	if m.vr.state == Initialize && !ev.Adopt && g.isMaster(m) {
		return m.does(m.vr.becomeMaster(now, ReasonGroup))
	}
	// Addresses that a predecessor held when the others had left already are not taken
	// again.
	ev.Adopt = ev.Adopt && g.backup() == nil
	return g.one(now, m, ev)
}

// isMaster tells whether every member but m that has started is Master, and at least
// one has.
func (g *SyncGroup) isMaster(m *groupMember) bool {
	masters := 0
	for _, o := range g.members {
		switch {
		case o == m || o.vr.state == Initialize:
		case o.vr.state != Master:
			return false
		default:
			masters++
		}
	}
	return masters > 0
}

func (g *SyncGroup) troubled() *groupMember {
	i := slices.IndexFunc(g.members, func(m *groupMember) bool { return m.trouble != "" })
	if i < 0 {
		return nil
	}
	return g.members[i]
}

// reason is why a member is in Fault, in words for the operator.
func (g *SyncGroup) reason(m *groupMember) string {
	if m.trouble != "" {
		return m.trouble
	}
	t := g.troubled()
	return fmt.Sprintf("sync group member %s: %s", t.name, t.trouble)
}

// settle makes the members agree after each event.
func (g *SyncGroup) settle(now time.Time) []GroupAction {
	out := g.sweep()
	if b := g.backup(); b != nil {
		for _, m := range g.members {
			// One that is handing over leaves as soon as its successor is heard.
			switch {
			case m.vr.late(now):
				out = append(out, m.does(m.vr.stepDown(now))...)
			case m.vr.state == Master && !m.vr.handingOver():
				out = append(out, m.does(m.vr.yield(now, "with "+b.name))...)
			}
		}
		return out
	}
	if slices.ContainsFunc(g.members, func(m *groupMember) bool { return m.vr.state != Backup && m.vr.state != Master }) {
		return out
	}
	for _, m := range g.members {
		if m.vr.state == Backup {
			out = append(out, m.does(m.vr.takeOver(now))...)
		}
	}
	return out
}

// sweep takes away what a predecessor left to any member as soon as one of them knows that
// another director is Master: that one is it of all of them.
func (g *SyncGroup) sweep() []GroupAction {
	if !slices.ContainsFunc(g.members, func(m *groupMember) bool { return m.vr.state == Backup && !m.vr.leftovers }) {
		return nil
	}
	var out []GroupAction
	for _, m := range g.members {
		if m.vr.state == Backup {
			out = append(out, m.does(m.vr.sweep())...)
		}
	}
	return out
}

// backup returns a member that has to be Backup, if there is one.
func (g *SyncGroup) backup() *groupMember {
	i := slices.IndexFunc(g.members, func(m *groupMember) bool { return m.vr.state == Backup && !m.vr.backup.expired })
	if i < 0 {
		return nil
	}
	return g.members[i]
}

func (m *groupMember) does(actions []Action) []GroupAction {
	out := make([]GroupAction, len(actions))
	for i, a := range actions {
		out[i] = GroupAction{m.number, a}
	}
	return out
}

// defers tells whether a Master leaves it to those before it in the sync group who wins
// among equal priorities. Whose address is higher may be answered otherwise in the other
// family or on another link; then each of two directors would lose one member and give
// up all of them, again and again. If those before it do not hear the contest, it decides
// after a Master_Down_Interval for each.
func (vr *VirtualRouter) defers(now time.Time) bool {
	if vr.rank == 0 {
		return false
	}
	t := &vr.active
	patience := time.Duration(vr.rank) * MasterDownInterval(vr.p.Version, vr.p.Priority, vr.p.AdvertInterval)
	if t.tiedSince.IsZero() || now.Sub(t.tiedAt) > patience {
		t.tiedSince = now
	}
	t.tiedAt = now
	return now.Sub(t.tiedSince) < patience
}
