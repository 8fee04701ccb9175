package healthcheck

// Thresholds are how many successes in a row bring a target up, and how many
// failures in a row take it down. Less than one counts as one.
type Thresholds struct {
	Rise, Fall int
}

// Tracker decides a target's status from the verdicts of its probes. It is not safe
// for concurrent use.
type Tracker struct {
	thresholds Thresholds
	status     Status
	// The current run of equal verdicts; one of the two is zero.
	successes, failures int
}

// NewTracker returns a Tracker in the given status. From Unknown the first verdict
// decides at once, whatever the thresholds.
func NewTracker(th Thresholds, initial Status) *Tracker {
	return &Tracker{thresholds: th, status: initial}
}

// Observe takes the verdict of one probe, nil for a success, and returns the status
// after it and whether that is a change.
func (t *Tracker) Observe(err error) (s Status, changed bool) {
	if err == nil {
		t.successes, t.failures = t.successes+1, 0
	} else {
		t.successes, t.failures = 0, t.failures+1
	}
	was := t.status
	switch {
	case was != Up && t.successes >= t.needed(t.thresholds.Rise):
		t.status = Up
	case was != Down && t.failures >= t.needed(t.thresholds.Fall):
		t.status = Down
	}
	return t.status, t.status != was
}

// needed is how long a run must be to change the status.
func (t *Tracker) needed(threshold int) int {
	if t.status == Unknown {
		return 1
	}
	return max(1, threshold)
}

// Status returns the status after the last verdict.
func (t *Tracker) Status() Status { return t.status }

// Run returns the current run of equal verdicts: how many successes or failures
// came in a row. One of the two is zero.
func (t *Tracker) Run() (successes, failures int) { return t.successes, t.failures }

// SetThresholds changes the thresholds and nothing else. They count from the next
// verdict on, which counts together with the run before it.
func (t *Tracker) SetThresholds(th Thresholds) { t.thresholds = th }
