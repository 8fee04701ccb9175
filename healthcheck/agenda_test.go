package healthcheck

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A random walk of everything that is done to an agenda, checked after each step
// against the plain search for the earliest entry.
func TestAgendaRandomWalk(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	epoch := time.Unix(0, 0)
	someTime := func() time.Time { return epoch.Add(time.Duration(rng.IntN(50)) * time.Second) }

	var a agenda
	on := make(map[*entry]bool)
	for step := range 20000 {
		switch {
		case len(on) == 0 || rng.IntN(3) == 0 && len(on) < 40:
			e := &entry{at: someTime()}
			a.push(e)
			on[e] = true
		case rng.IntN(2) == 0:
			e := a[rng.IntN(len(a))]
			e.at = someTime()
			a.settle(e.place)
		default:
			e := a[rng.IntN(len(a))]
			a.remove(e)
			delete(on, e)
			if e.place != nowhere {
				t.Fatalf("step %d: a removed entry has place %d", step, e.place)
			}
			a.remove(e) // once more is harmless
		}
		if len(a) != len(on) {
			t.Fatalf("step %d: %d entries, want %d", step, len(a), len(on))
		}
		for e := range on {
			if a[e.place] != e {
				t.Fatalf("step %d: an entry's place %d is another's", step, e.place)
			}
			if e.at.Before(a[0].at) {
				t.Fatalf("step %d: the head is at %v, another at %v", step, a[0].at, e.at)
			}
		}
	}
}
