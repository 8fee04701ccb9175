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
	return time.Duration(rand.New(rand.NewPCG(h, 0)).Int64N(int64(spread)))
}

// jittered is interval give or take up to a tenth.
func jittered(interval time.Duration) time.Duration {
	tenth := interval / 10
	return interval - tenth + rand.N(2*tenth+1)
}
