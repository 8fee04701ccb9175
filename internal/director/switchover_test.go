package director

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/vrrp"
)

var errGone = errors.New("the kernel is gone")

// healthy gives every real server of pairTOML its first verdict.
func (w *world) healthy() {
	w.verdict("10.0.0.21:80", healthcheck.Up, nil)
	w.verdict("10.0.0.22:80", healthcheck.Up, nil)
}

// asked asks for a switchover and returns where its outcome will be.
func asked(t *testing.T, d *Director, names ...string) (<-chan []SwitchedOver, <-chan error) {
	results, errs := make(chan []SwitchedOver, 1), make(chan error, 1)
	go func() {
		out, err := d.Switchover(t.Context(), "a test", names)
		results <- out
		errs <- err
	}()
	synctest.Wait()
	return results, errs
}

func TestSwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.healthy()
		w.told()

		results, errs := asked(t, d)
		if diff := cmp.Diff([]string{"vrrp web priority 150 preempt false", "hand over web"}, w.told()); diff != "" {
			t.Errorf("the virtual routers are told (-want +got):\n%s", diff)
		}
		time.Sleep(64 * time.Millisecond)
		w.becomes(vrrp.Master, vrrp.Backup, vrrp.ReasonSwitchover)
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]SwitchedOver{{Instance: "web", To: "lb-b", State: "backup", Took: 64 * time.Millisecond}}, <-results); diff != "" {
			t.Errorf("outcome (-want +got):\n%s", diff)
		}
		if s := d.Status().VirtualRouters[0]; s.SwitchedOver.IsZero() {
			t.Error("status does not tell of the switchover")
		}

		// The other director dies: from then on this one preempts again.
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		if s := d.Status().VirtualRouters[0]; !s.SwitchedOver.IsZero() {
			t.Error("Master again, and still switched over")
		}
		if diff := cmp.Diff([]string{"vrrp web priority 150 preempt true"}, w.told()); diff != "" {
			t.Errorf("Master again, and the virtual routers are told (-want +got):\n%s", diff)
		}
	})
}

func TestSwitchoverThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.healthy()
		w.told()
		began := time.Now()
		results, errs := asked(t, d, "web")
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		// Two advertisement intervals of 100 ms, and a second for the way.
		if took := time.Since(began); took != 1200*time.Millisecond {
			t.Errorf("took %v, want 1.2s", took)
		}
		if diff := cmp.Diff([]SwitchedOver{{Instance: "web", State: "master"}}, <-results); diff != "" {
			t.Errorf("outcome (-want +got):\n%s", diff)
		}
		synctest.Wait()
		want := []string{"vrrp web priority 150 preempt false", "hand over web", "vrrp web priority 150 preempt true"}
		if diff := cmp.Diff(want, w.told()); diff != "" {
			t.Errorf("the virtual routers are told (-want +got):\n%s", diff)
		}
	})
}

// Who asked for a switchover is answered also when the daemon stops, or when he has gone.
func TestSwitchoverThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := d.Switchover(ctx, "a test", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has gone hears %v", err)
		}
		_, errs := asked(t, d)
		stop()
		if err := <-errs; err == nil || err.Error() != "director lb-a is stopping" {
			t.Errorf("who asked before the stop hears %v", err)
		}
	})
}

func TestSwitchoverRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for _, tt := range []struct {
			names []string
			want  string
		}{
			{nil, "director lb-a is Master of nothing"},
			{[]string{"mail"}, "there is no [vrrp.mail]"},
			{[]string{"web"}, "web is not Master on lb-a but stopped: run this on its Master"},
		} {
			_, errs := asked(t, d, tt.names...)
			if err := <-errs; err == nil || err.Error() != tt.want {
				t.Errorf("%v: %v, want %q", tt.names, err, tt.want)
			}
		}
	})
}

// The owner of the addresses would preempt its successor at once.
func TestSwitchoverOfAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(strings.Replace(pairTOML, "priority = 150", "priority = 255", 1))
		defer stop()
		w.becomes(vrrp.Initialize, vrrp.Master, vrrp.ReasonOwner)
		_, errs := asked(t, d)
		if err := <-errs; err == nil || err.Error() != "web belongs to lb-a, which has priority 255 and would take it back at once" {
			t.Errorf("%v", err)
		}
	})
}

// A kernel whose table cannot be read for three seconds may forward anything: the
// director takes no part until it can.
func TestUnreadableTableIsAFault(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	var dp DataPlane
	dp.observe(Pass{At: at(0), Errs: []error{errGone}})
	dp.observe(Pass{At: at(2), Errs: []error{errGone}})
	if got := dp.dead(at(2)); got != "" {
		t.Errorf("after 2 s: %q", got)
	}
	if got, want := dp.change(at(2)), at(3); !got.Equal(want) {
		t.Errorf("looked at again at %v, want %v", got, want)
	}
	if got := dp.dead(at(3)); got != "ipvs cannot be read: the kernel is gone" {
		t.Errorf("after 3 s: %q", got)
	}
	if dp.broken(at(4)) || !dp.broken(at(5)) {
		t.Error("a table that is not as configured counts from five seconds on")
	}
	dp.observe(Pass{At: at(6), Read: true, Reached: true})
	if dp.dead(at(60)) != "" || dp.broken(at(60)) || !dp.change(at(6)).IsZero() {
		t.Errorf("after recovery: %+v", dp)
	}
}

func TestLowered(t *testing.T) {
	for p, want := range map[vrrp.Priority]vrrp.Priority{255: 255, 254: 25, 150: 15, 100: 10, 9: 1, 1: 1} {
		if got := Lowered(p); got != want {
			t.Errorf("Lowered(%d) = %d, want %d", p, got, want)
		}
	}
}
