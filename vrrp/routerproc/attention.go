package routerproc

import "time"

// attention is when a parent has looked at its child. One that did not run for a while,
// because it was stopped or the machine had no time for it, finds the end of a child and
// cannot know when that was.
type attention struct {
	looked time.Time // for the last time
	back   time.Time // after a while without
}

// look notes that the parent looks. It does so at least every pingInterval.
func (a *attention) look(now time.Time) {
	if !a.looked.IsZero() && now.Sub(a.looked) > 2*pingInterval {
		a.back = now
	}
	a.looked = now
}

// missed tells whether what is found now may have happened while nobody looked.
func (a *attention) missed(now time.Time) bool {
	a.look(now)
	return now.Sub(a.back) < pingInterval
}
