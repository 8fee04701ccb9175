package vrrp_test

import (
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

var (
	simSeed      = flag.Uint64("vrrp.seed", 0, "play this schedule of the simulation alone, and write it down")
	simSchedules = flag.Uint64("vrrp.schedules", 0, "how many schedules the simulation plays; 0: the usual number")
)

// TestSimulation plays random schedules on a simulated segment. Package vrrptest has
// the rules that must hold.
func TestSimulation(t *testing.T) {
	if *simSeed > 0 {
		script := vrrptest.Schedule(*simSeed)
		transcript, err := vrrptest.Explain(script)
		t.Logf("%s\n%s", script, transcript)
		if err != nil {
			t.Error(err)
		}
		return
	}
	n := *simSchedules
	if n == 0 {
		n = 3000
		if testing.Short() {
			n = 300
		}
	}
	const workers = 4
	var once sync.Once
	for w := range uint64(workers) {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			for seed := 1 + w; seed <= n && !t.Failed(); seed += workers {
				if err := vrrptest.Check(vrrptest.Schedule(seed)); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					once.Do(func() { t.Error(account(seed)) })
				}
			}
		})
	}
}

// account is a failing schedule for a person to read: the shortest that still fails.
func account(seed uint64) string {
	fails := func(script string) bool {
		var v *vrrptest.Violation
		return errors.As(vrrptest.Check(script), &v)
	}
	script := vrrptest.Shrink(vrrptest.Schedule(seed), fails)
	transcript, err := vrrptest.Explain(script)
	return fmt.Sprintf("%v\nreplay the whole schedule: go test ./vrrp -run TestSimulation -vrrp.seed=%d -v\nthe shortest that fails:\n\n%s\n%s",
		err, seed, script, transcript)
}
