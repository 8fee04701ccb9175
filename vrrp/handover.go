package vrrp

import "time"

// minHandOver is the least time that another router is given to take over. At short
// intervals Skew_Time is below what a busy machine needs.
const minHandOver = 250 * time.Millisecond

// maxLinger bounds how long the addresses stay after the successor was heard. It
// advertises before it has acquired them, and meanwhile they must not be on nobody. With
// both of them holding the addresses a neighbour that asks may learn either of us, so it
// is no longer than an acquisition takes on a busy machine.
const maxLinger = 20 * time.Millisecond

// handOver asks for another Master. The addresses stay until it has them, so that
// clients are served all the time; two routers hold them for the moment in between,
// and the other's announcements decide.
func (vr *VirtualRouter) handOver(now time.Time) []Action {
	if vr.handingOver() {
		return nil
	}
	vr.active.handOverUntil = now.Add(vr.handOverTime())
	return []Action{vr.advert(PriorityRelease)}
}

// handOverTime is how long a Backup of the lowest priority may take: its Skew_Time,
// and half an interval for the way.
func (vr *VirtualRouter) handOverTime() time.Duration {
	return max(SkewTime(vr.p.Version, 1, vr.p.AdvertInterval)+vr.p.AdvertInterval/2, minHandOver)
}

func (vr *VirtualRouter) handingOver() bool {
	return vr.state == Master && !vr.active.handOverUntil.IsZero()
}

// handedOver gives way to whoever advertises, whatever its priority.
func (vr *VirtualRouter) handedOver(now time.Time, ev AdvertReceived) []Action {
	if ev.Advert.Priority == PriorityRelease {
		return nil // that one does not take over
	}
	t := &vr.active
	if t.releaseAt.IsZero() {
		t.releaseAt = now.Add(min(vr.p.AdvertInterval/4, maxLinger))
	}
	t.successor, t.successorInterval = router{ev.From, ev.Advert.Priority}, ev.Advert.Interval
	return nil
}

// lingering tells whether the successor has been heard and the addresses are about to
// go.
func (vr *VirtualRouter) lingering() bool { return vr.handingOver() && !vr.active.releaseAt.IsZero() }

// succeed ends the hand-over: the successor has the addresses by now.
func (vr *VirtualRouter) succeed(now time.Time) []Action {
	t := vr.active
	vr.master, vr.rival = t.successor, t.successor
	vr.enterBackup(now, t.successorInterval)
	return []Action{ReleaseAddrs{vr.p.Held()}, vr.transition(now, Backup, ReasonSwitchover, "")}
}

// resume goes on after nobody has taken over.
func (vr *VirtualRouter) resume(now time.Time) []Action {
	vr.active.handOverUntil = time.Time{}
	actions := []Action{vr.sendAdvert(now)}
	vr.requestAnnouncements(now)
	return vr.announceIfDue(now, actions)
}

// giveUp is how a Master leaves: it says so with priority 0 before it gives the
// addresses up, so that the Backup's Skew_Time runs while we release.
func (vr *VirtualRouter) giveUp() []Action {
	return []Action{vr.advert(PriorityRelease), ReleaseAddrs{vr.p.Held()}}
}

// late tells whether a Master's Adver_Timer is so late that every other router has
// called it down: the process, or the whole machine, did not run.
func (vr *VirtualRouter) late(now time.Time) bool {
	return vr.state == Master && !vr.handingOver() &&
		now.Sub(vr.active.advertAt) > MasterDownInterval(vr.p.Version, vr.p.Priority, vr.p.AdvertInterval)
}

// stepDown leaves Master after it was late. There is no priority 0: somebody else is
// Master by now, and if nobody is, our own Master_Down_Timer finds out.
func (vr *VirtualRouter) stepDown(now time.Time) []Action {
	vr.master, vr.rival = router{}, router{}
	vr.enterBackup(now, vr.p.AdvertInterval)
	return []Action{ReleaseAddrs{vr.p.Held()}, vr.transition(now, Backup, ReasonLate, "")}
}

// yield leaves Master because the sync group does.
func (vr *VirtualRouter) yield(now time.Time, detail string) []Action {
	actions := vr.giveUp()
	vr.master, vr.rival = router{}, router{}
	vr.enterBackup(now, vr.p.AdvertInterval)
	return append(actions, vr.transition(now, Backup, ReasonGroup, detail))
}
