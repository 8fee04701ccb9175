package healthcheck

import (
	"context"
	"errors"
	"time"
)

// overdueGrace is how long after its timeout a probe may still take to end. After
// that it counts as failed, and its place goes to another target.
const overdueGrace = time.Second

var errStuck = errors.New("timeout, and the check does not stop")

// check is a Spec with the Checker made from it.
type check struct {
	spec    Spec
	checker Checker
}

// stage is what an entry is doing.
type stage uint8

const (
	resting stage = iota // until at, when the next probe is due
	waiting              // due, in a line for a place
	asking               // a probe runs; it is overdue at at
	stuck                // the probe did not end in time; the next failure counts at at
)

// entry is one target in the schedule.
type entry struct {
	target   Target
	check    check
	tracker  *Tracker
	snapshot Snapshot

	stage   stage
	at      time.Time // what is planned, see stage; when waiting, since when
	place   int       // on the agenda
	started time.Time // of the probe that runs
	slow    bool      // the last probe took half its timeout or more
	inSlow  bool      // the place that it holds is one of the slow ones
	void    bool      // the result of the probe that runs is not wanted
	gone    bool      // removed while a probe ran
	cancel  context.CancelFunc
}

// schedule decides which target is asked when. It does not ask itself: take says
// whom to ask, finish is told the verdict. The owner calls wake at deadline, and
// take until it returns nil after every other call.
type schedule struct {
	limit   int // places: how many probes may run at once
	entries map[Target]*entry
	agenda  agenda
	// The lines of due targets, in order of their time. The slow may have half of
	// the places, see the package comment.
	quick, slow        []*entry
	running, slowInUse int
}

func newSchedule(limit int) *schedule {
	return &schedule{limit: limit, entries: make(map[Target]*entry)}
}

// apply makes the targets of set the ones that are asked.
func (s *schedule) apply(now time.Time, set map[Target]check, out *outbox) {
	for t, c := range set {
		switch e := s.entries[t]; {
		case e == nil:
			s.add(now, t, c)
		case e.gone:
			s.revive(now, e, c)
		case e.check.spec != c.spec:
			s.update(now, e, c)
		}
	}
	for t, e := range s.entries {
		if _, ok := set[t]; !ok && !e.gone {
			s.remove(e)
			out.drop(t)
		}
	}
}

func (s *schedule) add(now time.Time, t Target, c check) {
	e := &entry{target: t}
	e.renew(now, c)
	e.at = now.Add(e.phase())
	s.entries[t] = e
	s.agenda.push(e)
}

// renew makes the entry one that knows nothing of its target.
func (e *entry) renew(now time.Time, c check) {
	e.check = c
	e.tracker = NewTracker(Thresholds{Rise: c.spec.Rise, Fall: c.spec.Fall}, Unknown)
	e.snapshot = Snapshot{Since: now}
}

func (e *entry) phase() time.Duration {
	return phase(e.target, min(e.check.spec.Interval, startSpread))
}

// revive brings back a target that was removed, whose last probe has not ended yet.
// It is asked when that has: never two probes at once.
func (s *schedule) revive(now time.Time, e *entry, c check) {
	e.renew(now, c)
	e.gone, e.void = false, true
	if e.stage == stuck {
		e.at = now.Add(c.spec.Interval)
		s.agenda.push(e)
	}
}

// update changes a target's check in place. The status stays what it is until
// verdicts change it.
func (s *schedule) update(now time.Time, e *entry, c check) {
	sameQuestion := question(e.check.spec) == question(c.spec)
	sooner := !sameQuestion || c.spec.Interval < e.check.spec.Interval
	e.check = c
	e.tracker.SetThresholds(Thresholds{Rise: c.spec.Rise, Fall: c.spec.Fall})
	switch e.stage {
	case resting:
		// The old plan may lie a long old interval away.
		if soon := now.Add(e.phase()); sooner && soon.Before(e.at) {
			e.at = soon
			s.agenda.settle(e.place)
		}
	case asking, stuck:
		if !sameQuestion {
			e.void = true
			e.cancel()
		}
	}
}

