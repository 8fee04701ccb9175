package vrrp

import "time"

// backupTimers is what only a Backup needs (RFC 9568 section 6.4.2).
type backupTimers struct {
	// downAt is when Master_Down_Timer runs out.
	downAt time.Time
	// expired says that it has, and that this Backup would be Master. In a sync group
	// it may have to wait for the others.
	expired bool
	// released says that it was set to Skew_Time, because the Master stopped.
	released bool
	// preempting says that a Master of lower priority was heard, and ignored, since
	// the timer was set.
	preempting bool
	// owner says that the timer is that of an owner's start delay.
	owner bool
	// hurried says that it was cut short, because the Master of another member of the
	// sync group stopped.
	hurried bool
	// excused says that the timer was set once more because it ran out late.
	excused bool
	// held says that Params.Hold has kept this Backup from taking over.
	held bool
	// lowerSince is when the first of its advertisements arrived; zero without one.
	// PreemptDelay counts from there.
	lowerSince time.Time
}

// enterBackup arms Master_Down_Timer for a Master with the given interval.
func (vr *VirtualRouter) enterBackup(now time.Time, masterAdverInterval time.Duration) {
	vr.masterAdverInterval = masterAdverInterval
	vr.backup = backupTimers{}
	vr.setDownTimer(now, false)
}

func (vr *VirtualRouter) setDownTimer(now time.Time, released bool) {
	vr.backup = backupTimers{released: released, lowerSince: vr.backup.lowerSince}
	vr.backup.downAt = now.Add(vr.downTime())
}

// downTime is what Master_Down_Timer was set to, by the parameters of now.
func (vr *VirtualRouter) downTime() time.Duration {
	if vr.backup.released {
		return SkewTime(vr.p.Version, vr.p.Priority, vr.masterAdverInterval)
	}
	return MasterDownInterval(vr.p.Version, vr.p.Priority, vr.masterAdverInterval)
}

// expire tells whether Master_Down_Timer has run out and this Backup would be Master.
func (vr *VirtualRouter) expire(now time.Time) bool {
	t := &vr.backup
	if t.expired || now.Before(t.downAt) {
		return t.expired
	}
	switch {
	case !t.excused && !t.owner && now.Sub(t.downAt) > vr.masterAdverInterval:
		// We were not running when it ran out, and have missed what was sent meanwhile:
		// a Master that is alive is heard within its interval.
		t.excused = true
		t.downAt = now.Add(vr.masterAdverInterval + SkewTime(vr.p.Version, vr.p.Priority, vr.masterAdverInterval))
	case vr.p.Hold && !t.released && !t.preempting && !t.owner:
		t.held = true
		t.downAt = now.Add(vr.downTime())
	default:
		t.expired = true
	}
	return t.expired
}

// hurry leaves the Master the time for one more advertisement.
func (vr *VirtualRouter) hurry(now time.Time) {
	soon := now.Add(vr.masterAdverInterval + SkewTime(vr.p.Version, vr.p.Priority, vr.masterAdverInterval))
	if soon.Before(vr.backup.downAt) {
		vr.backup.downAt, vr.backup.hurried = soon, true
	}
}

// takeOver makes a Backup Master whose Master_Down_Timer has run out.
func (vr *VirtualRouter) takeOver(now time.Time) []Action {
	switch t := vr.backup; {
	case t.owner:
		return vr.becomeMaster(now, ReasonOwner)
	case t.released:
		return vr.becomeMaster(now, ReasonMasterReleased)
	case t.hurried:
		return vr.becomeMaster(now, ReasonGroup)
	case t.preempting:
		return vr.becomeMaster(now, ReasonPreempt)
	}
	return vr.becomeMaster(now, ReasonMasterDown)
}

// backupAdvert follows the "ADVERTISEMENT is received" part of RFC 9568 section
// 6.4.2. An advertisement that is discarded leaves the timer as it was, so that it
// runs out and preempts.
func (vr *VirtualRouter) backupAdvert(now time.Time, ev AdvertReceived) {
	switch p := ev.Advert.Priority; {
	case p == PriorityRelease:
		if !sameHost(vr.rival.addr, ev.From) {
			vr.rival = router{addr: ev.From} // not one whose priority we know
		}
		vr.backup.lowerSince = time.Time{}
		vr.setDownTimer(now, true)
		return
	case p >= vr.p.Priority:
		vr.backup.lowerSince = time.Time{}
	default:
		if vr.backup.lowerSince.IsZero() {
			vr.backup.lowerSince = now
		}
		if vr.preempts(now) {
			vr.rival = router{ev.From, p}
			vr.backup.preempting = true
			return
		}
	}
	vr.master = router{ev.From, ev.Advert.Priority}
	vr.rival = vr.master
	vr.masterAdverInterval = ev.Advert.Interval
	vr.setDownTimer(now, false)
}

// preempts tells whether a Master of lower priority is no longer tolerated.
func (vr *VirtualRouter) preempts(now time.Time) bool {
	if vr.p.Priority == PriorityOwner {
		return true // RFC 9568 section 6.1, Preempt_Mode
	}
	return vr.p.Preempt && now.Sub(vr.backup.lowerSince) >= vr.p.PreemptDelay
}
