package healthcheck

import "time"

// lateStart is how late a probe may begin without being counted in [Load.Late].
const lateStart = 100 * time.Millisecond

// Load is how a [Monitor] keeps up with its targets.
type Load struct {
	// Running is how many probes run, and Waiting how many targets are due and wait for
	// a place.
	Running int `json:"running"`
	Waiting int `json:"waiting"`
	// Probes are those that have begun, and Late those of them that did more than 100 ms
	// after they were due. MaxLate is the longest delay, in nanoseconds.
	Probes  uint64        `json:"begun"`
	Late    uint64        `json:"late"`
	MaxLate time.Duration `json:"max_late"`
	// Standstills is how often the director stood still.
	Standstills uint64 `json:"standstills"`
}

// began counts a probe that begins so late.
func (l *Load) began(late time.Duration) {
	l.Waiting--
	l.Probes++
	if late > lateStart {
		l.Late++
	}
	l.MaxLate = max(l.MaxLate, late)
}
