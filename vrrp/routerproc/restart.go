package routerproc

import (
	"maps"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// pingInterval is how often each side makes sure of the other.
	pingInterval = 500 * time.Millisecond
	// maxSilence is how many of the parent's own ticks a child may leave a ping
	// unanswered. Ticks that the parent did not run for do not count: on a machine that
	// was stopped and goes on, both are late.
	maxSilence = 6
	// maxStartSilence is the same for a child that has not said anything yet.
	maxStartSilence = 40
	// adoptWithin is how many advertisement intervals after the end of a child its
	// Masters are named for adoption, and startWithin how many after it the next child
	// has to have started: other directors wait for three.
	adoptWithin, startWithin = 2, 3
	// steady is how long a child has to run for its end to be no repetition.
	steady = time.Minute
	// firstPause and maxPause are the pauses before the next start, from the third end
	// in a row on.
	firstPause, maxPause = time.Second, 30 * time.Second
)

// crashes counts how often children have ended in a row.
type crashes int

// ended takes in the end of a child that ran for some time, and returns how long to wait
// with the next.
func (c *crashes) ended(ran time.Duration) time.Duration {
	if ran >= steady {
		*c = 0
	}
	*c++
	if *c < 3 {
		return 0
	}
	return min(firstPause<<min(*c-3, 10), maxPause)
}

// adoptable tells whether a virtual router that a child was running may be adopted by the
// next: it was Master until a moment ago, and no other director can have noticed.
func adoptable(in vrrp.Instance, state vrrp.State, since time.Duration) bool {
	return state == vrrp.Master && since < adoptWithin*in.AdvertInterval
}

// inTime are instances without those adoptions that come too late: another director is
// Master by now. The two processes have only the wall clock in common; if it was set back
// meanwhile, nobody knows how late it is.
func inTime(a apply, now time.Time) map[string]vrrp.Instance {
	in := maps.Clone(a.Instances)
	since := now.Sub(a.Ended)
	for name, i := range in {
		i.Adopt = i.Adopt && since >= 0 && since < startWithin*i.AdvertInterval
		in[name] = i
	}
	return in
}

// stopPatience is how long a child may take to end in order: each Master hands over
// first, which at the lowest priority takes half as long again as the interval between
// advertisements.
func stopPatience(instances map[string]vrrp.Instance) time.Duration {
	var longest time.Duration
	for _, in := range instances {
		longest = max(longest, in.AdvertInterval*3/2)
	}
	return longest + 5*time.Second
}

// weakened are instances that give way to every other director: with the lowest priority,
// and without preempting anybody.
func weakened(instances map[string]vrrp.Instance) map[string]vrrp.Instance {
	weak := make(map[string]vrrp.Instance, len(instances))
	for name, in := range instances {
		in.Priority, in.Preempt = 1, false
		weak[name] = in
	}
	return weak
}
