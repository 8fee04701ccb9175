package healthcheck

import (
	"fmt"
	"time"
)

const (
	// heartbeat is how often the Monitor looks at the clock while probes run.
	heartbeat = 100 * time.Millisecond
	// standstill is how late it has to be for that, or for whatever it had planned, to
	// take it that the whole director stood still: it was stopped by a signal or a
	// debugger, its machine was paused, or it got no processor.
	standstill = 250 * time.Millisecond
	// maxExcused is how many failures of a target in a row do not count because the
	// director stood still meanwhile: one that does so all the time has to go on deciding.
	maxExcused = 3
)

// stood takes in that nothing was done for so long until now. What is planned comes as much
// later, as if time itself had stood still: nothing is overdue, and targets that became due
// meanwhile are not asked all at the same time.
//
// A director that is so short of processor time that it stands still for more than half of
// it must not ask ever less often. There, what is planned stays.
func (s *schedule) stood(now time.Time, d time.Duration) {
	s.load.Standstills++
	often := now.Add(-d).Sub(s.stoodUntil) < d
	s.stoodUntil = now
	for _, e := range s.agenda {
		if e.stage == asking {
			e.stood += d
		} else if often {
			continue
		}
		e.at = e.at.Add(d)
	}
	if often { // else the order stays
		s.agenda.order()
	}
}

// excuse tells whether a verdict is a failure that says nothing about the target, and makes
// it one that does not count. A timeout may have passed while the answer was waiting to be
// read, and a server may have given a silent client up. A failure that took less time than
// the director stood still was there before.
func (e *entry) excuse(v *verdict) bool {
	timeout := e.check.spec.Timeout
	if connect := e.check.spec.ConnectTimeout; connect > 0 {
		timeout = min(timeout, connect)
	}
	long := e.stood > 0 && e.stood >= timeout/4 && v.took >= e.stood
	switch {
	case v.err == nil || !long:
		e.excused = 0
		return false
	case e.excused == maxExcused:
		return false
	}
	e.excused++
	v.err = &stoodStill{e.stood, v.err}
	return true
}

// stoodStill is the cause of a probe during which the director stood still.
type stoodStill struct {
	long time.Duration
	err  error // what came of it
}

func (s *stoodStill) Error() string {
	precision := time.Second
	if s.long < 2*precision {
		precision = heartbeat
	}
	return fmt.Sprintf("not asked: this director stood still for %v", s.long.Round(precision))
}

func (s *stoodStill) Unwrap() []error { return []error{ErrNotAsked, s.err} }
