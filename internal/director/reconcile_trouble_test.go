package director

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// withoutDaemons makes the kernel refuse its sync daemons for good.
func (w *world) withoutDaemons() {
	for range 2000 {
		w.kernel.FailNext("--start-daemon", syscall.ENODEV)
	}
}

// flap lets a real server fail and return, again and again, for a while.
func (w *world) flap(every, all time.Duration) {
	for status, start := healthcheck.Down, time.Now(); time.Since(start) < all; status = healthcheck.Up + healthcheck.Down - status {
		w.verdict("10.0.0.22:80", status, syscall.ECONNREFUSED)
		time.Sleep(every)
	}
	synctest.Wait()
}

// What cannot be done is tried again while other things change, and so the table is read.
func TestDriftIsRepairedAmongChangesAndTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withoutDaemons()
		_, stop := w.run(moreTOML)
		defer stop()
		w.flap(100*time.Millisecond, 10*time.Second)
		more := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:81"))
		w.kernel.Remove(more)
		w.flap(100*time.Millisecond, 2*time.Second)
		if !strings.Contains(w.kernel.String(), "-A -t 10.0.0.100:81") {
			t.Errorf("after two seconds the service is not back:\n%s", w.kernel)
		}
	})
}

func TestTwoTroublesAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withoutDaemons()
		w.kernel.Load(table(t, "-A -t 10.0.0.100:81 -s rr\n")) // to be edited, which fails
		for range 2000 {
			w.kernel.FailNext("-E", syscall.EBUSY)
		}
		d, stop := w.run(moreTOML)
		defer stop()
		w.flap(300*time.Millisecond, 30*time.Second)
		if n := len(w.logged("kernel refused a change")); n != 1 {
			t.Errorf("said %d times", n)
		}
		if errs := d.Status().IPVS.Errors; len(errs) != 2 {
			t.Errorf("errors %q, want both", errs)
		}
	})
}

// Nor does trouble elsewhere make a reload's outcome known earlier.
func TestAReloadIsToldByAReadingAmongTrouble(t *testing.T) {
	for _, tt := range []struct {
		name    string
		trouble func(*world)
	}{
		{"with the sync daemons", (*world).withoutDaemons},
		{"with a service", func(w *world) {
			w.kernel.Load(table(w.t, "-A -t 10.0.0.100:80 -s rr\n")) // to be edited, which fails
			for range 100 {
				w.kernel.FailNext("-E", syscall.EBUSY)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				k := &longTable{Kernel: w.kernel, takes: time.Minute}
				w.overKernel = k
				tt.trouble(w)
				d, stop := w.run(moreTOML)
				defer stop()
				time.Sleep(5 * k.takes)
				k.nextReading()
				w.kernel.Remove(ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:81")))
				w.reload(d, strings.Replace(moreTOML, "weight = 1", "weight = 7", 1))
				d.Settle(t.Context())
				if !strings.Contains(w.kernel.String(), "-A -t 10.0.0.100:81") {
					t.Errorf("told with the table\n%s", w.kernel)
				}
				if errs := d.Status().IPVS.Errors; len(errs) != 1 {
					t.Errorf("told with the errors %q", errs)
				}
			})
		})
	}
}

// Settle is about what is desired when it is called, whatever comes after.
func TestSettleDoesNotWaitForWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.overKernel = &longTable{Kernel: w.kernel, takes: 2 * time.Second}
		d, stop := w.run(pairTOML)
		defer stop()
		time.Sleep(10 * time.Second)
		w.reload(d, moreTOML)
		settled, start := make(chan time.Duration, 1), time.Now()
		go func() { d.Settle(t.Context()); settled <- time.Since(start) }()
		for i := range 40 {
			time.Sleep(500 * time.Millisecond)
			w.reload(d, []string{pairTOML, moreTOML}[i%2])
		}
		if took := <-settled; took > 7*time.Second {
			t.Errorf("settled after %v", took)
		}
	})
}

// What the kernel refuses is no repair.
func TestARefusedRepairIsNotSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for range 100 {
			w.kernel.FailNext("-A", syscall.ENOMEM)
		}
		for key := range table(t, fullTable) {
			w.kernel.Remove(key)
		}
		time.Sleep(resyncMin)
		synctest.Wait()
		if got := w.logged("kernel refused a change"); len(got) != 1 {
			t.Errorf("%d lines about the refusal, want 1", len(got))
		}
		if got := w.logged("changed by another program"); len(got) != 0 {
			t.Errorf("said to be repaired: %q", got)
		}
		if got := d.Status().IPVS.Repaired; got != 0 {
			t.Errorf("%d operations counted as repairs, want none", got)
		}
	})
}
