package vrrp

import "time"

// backupTimers is what only a Backup needs (RFC 9568 section 6.4.2).
type backupTimers struct {
	// downAt is when Master_Down_Timer runs out.
	downAt time.Time
	// released says that it was set to Skew_Time, because the Master stopped.
	released bool
	// preempting says that a Master of lower priority was heard, and ignored, since
	// the timer was set.
	preempting bool
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
	vr.backup.released, vr.backup.preempting = released, false
	vr.backup.downAt = now.Add(vr.downTime())
}

// downTime is what Master_Down_Timer was set to, by the parameters of now.
func (vr *VirtualRouter) downTime() time.Duration {
	if vr.backup.released {
		return SkewTime(vr.p.Version, vr.p.Priority, vr.masterAdverInterval)
	}
	return MasterDownInterval(vr.p.Version, vr.p.Priority, vr.masterAdverInterval)
}

func (vr *VirtualRouter) backupTimeout(now time.Time) []Action {
	if now.Before(vr.backup.downAt) {
		return nil
	}
	switch {
	case vr.backup.released:
		return vr.becomeMaster(now, ReasonMasterReleased)
	case vr.backup.preempting:
		return vr.becomeMaster(now, ReasonPreempt)
	}
	return vr.becomeMaster(now, ReasonMasterDown)
}

// backupAdvert follows the "ADVERTISEMENT is received" part of RFC 9568 section
// 6.4.2. An advertisement that is discarded leaves the timer as it was, so that it
// runs out and preempts.
func (vr *VirtualRouter) backupAdvert(now time.Time, ev AdvertReceived) []Action {
	switch p := ev.Advert.Priority; {
	case p == PriorityRelease:
		if !sameHost(vr.rival.addr, ev.From) {
			vr.rival = router{addr: ev.From} // not one whose priority we know
		}
		vr.backup.lowerSince = time.Time{}
		vr.setDownTimer(now, true)
		return nil
	case p >= vr.p.Priority:
		vr.backup.lowerSince = time.Time{}
	default:
		if vr.backup.lowerSince.IsZero() {
			vr.backup.lowerSince = now
		}
		if vr.preempts(now) {
			vr.rival = router{ev.From, p}
			vr.backup.preempting = true
			return nil
		}
	}
	vr.master = router{ev.From, ev.Advert.Priority}
	vr.rival = vr.master
	vr.masterAdverInterval = ev.Advert.Interval
	vr.setDownTimer(now, false)
	return nil
}

// preempts tells whether a Master of lower priority is no longer tolerated.
func (vr *VirtualRouter) preempts(now time.Time) bool {
	if vr.p.Priority == PriorityOwner {
		return true // RFC 9568 section 6.1, Preempt_Mode
	}
	return vr.p.Preempt && now.Sub(vr.backup.lowerSince) >= vr.p.PreemptDelay
}
