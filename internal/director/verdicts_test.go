package director

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hadirector/hadirector/healthcheck"
)

// Whatever comes later, what readers have got stays as it was.
func TestShownVerdictsStayWhatTheyWere(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rand := rand.New(rand.NewPCG(seed, 0))
			d := benchmarkDirector(t, longTOML(10, 2), nil)
			d.configure()
			targets := slices.Collect(maps.Keys(d.force.targets))
			type moment struct {
				shown *published
				was   map[healthcheck.Target]healthcheck.Status
			}
			var moments []moment
			for range 200 {
				d.healthBatch(healthcheck.Event{
					Target: targets[rand.IntN(len(targets))], Status: pick(rand, healthcheck.Unknown, healthcheck.Up, healthcheck.Down),
				})
				d.publish()
				moments = append(moments, moment{d.board.current.Load(), maps.Clone(d.facts.Health)})
				if d.waiting != d.facts.waiting(d.force.targets) {
					t.Fatalf("%d checks without a verdict are counted as %d", d.facts.waiting(d.force.targets), d.waiting)
				}
			}
			for i, m := range moments {
				if got := m.shown.facts().Health; !maps.Equal(got, m.was) {
					t.Fatalf("after %d events there was\n%v, and is shown\n%v", i+1, m.was, got)
				}
			}
		})
	}
}