// question is a Spec without when to ask and when to believe the answer.
func question(sp Spec) Spec {
	sp.Interval, sp.Timeout, sp.Rise, sp.Fall = 0, 0, 0, 0
	return sp
}

func (s *schedule) remove(e *entry) {
	e.gone = true
	switch e.stage {
	case resting:
		s.agenda.remove(e)
		delete(s.entries, e.target)
	case waiting: // take passes over it
		delete(s.entries, e.target)
	case asking:
		e.cancel()
	case stuck:
		e.cancel()
		s.agenda.remove(e)
	}
}

// deadline returns when wake has something to do, false for never.
func (s *schedule) deadline() (time.Time, bool) {
	if len(s.agenda) == 0 {
		return time.Time{}, false
	}
	return s.agenda[0].at, true
}

// wake does what is planned until now: targets that are due get in line, probes
// that are overdue fail.
func (s *schedule) wake(now time.Time, out *outbox) {
	for len(s.agenda) > 0 && !s.agenda[0].at.After(now) {
		e := s.agenda[0]
		s.agenda.remove(e)
		switch e.stage {
		case resting:
			e.stage = waiting
			if e.slow {
				s.slow = append(s.slow, e)
			} else {
				s.quick = append(s.quick, e)
			}
			continue
		case asking:
			s.release(e)
			e.stage, e.slow = stuck, true
			if e.gone {
				continue
			}
		}
		e.observe(now, verdict{err: errStuck, took: now.Sub(e.started)}, out)
		e.at = now.Add(e.check.spec.Interval)
		s.agenda.push(e)
	}
}

// take returns the next target to ask and gives it a place, nil if nobody is due or
// no place is free. The caller sets cancel, asks, and calls finish.
func (s *schedule) take(now time.Time) *entry {
	s.quick, s.slow = present(s.quick), present(s.slow)
	if s.running >= s.limit {
		return nil
	}
	var e *entry
	switch {
	case len(s.slow) > 0 && s.slowInUse < max(1, s.limit/2) &&
		(len(s.quick) == 0 || s.slow[0].at.Before(s.quick[0].at)):
		e, s.slow = s.slow[0], s.slow[1:]
		e.inSlow = true
		s.slowInUse++
	case len(s.quick) > 0:
		e, s.quick = s.quick[0], s.quick[1:]
	default:
		return nil
	}
	s.running++
	e.stage, e.started = asking, now
	e.at = now.Add(e.check.spec.Timeout + overdueGrace)
	s.agenda.push(e)
	return e
}

// present cuts removed entries off the head of a line.
func present(line []*entry) []*entry {
	for len(line) > 0 && line[0].gone {
		line = line[1:]
	}
	return line
}

func (s *schedule) release(e *entry) {
	s.running--
	if e.inSlow {
		e.inSlow = false
		s.slowInUse--
	}
}

// finish takes the verdict of a probe and plans the next one.
func (s *schedule) finish(now time.Time, v verdict, out *outbox) {
	e := v.entry
	late := e.stage == stuck
	if !late {
		s.release(e)
	}
	s.agenda.remove(e)
	e.stage, e.cancel = resting, nil
	switch {
	case e.gone:
		delete(s.entries, e.target)
		return
	case e.void: // asked something else, or on behalf of a target that was removed
		e.void = false
		e.at = now
	case late: // counted as failed already
		e.at = now.Add(jittered(e.check.spec.Interval))
	default:
		e.slow = v.took >= e.check.spec.Timeout/2
		e.observe(now, v, out)
		e.at = e.started.Add(jittered(e.check.spec.Interval))
	}
	s.agenda.push(e)
}

// observe takes a verdict and puts the change of status or value, if it is one, in
// the box.
func (e *entry) observe(now time.Time, v verdict, out *outbox) {
	if e.snapshot.observe(now, e.tracker, v) {
		out.put(Event{Target: e.target, Status: e.snapshot.Status, Value: e.snapshot.Value, Err: v.err, At: now})
	}
}
