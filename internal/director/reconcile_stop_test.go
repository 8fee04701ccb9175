package director

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// moreTOML is pairTOML with another virtual server.
var moreTOML = strings.Replace(pairTOML, "[virtual_server.web]", "[virtual_server.more]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\n[virtual_server.web]", 1)

// slowChanges is a kernel that takes its time for a change while slow is set, and is cut
// off in it by the end of the context, as the client is.
type slowChanges struct {
	*longTable
	slow atomic.Bool
}

func (k *slowChanges) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	return ipvstest.ApplyEach(ctx, ops, k.Apply)
}

func (k *slowChanges) Apply(ctx context.Context, op ipvs.Op) error {
	if k.slow.Load() {
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return k.Kernel.Apply(ctx, op)
}

// wantClean stops the director and checks that nothing is left.
func (w *world) wantClean(stop func() error) {
	w.t.Helper()
	if err := stop(); err != nil {
		w.t.Errorf("stop: %v", err)
	}
	w.wantTable("")
	if left := w.ledger.load().Services; len(left) != 0 {
		w.t.Errorf("ledger %v, want nothing", left)
	}
}

func TestAStopTakesEverythingAwayWhateverItCutsOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(w *world, d *Director, k *slowChanges)
	}{
		{"a reading", func(*world, *Director, *slowChanges) { time.Sleep(30 * time.Second) }},
		{"a reading during which a service came", func(w *world, d *Director, _ *slowChanges) {
			time.Sleep(30 * time.Second)
			w.reload(d, moreTOML)
			w.wantOps("-A -t 10.0.0.100:81 -s wlc")
		}},
		{"a reading during which a service went", func(w *world, d *Director, _ *slowChanges) {
			w.reload(d, moreTOML)
			time.Sleep(5 * time.Second)
			w.reload(d, pairTOML)
			w.wantOps("-A -t 10.0.0.100:81 -s wlc", "-D -t 10.0.0.100:81")
		}},
		{"a change during a reading", func(w *world, _ *Director, k *slowChanges) {
			time.Sleep(10 * time.Second)
			k.slow.Store(true)
			w.verdict("10.0.0.22:80", healthcheck.Down, nil)
			time.AfterFunc(time.Second, func() { k.slow.Store(false) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				k := &slowChanges{longTable: &longTable{Kernel: w.kernel, takes: time.Minute}}
				w.overKernel = k
				d, stop := w.run(pairTOML)
				time.Sleep(k.takes)
				synctest.Wait()
				w.kernel.Applied()
				tt.act(w, d, k)
				synctest.Wait()
				k.takes = time.Second // the reading of the stop has ten
				w.wantClean(stop)
			})
		})
	}
}

// quickTable is read again quickly.
type quickTable struct{ *longTable }

func (k quickTable) Refresh(ctx context.Context, _ ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	return k.Kernel.Table(ctx)
}

// A table that takes longer to read in full than a stop has time is taken away too.
func TestAStopReadsTheTableQuickly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.overKernel = quickTable{&longTable{Kernel: w.kernel, takes: time.Minute}}
		_, stop := w.run(pairTOML)
		time.Sleep(3 * time.Minute)
		w.wantClean(stop)
	})
}

func TestAStopTellsNoErrorOfTheChangeThatItCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		k := &slowChanges{longTable: &longTable{Kernel: w.kernel, takes: time.Second}}
		k.slow.Store(true)
		w.overKernel = k
		_, stop := w.run(pairTOML)
		time.Sleep(4 * time.Second) // the table has been compared, and the second operation is under way
		w.wantClean(stop)
	})
}

// The stop gives up after stopTimeout and says so.
func TestAStopThatCannotFinishIsAnError(t *testing.T) {
	for _, tt := range []struct {
		name     string
		readings time.Duration
		slow     bool
	}{
		{"the table takes too long", time.Minute, false},
		{"the changes take too long", 9 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				k := &slowChanges{longTable: &longTable{Kernel: w.kernel, takes: time.Second}}
				w.overKernel = k
				_, stop := w.run(pairTOML)
				time.Sleep(k.takes)
				synctest.Wait()
				k.takes = tt.readings
				k.slow.Store(tt.slow)
				if err := stop(); err == nil || !strings.HasPrefix(err.Error(), "leave the kernel's ipvs as it should be: ") {
					t.Errorf("got %v", err)
				}
				w.wantTable(fullTable)
			})
		})
	}
}
