package vrrptest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// history is what one virtual router has lived through since it was started, as far as
// it says what it may do next. It is kept by the simulator from what goes in and out,
// with the formulas of RFC 9568 written down a second time, and shares no code with
// the machine that it judges. Times are by the director's own clock.
type history struct {
	handingOver bool // before the present event
	// setAt is when Master_Down_Timer was last set, and interval the
	// Master_Adver_Interval that it was set by.
	setAt    time.Time
	interval time.Duration
	known    bool // interval is that of a Master that was heard
	released bool // the last that was heard was priority 0
	// ignored is the priority of a Master that was heard since, and has to go; 0
	// without one.
	ignored vrrp.Priority
	// lowerSince is when the first of its advertisements was heard.
	lowerSince time.Time
	// expired says that the timer had run out when the parameters changed: a member of a
	// sync group may have waited for the others.
	expired  bool
	listenAt time.Time
	sentAt   time.Time // the last advertisement, as Master
	asked    bool      // to hand over
	// successor is who was heard since, its interval, and when it was the first time.
	successor         netip.Addr
	successorInterval time.Duration
	succeededAt       time.Time
	// loose says that the timer may run out later than setAt and the interval say:
	// the process slept, was held, or got other parameters.
	loose, slept bool

	// swept says that what a predecessor left on the interface must be gone: another
	// director was heard as Master, or this one has taken its place.
	swept bool

	// stalledAt and wokeAt are when the process was last stalled, and went on.
	stalledAt, wokeAt time.Time

	// Of the present step: whether priority 0 was said, and whether it found a Master so
	// late that every other router has called it down.
	saidRelease, late bool
	before            vrrp.Params // before the event
}

func skewTime(p vrrp.Params, interval time.Duration) time.Duration {
	if p.Version == vrrp.Version2 {
		interval = time.Second
	}
	return interval * time.Duration(256-int(p.Priority)) / 256
}

func masterDownInterval(p vrrp.Params, interval time.Duration) time.Duration {
	return interval + interval + interval + skewTime(p, interval)
}

func higherAddress(a, b netip.Addr) bool {
	x, y := a.As16(), b.As16()
	for i := range x {
		if x[i] != y[i] {
			return x[i] > y[i]
		}
	}
	return false
}

// succeeds takes in an advertisement during a hand-over.
func (h *history) succeeds(now time.Time, rx vrrp.AdvertReceived) {
	if rx.Advert.Priority == 0 {
		return
	}
	if h.succeededAt.IsZero() {
		h.succeededAt = now
	}
	h.successor, h.successorInterval = rx.From, rx.Advert.Interval
}

// listen starts to wait for a Master.
func (h *history) listen(now time.Time, interval time.Duration, known bool) {
	if h.listenAt.After(now) {
		now = h.listenAt
	}
	*h = history{setAt: now, interval: interval, known: known, listenAt: h.listenAt, handingOver: h.handingOver, swept: h.swept, stalledAt: h.stalledAt, wokeAt: h.wokeAt, before: h.before}
}

// hears takes an advertisement that a Backup accepts (RFC 9568 section 6.4.2).
func (h *history) hears(now time.Time, p vrrp.Params, a vrrp.Advert) {
	switch {
	case a.Priority == 0:
		h.setAt, h.released, h.ignored, h.loose, h.slept, h.expired = now, true, 0, false, false, false
		h.lowerSince = time.Time{}
		return
	case a.Priority >= p.Priority:
		h.lowerSince = time.Time{}
	default:
		if h.lowerSince.IsZero() {
			h.lowerSince = now
		}
		if p.Priority == 255 || p.Preempt && now.Sub(h.lowerSince) >= p.PreemptDelay {
			h.ignored = a.Priority
			return
		}
	}
	h.setAt, h.interval, h.known = now, a.Interval, true
	h.released, h.ignored, h.loose, h.slept, h.expired = false, 0, false, false, false
}

// reconsider takes new parameters as a Backup. A Master that was ignored, and now need
// not go, counts as heard.
func (h *history) reconsider(now time.Time, old, p vrrp.Params) {
	h.loose = true
	h.expired = h.expired || !now.Before(h.downAt(old))
	if p.Version != old.Version {
		h.known = false
	}
	if p.Version == vrrp.Version2 || !h.known {
		h.interval = p.AdvertInterval
	}
	if h.ignored > 0 && p.Priority != 255 && (!p.Preempt || h.ignored >= p.Priority) {
		h.setAt, h.ignored, h.released, h.expired = now, 0, false, false
	}
}

// downAt is when Master_Down_Timer runs out.
func (h *history) downAt(p vrrp.Params) time.Time {
	if h.released {
		return h.setAt.Add(skewTime(p, h.interval))
	}
	return h.setAt.Add(masterDownInterval(p, h.interval))
}

