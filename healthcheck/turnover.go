package healthcheck

import (
	"cmp"
	"time"
)

// apply makes the targets of set the ones that are asked.
func (s *schedule) apply(now time.Time, set map[Target]check, out *outbox) {
	if s.begun.IsZero() {
		s.begun = now
	}
	var knowledge map[asked]*entry
	for t := range set {
		if e := s.entries[t]; e == nil || e.gone {
			knowledge = s.knowledge()
			break
		}
	}
	for t, c := range set {
		e := s.entries[t]
		if e != nil && !e.gone {
			again := e.check.born != c.born
			if e.check.spec != c.spec {
				s.update(now, e, c)
			}
			if e.check.born = c.born; again {
				e.tell(now, out)
			}
			continue
		}
		if e != nil {
			s.revive(now, e, c)
		} else {
			e = s.add(now, t, c)
		}
		if was := knowledge[askedOf(t, c.spec)]; was != nil {
			e.inherit(was)
			e.tell(now, out)
		}
	}
	for t, e := range s.entries {
		if _, ok := set[t]; !ok && !e.gone {
			s.remove(e)
			out.drop(t)
		}
	}
}

func (s *schedule) add(now time.Time, t Target, c check) *entry {
	e := &entry{target: t}
	e.renew(now, c)
	e.at = s.onBeat(now.Add(e.phase()), c.spec.Interval)
	s.entries[t] = e
	s.agenda.push(e)
	return e
}

// renew makes the entry one that knows nothing of its target.
func (e *entry) renew(now time.Time, c check) {
	e.check = c
	e.tracker = NewTracker(Thresholds{Rise: c.spec.Rise, Fall: c.spec.Fall}, Unknown)
	e.snapshot = Snapshot{Since: now}
	e.slow, e.excused = false, 0
}

func (e *entry) phase() time.Duration {
	return phase(e.target, min(e.check.spec.Interval, startSpread))
}

// asked is what a target is apart from the name of its check.
type asked struct {
	target   Target
	question Spec
}

func askedOf(t Target, sp Spec) asked {
	t.Check = ""
	return asked{t, question(sp)}
}

// knowledge is what has a status, by what is asked. Of several that ask the same it is the
// one whose name is first.
func (s *schedule) knowledge() map[asked]*entry {
	all := make(map[asked]*entry)
	for t, e := range s.entries {
		if e.gone || e.snapshot.Status == Unknown {
			continue
		}
		key := askedOf(t, e.check.spec)
		if other := all[key]; other == nil || cmp.Less(t.Check, other.target.Check) {
			all[key] = e
		}
	}
	return all
}

// inherit takes over what is known by another name of the same question: a check that is
// renamed in the file does not start anew.
func (e *entry) inherit(was *entry) {
	tracker := *was.tracker
	e.tracker, e.snapshot = &tracker, was.snapshot
	e.tracker.SetThresholds(Thresholds{Rise: e.check.spec.Rise, Fall: e.check.spec.Fall})
}

// tell puts the status into the box for a reader who does not know it.
func (e *entry) tell(now time.Time, out *outbox) {
	if e.snapshot.Status != Unknown {
		out.put(e.event(now))
	}
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
	sooner := !sameQuestion || c.spec.interval(e.tracker) < e.check.spec.interval(e.tracker)
	e.check = c
	e.tracker.SetThresholds(Thresholds{Rise: c.spec.Rise, Fall: c.spec.Fall})
	switch e.stage {
	case resting:
		// The old plan may lie a long old interval away.
		if soon := s.onBeat(now.Add(e.phase()), c.spec.Interval); sooner && soon.Before(e.at) {
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

// question is a Spec without its name, when to ask and when to believe the answer.
func question(sp Spec) Spec {
	sp.Name = ""
	sp.Interval, sp.FastInterval, sp.DownInterval, sp.Jitter = 0, 0, 0, 0
	sp.Timeout, sp.ConnectTimeout = 0, 0
	sp.Rise, sp.Fall, sp.Initial = 0, 0, 0
	return sp
}

func (s *schedule) remove(e *entry) {
	e.gone = true
	switch e.stage {
	case resting:
		s.agenda.remove(e)
		delete(s.entries, e.target)
	case waiting: // next passes over it
		s.load.Waiting--
		delete(s.entries, e.target)
	case asking:
		e.cancel()
	case stuck:
		e.cancel()
		s.agenda.remove(e)
	}
}
