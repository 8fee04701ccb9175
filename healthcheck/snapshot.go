package healthcheck

import (
	"errors"
	"time"
)

// Snapshot is what is known about one target.
type Snapshot struct {
	Status Status
	// Value is that of the last success of a [Measurer] as long as the target is up, else
	// the zero value.
	Value Value
	// Notice is that of the last success of a [Noticer] as long as the target is up, else
	// the zero value.
	Notice Notice
	// Since is when the status changed last; for Unknown, when the target came.
	Since time.Time
	// Err is the cause of the last probe's failure, nil after a success. A target
	// that is up can have one: it is on its way down.
	Err error
	// At and Duration are when the last probe ended and how long it took. At is
	// zero before the first.
	At       time.Time
	Duration time.Duration
	// Successes and Failures are the current run of equal verdicts; one is zero.
	Successes, Failures int
	// The totals since the target came. NotAsked are the probes that the director
	// could not make, see ErrNotAsked.
	OK, Failed, NotAsked uint64
}

// observe takes the verdict of a probe that ended now and returns whether the
// status, the value or the notice's text changed by it.
func (s *Snapshot) observe(now time.Time, tr *Tracker, v verdict) bool {
	s.Err, s.At, s.Duration = v.err, now, v.took
	switch {
	case errors.Is(v.err, ErrNotAsked):
		s.NotAsked++
		return false
	case v.err == nil:
		s.OK++
	default:
		s.Failed++
	}
	status, changed := tr.Observe(v.err)
	s.Successes, s.Failures = tr.Run()
	if changed {
		s.Status, s.Since = status, now
	}
	wasValue, wasText := s.Value, s.Notice.Text
	switch {
	case s.Status != Up:
		s.Value, s.Notice = Value{}, Notice{}
	case v.err == nil:
		s.Value, s.Notice = v.value, v.notice
	}
	return changed || s.Value != wasValue || s.Notice.Text != wasText
}
