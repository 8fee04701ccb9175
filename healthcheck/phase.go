package healthcheck

import (
	"math/rand/v2"
	"time"
)

// startSpread is the longest time over which the first probes are spread.
const startSpread = 3 * time.Second

// phase is when, within spread, a target's first probe is made. It depends on the
// target alone, so it is the same after every start.
func phase(t Target, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	// FNV-1a, 64 bits, over the bytes that make the target; the generator mixes
	// them, because targets often differ in one digit only.
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	add := func(b byte) { h = (h ^ uint64(b)) * prime }
	for _, b := range t.Addr.Addr().As16() {
		add(b)
	}
	port := t.Addr.Port()
	add(byte(port >> 8))
	add(byte(port))
	for i := range len(t.Check) {
		add(t.Check[i])
	}
	for _, b := range t.Path.VIP.AsSlice() {
		add(b)
	}
	return time.Duration(rand.New(rand.NewPCG(h, 0)).Int64N(int64(spread)))
}

// interval is how long after the start of a probe the next one starts, by what has come
// of it.
func (s Spec) interval(tr *Tracker) time.Duration {
	successes, failures := tr.Run()
	switch status := tr.Status(); {
	case s.FastInterval > 0 && (status == Up && failures > 0 || status == Down && successes > 0):
		return s.FastInterval
	case s.DownInterval > 0 && status == Down && successes == 0:
		return s.DownInterval
	}
	return s.Interval
}

// jittered is interval give or take up to so many percent.
func jittered(interval time.Duration, percent int) time.Duration {
	most := interval / 100 * time.Duration(percent)
	if most <= 0 {
		return interval
	}
	return interval - most + rand.N(2*most+1)
}
