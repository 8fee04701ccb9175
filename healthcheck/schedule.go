package healthcheck

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// overdueGrace is how long after its timeout a probe may still take to end. After
// that it counts as failed, and its place goes to another target.
const overdueGrace = time.Second

// soonAgain is how often a target that could not be asked before its first verdict is asked
// again within startSpread: others may wait for that verdict for a whole interval.
const soonAgain = 5

var errStuck = errors.New("timeout, and the check does not stop")

// check is a Spec with the Checker made from it.
type check struct {
	spec    Spec
	checker Checker
	// born tells a target that was there all the time from one that went and came back.
	born uint64
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

	stage    stage
	at       time.Time // what is planned, see stage; when waiting, since when
	place    int       // on the agenda
	started  time.Time // of the probe that runs
	slow     bool      // the last probe took half its timeout or more
	inSlow   bool      // the place that it holds is one of the slow ones
	returned bool      // it is back in line, see host
	void     bool      // the result of the probe that runs is not wanted
	gone     bool      // removed while a probe ran
	cancel   context.CancelFunc
	// stood is how long the director stood still while the probe that runs did, and
	// excused how many failures in a row did not count for that.
	stood   time.Duration
	excused int
}

// schedule decides which target is asked when. It does not ask itself: take says
// whom to ask, finish is told the verdict. The owner calls wake at deadline, and
// take until it returns nil after every other call.
type schedule struct {
	limit   int // places: how many probes may run at once
	perHost int // how many of them may ask one address
	entries map[Target]*entry
	agenda  agenda
	// The lines of due targets, in order of their time. The slow may have half of
	// the places, see the package comment.
	quick, slow        []*entry
	hosts              map[netip.Addr]*host // those that are asked
	running, slowInUse int
	begun              time.Time // when the first targets came: a beat
	stoodUntil         time.Time // the end of the last standstill
	load               Load      // what it counts
}

func newSchedule(limit, perHost int) *schedule {
	return &schedule{limit: limit, perHost: perHost, entries: make(map[Target]*entry), hosts: make(map[netip.Addr]*host)}
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
			s.load.Waiting++
			line := s.lineOf(e)
			*line = append(*line, e)
			continue
		case asking:
			s.release(e)
			e.stage, e.slow = stuck, true
			if e.gone {
				continue
			}
		}
		e.observe(now, verdict{err: errStuck, took: now.Sub(e.started)}, out)
		e.at = now.Add(e.check.spec.interval(e.tracker))
		s.agenda.push(e)
	}
}

// lineOf is the line that a due target waits in.
func (s *schedule) lineOf(e *entry) *[]*entry {
	if e.slow {
		return &s.slow
	}
	return &s.quick
}

// take returns the next target to ask and gives it a place, nil if nobody is due or
// no place is free. The caller sets cancel, asks, and calls finish.
func (s *schedule) take(now time.Time) *entry {
	for s.running < s.limit {
		e := s.next()
		if e == nil {
			break
		}
		if s.hold(e) {
			continue
		}
		s.running++
		if e.slow {
			e.inSlow = true
			s.slowInUse++
		}
		s.load.began(now.Sub(e.at))
		e.stage, e.started, e.stood = asking, now, 0
		e.at = now.Add(e.check.spec.Timeout + overdueGrace)
		s.agenda.push(e)
		return e
	}
	return nil
}

// next takes the target that has waited longest out of the lines, of those that there
// may be a place for.
func (s *schedule) next() *entry {
	// Who is passed over may have others return to either line, also such as are gone.
	for s.passOver(&s.quick) || s.passOver(&s.slow) {
	}
	var e *entry
	switch {
	case len(s.slow) > 0 && s.slowInUse < max(1, s.limit/2) &&
		(len(s.quick) == 0 || s.slow[0].at.Before(s.quick[0].at)):
		e, s.slow = s.slow[0], s.slow[1:]
	case len(s.quick) > 0:
		e, s.quick = s.quick[0], s.quick[1:]
	}
	return e
}

// passOver cuts removed entries off the head of a line, and tells whether there were some.
func (s *schedule) passOver(line *[]*entry) (some bool) {
	for len(*line) > 0 && (*line)[0].gone {
		e := (*line)[0]
		*line = (*line)[1:]
		s.passed(e)
		some = true
	}
	return some
}

func (s *schedule) release(e *entry) {
	s.running--
	if e.inSlow {
		e.inSlow = false
		s.slowInUse--
	}
	s.leave(e)
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
	spec := e.check.spec
	switch {
	case e.gone:
		delete(s.entries, e.target)
		return
	case e.void: // asked something else, or on behalf of a target that was removed
		e.void = false
		e.at = now
	case late: // counted as failed already
		e.at = now.Add(jittered(spec.interval(e.tracker), spec.Jitter))
	case e.excuse(&v):
		e.observe(now, v, out)
		e.at = s.onBeat(now.Add(e.phase()), spec.Interval)
	default:
		e.slow = v.took-e.stood >= spec.Timeout/2
		e.observe(now, v, out)
		next := spec.interval(e.tracker)
		if e.tracker.Status() == Unknown && e.snapshot.NotAsked <= soonAgain {
			next = min(next, startSpread)
		}
		e.at = s.onBeat(e.started.Add(jittered(next, spec.Jitter)), next)
	}
	s.agenda.push(e)
}

// observe takes a verdict and puts the change of status or value, if it is one, in
// the box.
func (e *entry) observe(now time.Time, v verdict, out *outbox) {
	if e.snapshot.observe(now, e.tracker, v) {
		out.put(e.event(now))
	}
}

func (e *entry) event(now time.Time) Event {
	ev := Event{Target: e.target, Status: e.snapshot.Status, Value: e.snapshot.Value, Notice: e.snapshot.Notice, At: now}
	if ev.Status == Down {
		ev.Err = e.snapshot.Err
	}
	return ev
}