// lie returns why the reason of a transition is not true; empty if it is.
func (m *member) lie(now time.Time, cause arrival, t vrrp.Transition) string {
	h, p := &m.history, m.params
	rx, isAdvert := cause.ev.(vrrp.AdvertReceived)
	isAdvert = isAdvert && cause.to == m
	grouped := len(m.unit.members) > 1
	takesOver := t.From == vrrp.Backup && t.To == vrrp.Master
	givesWay := t.From == vrrp.Master && t.To == vrrp.Backup
	_, timer := cause.ev.(vrrp.Timeout)

	switch t.Reason {
	case vrrp.ReasonMasterDown, vrrp.ReasonMasterReleased, vrrp.ReasonPreempt:
		down := h.downAt(p)
		switch {
		case !takesOver || !timer && !grouped:
			return "not a timer's"
		case now.Before(down) && !h.expired:
			return fmt.Sprintf("the timer runs until %v from now", down.Sub(now))
		case now.After(down) && !grouped && !h.loose && !h.slept:
			return fmt.Sprintf("the timer ran out %v ago", now.Sub(down))
		case !grouped && down.After(h.stalledAt) && h.wokeAt.Sub(down) > h.interval && now.Sub(h.wokeAt) < h.interval:
			return "it was stalled when the timer ran out, and has not listened since"
		case t.Reason == vrrp.ReasonMasterReleased && !h.released:
			return "the last that was heard is not priority 0"
		case t.Reason == vrrp.ReasonMasterDown && h.released:
			return "the last that was heard is priority 0"
		case t.Reason == vrrp.ReasonMasterDown && h.ignored > 0:
			return "a Master of lower priority was heard"
		case t.Reason == vrrp.ReasonPreempt && h.ignored == 0:
			return "no Master of lower priority was heard"
		case t.Reason == vrrp.ReasonPreempt && p.Priority != 255 && (!p.Preempt || h.ignored >= p.Priority):
			return "it must not preempt"
		case t.Reason == vrrp.ReasonMasterDown && p.Hold:
			return "it is held"
		}
	case vrrp.ReasonOwner:
		if t.To != vrrp.Master || p.Priority != 255 || now.Before(h.listenAt) {
			return "it is no owner, or the start delay is not over"
		}
	case vrrp.ReasonHigherPriority:
		if !givesWay || !isAdvert || rx.Advert.Priority <= p.Priority || t.Peer != rx.From || t.PeerPriority != rx.Advert.Priority {
			return "no higher priority was heard"
		}
	case vrrp.ReasonHigherAddress:
		if !givesWay || !isAdvert || rx.Advert.Priority != p.Priority || !higherAddress(rx.From, p.Source) {
			return "no equal priority with a higher address was heard"
		}
	case vrrp.ReasonSwitchover:
		switch linger := min(h.before.AdvertInterval/4, 20*time.Millisecond); {
		case !givesWay || !timer || !h.asked || h.succeededAt.IsZero() || t.Peer != h.successor:
			return "nobody asked for it, or nobody took over"
		case now.Sub(h.succeededAt) < linger:
			return fmt.Sprintf("the successor was heard %v ago, and may not have the addresses yet", now.Sub(h.succeededAt))
		}
	case vrrp.ReasonLate:
		// The last advertisement may have been an answer between two by the timer.
		if !givesWay || now.Sub(h.sentAt) <= masterDownInterval(h.before, h.before.AdvertInterval) {
			return fmt.Sprintf("the last advertisement was %v ago", now.Sub(h.sentAt))
		}
	case vrrp.ReasonStartup:
		if _, ok := cause.ev.(vrrp.Startup); !ok || t.From != vrrp.Initialize || t.To != vrrp.Backup {
			return "not at the start"
		}
	case vrrp.ReasonAdopted:
		if ev, ok := cause.ev.(vrrp.Startup); !ok || !ev.Adopt || t.To != vrrp.Master {
			return "there was nothing to adopt"
		}
	case vrrp.ReasonShutdown:
		if _, ok := cause.ev.(vrrp.Shutdown); !ok || t.To != vrrp.Initialize {
			return "not at the end"
		}
	case vrrp.ReasonFailed:
		_, failed := cause.ev.(vrrp.Failed)
		if !failed && !grouped || t.To != vrrp.Fault || t.Detail == "" {
			return "nothing failed"
		}
	case vrrp.ReasonRecovered:
		if _, ok := cause.ev.(vrrp.Recovered); !ok || t.From != vrrp.Fault || t.To != vrrp.Backup {
			return "nothing recovered"
		}
	case vrrp.ReasonGroup:
		if !grouped {
			return "there is no sync group"
		}
	default:
		return "unknown reason"
	}
	return ""
}
