package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/vrrp"
)

// longTable is a kernel that takes a while to read its table: what it tells is from the
// beginning, and it notes what it is asked for.
type longTable struct {
	*ipvstest.Kernel
	takes time.Duration
	reads atomic.Int32
	// skips makes the readings under way miss a service.
	skips atomic.Pointer[ipvs.ServiceKey]
}

func (k *longTable) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	k.reads.Add(1)
	table, observed, err := k.Kernel.Table(ctx)
	select {
	case <-time.After(k.takes):
		if key := k.skips.Swap(nil); key != nil {
			delete(table, *key)
		}
		return table, observed, err
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

func (k *longTable) Refresh(ctx context.Context, _ ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	return k.Table(ctx)
}

// runLong starts a director on a kernel whose table takes a minute to read, and returns
// when it has been read once.
func (w *world) runLong(toml string) (d *Director, kernel *longTable, stop func() error) {
	k := &longTable{Kernel: w.kernel, takes: time.Minute}
	w.overKernel = k
	d, stop = w.run(toml)
	time.Sleep(k.takes)
	synctest.Wait()
	w.wantTable(fullTable)
	w.kernel.Applied()
	return d, k, stop
}

// wantOps checks what the kernel has been asked to change since the last time.
func (w *world) wantOps(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.kernel.Applied()); diff != "" {
		w.t.Errorf("operations -want +got:\n%s", diff)
	}
}

func TestAChangeDoesNotWaitForTheTableToBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		for _, wait := range []time.Duration{0, 3 * time.Second, 20 * time.Second} { // the last two while it is read
			time.Sleep(wait)
			reads, start := k.reads.Load(), time.Now()
			w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
			w.wantOps("-d -t 10.0.0.100:80 -r 10.0.0.22:80")
			if !d.InSync() && wait == 0 { // later the reload before is not over
				t.Error("not in sync after it")
			}
			w.verdict("10.0.0.22:80", healthcheck.Up, nil)
			w.wantOps("-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2")
			w.reload(d, strings.Replace(pairTOML, "weight = 1", "weight = 7", 1))
			w.wantOps("-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 7")
			w.reload(d, pairTOML)
			w.wantOps("-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1")
			if k.reads.Load() > reads+1 || time.Since(start) > 0 {
				t.Errorf("%d readings and %v, want it at once", k.reads.Load()-reads, time.Since(start))
			}
		}
		// What was read meanwhile does not undo it, and nobody else is blamed for it.
		time.Sleep(10 * k.takes)
		synctest.Wait()
		w.wantOps()
		if n := d.Status().IPVS.Repaired; n != 0 {
			t.Errorf("%d repairs", n)
		}
	})
}

// A reload costs no more operations than the two configurations have differences.
func TestAReloadSendsTheDifferenceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		reads := k.reads.Load()
		w.reload(d, pairTOML)
		w.wantOps()
		more := strings.Replace(pairTOML, "[virtual_server.web]", "[virtual_server.more]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\nreal_server = { more-1 = { address = \"10.0.0.21:81\" } }\n[virtual_server.web]", 1)
		w.reload(d, more)
		w.wantOps("-A -t 10.0.0.100:81 -s wlc", "-a -t 10.0.0.100:81 -r 10.0.0.21:81 -g -w 1")
		if n := k.reads.Load() - reads; n > 1 {
			t.Errorf("%d readings of the table", n)
		}
		if saved := w.ledger.load().Services; len(saved) != 2 {
			t.Errorf("ledger %v, want both services", saved)
		}
	})
}

// While services come and go, the kernel may pass over others in telling its table.
func TestAReadingDuringWhichServicesCameIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		time.Sleep(30 * time.Second) // into a reading
		w.reload(d, strings.Replace(pairTOML, "[virtual_server.web]", "[virtual_server.more]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\n[virtual_server.web]", 1))
		for key := range table(t, fullTable) {
			k.skips.Store(&key)
		}
		w.wantOps("-A -t 10.0.0.100:81 -s wlc")
		time.Sleep(5 * k.takes)
		synctest.Wait()
		w.wantOps()
		if s := d.Status().IPVS; s.Repaired != 0 || !s.InSync || len(s.Errors) != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAChangeDoesNotWaitForATableThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, _, stop := w.runLong(pairTOML)
		defer stop()
		w.kernel.FailNext(ipvstest.ReadTable, syscall.EINTR)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.kernel.FailNext(ipvstest.ReadTable, syscall.EINTR)
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		w.wantOps("-d -t 10.0.0.100:80 -r 10.0.0.22:80")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.wantOps()
		if !d.InSync() {
			t.Error("not in sync when it can be read again")
		}
	})
}

