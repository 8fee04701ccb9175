package vrrp

import (
	"cmp"
	"time"
)

// defaults fills in what is not given. Neighbours that missed one announcement get
// another, and one that learned a wrong address since then is put right within a
// minute.
func (a Announcements) defaults() Announcements {
	return Announcements{
		Rounds:  cmp.Or(a.Rounds, 5),
		Spacing: cmp.Or(a.Spacing, 1100*time.Millisecond),
		Refresh: cmp.Or(a.Refresh, time.Minute),
	}
}

// masterTimers is what only a Master needs (RFC 9568 section 6.4.3).
type masterTimers struct {
	// advertAt is when Adver_Timer runs out.
	advertAt time.Time
	// assertedAt is when a losing advertisement was last answered at once.
	assertedAt time.Time
	// announceAt is when the next announcement is due, announcedAt when the last
	// one was made, and roundsLeft how many follow at the short spacing.
	announceAt, announcedAt time.Time
	roundsLeft              int
	// tiedSince and tiedAt are when the first and the last advertisement of a contest
	// arrived that is left to another member of the sync group.
	tiedSince, tiedAt time.Time
	// handOverUntil is how long another router is given to take over; zero: none was
	// asked to. Until then nothing is advertised or announced.
	handOverUntil time.Time
	// successor is the router that has taken over, successorInterval its interval, and
	// releaseAt when the addresses go; zero as long as there is none.
	successor         router
	successorInterval time.Duration
	releaseAt         time.Time
}

func (t *masterTimers) deadline() time.Time {
	if !t.releaseAt.IsZero() {
		return t.releaseAt
	}
	if !t.handOverUntil.IsZero() {
		return t.handOverUntil
	}
	if t.announceAt.Before(t.advertAt) {
		return t.announceAt
	}
	return t.advertAt
}

// becomeMaster enters Master. The advertisement goes first, so that every other
// router stops answering as early as possible; neighbours are told only when the
// addresses are there to answer for.
func (vr *VirtualRouter) becomeMaster(now time.Time, why Reason) []Action {
	vr.active = masterTimers{}
	vr.leftovers = false // they are ours
	vr.masterAdverInterval = vr.p.AdvertInterval
	actions := []Action{vr.sendAdvert(now), AcquireAddrs{vr.p.Held()}}
	vr.requestAnnouncements(now)
	actions = vr.announceIfDue(now, actions)
	return append(actions, vr.transition(now, Master, why, ""))
}

// sendAdvert sends and sets Adver_Timer to Advertisement_Interval.
func (vr *VirtualRouter) sendAdvert(now time.Time) Action {
	vr.active.advertAt = now.Add(vr.p.AdvertInterval)
	return vr.advert(vr.p.Priority)
}

// requestAnnouncements starts a series, or starts a running one again. Rounds stay
// their spacing apart whatever is asked for, so that a router that keeps
// contesting cannot make us flood the segment, and yet the last of its
// advertisements is followed by a whole series.
func (vr *VirtualRouter) requestAnnouncements(now time.Time) {
	t, a := &vr.active, vr.p.Announcements.defaults()
	t.roundsLeft = a.Rounds
	t.announceAt = now
	if next := t.announcedAt.Add(a.Spacing); !t.announcedAt.IsZero() && next.After(now) {
		t.announceAt = next
	}
}

func (vr *VirtualRouter) announceIfDue(now time.Time, actions []Action) []Action {
	t := &vr.active
	if now.Before(t.announceAt) {
		return actions
	}
	t.announcedAt = now
	t.roundsLeft = max(t.roundsLeft-1, 0)
	a := vr.p.Announcements.defaults()
	t.announceAt = now.Add(a.Refresh)
	if t.roundsLeft > 0 {
		t.announceAt = now.Add(a.Spacing)
	}
	return append(actions, Announce{vr.p.Held()})
}

func (vr *VirtualRouter) masterTimeout(now time.Time) []Action {
	if until := vr.active.handOverUntil; !until.IsZero() {
		switch {
		case now.Before(vr.active.deadline()):
			return nil
		case vr.lingering():
			return vr.succeed(now)
		}
		return vr.resume(now)
	}
	var actions []Action
	if due := vr.active.advertAt; !now.Before(due) {
		actions = append(actions, vr.sendAdvert(now))
		// Counting from when it was due keeps a late timer from adding up.
		if next := due.Add(vr.p.AdvertInterval); next.After(now) {
			vr.active.advertAt = next
		}
	}
	return vr.announceIfDue(now, actions)
}

// masterAdvert follows the "ADVERTISEMENT is received" part of RFC 9568 section
// 6.4.3.
func (vr *VirtualRouter) masterAdvert(now time.Time, ev AdvertReceived) []Action {
	if vr.handingOver() {
		return vr.handedOver(now, ev)
	}
	if ev.Advert.Priority == PriorityRelease {
		// Another Master was there, so neighbours may have its address.
		actions := []Action{vr.sendAdvert(now)}
		vr.requestAnnouncements(now)
		return vr.announceIfDue(now, actions)
	}
	why := vr.loses(ev)
	if why == ReasonHigherAddress && vr.defers(now) {
		return nil
	}
	if why != "" {
		vr.master = router{ev.From, ev.Advert.Priority}
		vr.rival = vr.master
		vr.enterBackup(now, ev.Advert.Interval)
		// RFC 9568 says nothing here. A winner that has been Master all along, on its
		// side of a partition that heals, learns only from our advertisement that
		// there were two, and that the neighbours may have our address. It comes after
		// the release, so that nobody else answers once the winner has announced.
		// The interval is the winner's: with ours, if it is much shorter, the Backups that
		// hear this last would call the winner down before its next one.
		last := vr.advert(vr.p.Priority)
		last.Advert.Interval = vr.masterAdverInterval
		return []Action{ReleaseAddrs{vr.p.Held()}, last, vr.transition(now, Backup, why, "")}
	}
	return vr.assert(now)
}

// loses returns why we give way to the sender of an advertisement, if we do.
func (vr *VirtualRouter) loses(ev AdvertReceived) Reason {
	switch p := ev.Advert.Priority; {
	case p > vr.p.Priority:
		return ReasonHigherPriority
	case p == vr.p.Priority && compareHosts(ev.From, vr.p.Source) > 0:
		return ReasonHigherAddress
	}
	return ""
}

// assert answers a router that advertises although we win (RFC 9568 section
// 6.4.3): an advertisement at once, which makes it give way and shows bridges where
// we are, and announcements, because neighbours may have its address. Adver_Timer
// runs on.
//
// Two routers that each believe they win would answer each other without end, so
// there is at most one answer per half interval. A peer with our interval still
// gets one to each of its advertisements.
func (vr *VirtualRouter) assert(now time.Time) []Action {
	var actions []Action
	if last := vr.active.assertedAt; last.IsZero() || now.Sub(last) >= vr.p.AdvertInterval/2 {
		vr.active.assertedAt = now
		actions = append(actions, vr.advert(vr.p.Priority))
	}
	vr.requestAnnouncements(now)
	return vr.announceIfDue(now, actions)
}
