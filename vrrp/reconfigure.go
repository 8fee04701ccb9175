package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// reconfigure takes new parameters in place. Mastership is kept: what has to change
// hands is decided by the advertisements that follow.
func (vr *VirtualRouter) reconfigure(now time.Time, p Params) []Action {
	old := vr.p
	if old.Equal(p) {
		return nil
	}
	switch vr.state {
	case Initialize:
		vr.p = p
		if gone := without(old.Held(), p.Held()); len(gone) > 0 && vr.leftovers && old.Priority != PriorityOwner {
			return []Action{ReleaseAddrs{gone}}
		}
		return nil // the rest is looked at from Startup on
	case Master:
		return vr.reconfigureMaster(now, p)
	case Backup:
		vr.reconfigureBackup(now, p)
	}
	vr.p = p
	// Whoever had a new address before, we must not have it now. Nor one that was left to
	// the owner that we were, or by a predecessor and is ours no longer.
	release := without(p.Held(), old.Held())
	if old.Priority == PriorityOwner && p.Priority != PriorityOwner {
		release = p.Held()
	}
	if vr.leftovers && old.Priority != PriorityOwner {
		release = append(release, without(old.Held(), p.Held())...)
	}
	if len(release) > 0 {
		return []Action{ReleaseAddrs{release}}
	}
	return nil
}

// reconfigureBackup shifts the running Master_Down_Timer by what a change of
// priority, interval or version makes of it. Setting it anew would let a series of
// changes, such as a tracked object that flaps, put the takeover off for ever.
func (vr *VirtualRouter) reconfigureBackup(now time.Time, p Params) {
	if vr.backup.owner {
		// Its timer is the start delay's. One that is an owner no more listens afterwards.
		if vr.p = p; p.Priority != PriorityOwner {
			vr.enterBackup(vr.listenAt, p.AdvertInterval)
		}
		return
	}
	before := vr.downTime()
	if p.Version != vr.p.Version {
		vr.master = router{} // whose advertisements we no longer take
	}
	// Only a Master's own version 3 advertisement tells an interval other than ours.
	if p.Version == Version2 || !vr.master.addr.IsValid() {
		vr.masterAdverInterval = p.AdvertInterval
	}
	vr.p = p
	vr.backup.downAt = vr.backup.downAt.Add(vr.downTime() - before)
	if vr.backup.preempting && p.Priority != PriorityOwner && (!p.Preempt || vr.rival.priority >= p.Priority) {
		// The Master that was ignored need not go any more. Its advertisements are heard
		// from now on, and until the next one it is not down.
		vr.setDownTimer(now, false)
	}
	if p.Hold {
		// One that waits for the others of its sync group is asked again.
		vr.backup.expired = false
	}
	if vr.backup.held && !p.Hold {
		// The Master has been silent for long enough already.
		vr.backup.held, vr.backup.downAt = false, now
	}
}

// reconfigureMaster sends an advertisement at once if it would say something new:
// with a longer interval the Backups would otherwise call us down before the next
// one. New addresses are there and announced before those that are gone are
// released, so that an address whose prefix length changes is never absent.
func (vr *VirtualRouter) reconfigureMaster(now time.Time, p Params) []Action {
	old := vr.p
	vr.p = p
	vr.masterAdverInterval = p.AdvertInterval

	var actions []Action
	quiet := old // the changes that no other router sees
	quiet.Preempt, quiet.PreemptDelay, quiet.StartDelay, quiet.Hold = p.Preempt, p.PreemptDelay, p.StartDelay, p.Hold
	quiet.Announcements, quiet.Excluded = p.Announcements, p.Excluded
	if !quiet.Equal(p) && !vr.handingOver() {
		actions = append(actions, vr.sendAdvert(now))
	}
	if added := without(p.Held(), old.Held()); len(added) > 0 {
		actions = append(actions, AcquireAddrs{added}, Announce{added})
		vr.active.announcedAt = now
		vr.requestAnnouncements(now)
		vr.active.roundsLeft-- // the first round has just been made
	}
	if gone := without(old.Held(), p.Held()); len(gone) > 0 {
		actions = append(actions, ReleaseAddrs{gone})
	}
	return actions
}

// without returns the elements of a that are not in b, in their order.
func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(p netip.Prefix) bool { return slices.Contains(b, p) })
}