func TestATakeoverDoesNotWaitForTheTableToBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		time.Sleep(10 * time.Second)
		reads := k.reads.Load()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		if got := d.Status().Sync.Daemons; len(got) != 1 || got[0].Role != "master" || k.reads.Load() != reads {
			t.Errorf("daemons %+v after %d more readings", got, k.reads.Load()-reads)
		}
	})
}

func TestALongTableIsReadAgainAndRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		for key := range table(t, fullTable) {
			w.kernel.Remove(key)
		}
		time.Sleep(2*k.takes + resyncMax)
		synctest.Wait()
		w.wantTable(fullTable)
		if n := d.Status().IPVS.Repaired; n != 3 {
			t.Errorf("%d repairs, want 3", n)
		}
	})
}

// EEXIST and ENOENT mean that the kernel is not what it was taken for.
func TestAFailedChangeIsComparedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		time.Sleep(30 * time.Second) // into a reading, which does not know
		for key := range table(t, fullTable) {
			w.kernel.Remove(key)
		}
		w.kernel.Load(table(t, "-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1\n"))
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.wantOps() // -d failed, and then the service was in doubt
		if d.InSync() {
			t.Error("in sync although the kernel had something else")
		}
		time.Sleep(4 * k.takes) // one that is under way, a pause, and one that knows
		synctest.Wait()
		w.wantTable(fullTable)
		if got := d.Status().IPVS; len(got.Errors) != 0 || got.Refused != 0 || !got.InSync {
			t.Errorf("status %+v", got)
		}
	})
}

func TestTheTableIsReadATenthOfTheTime(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		most  int // readings in five minutes in which something changes every second
	}{
		{10 * time.Millisecond, 600},
		{100 * time.Millisecond, 300},
		{400 * time.Millisecond, 75},
		{5 * time.Second, 31},
	} {
		t.Run(fmt.Sprint(tt.takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				k := &longTable{Kernel: w.kernel, takes: tt.takes}
				w.overKernel = k
				_, stop := w.run(pairTOML)
				defer stop()
				time.Sleep(time.Minute)
				k.reads.Store(0)
				for range 150 {
					time.Sleep(time.Second)
					w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
					time.Sleep(time.Second)
					w.verdict("10.0.0.22:80", healthcheck.Up, nil)
				}
				if n := int(k.reads.Load()); n > tt.most || n < tt.most/4 {
					t.Errorf("%d readings, want at most %d", n, tt.most)
				}
			})
		})
	}
}

func TestWhatIsUrgentDoesNotWaitForTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.slow = true // two seconds each
		var toml strings.Builder
		toml.WriteString(pairTOML)
		for i := range 20 {
			fmt.Fprintf(&toml, "[virtual_server.vs-%d]\naddress = \"10.0.0.100:%d\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\n", i, 1000+i)
		}
		_, stop := w.run(toml.String())
		defer stop()
		for !slices.Contains(w.kernel.Applied(), "-A -t 10.0.0.100:80 -s wrr") {
			time.Sleep(time.Second)
		}
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		time.Sleep(4*time.Second + time.Millisecond) // the operation under way and the next one
		synctest.Wait()
		got := w.kernel.Applied()
		if !slices.Contains(got, "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1") {
			t.Errorf("operations %q: what is left of the virtual server whose pool changed is not next", got)
		}
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		got = append(got, w.kernel.Applied()...)
		slices.Sort(got)
		if once := slices.Compact(slices.Clone(got)); len(once) != len(got) {
			t.Errorf("operations %q: some were done twice", got)
		}
		if n := strings.Count(w.kernel.String(), "-A "); n != 21 {
			t.Errorf("%d services in the end, want all 21", n)
		}
	})
}
