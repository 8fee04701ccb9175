package bench

import (
	"slices"
	"time"
)

// resolution is what the gap meter cannot tell apart: one request more or less at either
// end of the gap.
const resolution = 2 * meterInterval

// verdict is the outcome of a comparison.
type verdict string

const (
	faster verdict = "faster"
	equal  verdict = "equal"
	slower verdict = "SLOWER"
)

// comparison is how one series of rounds compares with another. Round i of both happened at
// the same point of time between two advertisements.
type comparison struct {
	ratio   float64       // of the medians
	differ  time.Duration // the median of the differences, positive: the first is slower
	noise   time.Duration
	verdict verdict
}

// compare compares ours with theirs, round by round. The noise is the meter's resolution
// plus the median absolute deviation of the differences: by so much the rounds disagree
// among themselves. Less than that is no difference.
func compare(ours, theirs []time.Duration) comparison {
	differences := make([]time.Duration, len(ours))
	for i := range ours {
		differences[i] = ours[i] - theirs[i]
	}
	c := comparison{differ: median(differences), verdict: equal}
	if m := median(theirs); m > 0 {
		c.ratio = float64(median(ours)) / float64(m)
	}
	deviations := make([]time.Duration, len(ours))
	for i, d := range differences {
		deviations[i] = (d - c.differ).Abs()
	}
	c.noise = resolution + median(deviations)
	switch {
	case c.differ > c.noise:
		c.verdict = slower
	case c.differ < -c.noise:
		c.verdict = faster
	}
	return c
}

// median is the middle of d, of two middles the lower; 0 for nothing.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(d))[(len(d)-1)/2]
}
