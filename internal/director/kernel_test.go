package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

func TestStatusShowsTheDaemonsThatTheKernelRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.FailNext("--start-daemon", syscall.ENODEV)
		d, stop := w.run(pairTOML)
		defer stop()
		if s := d.Status().Sync; !s.Known || len(s.Daemons) != 0 {
			t.Errorf("status %+v, want no daemon", s)
		}
		time.Sleep(retryMin)
		synctest.Wait()
		if s := d.Status().Sync; len(s.Daemons) != 1 || s.Daemons[0].Role != "backup" {
			t.Errorf("status %+v, want the backup daemon", s)
		}
	})
}

func TestRefusedServiceIsOneError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.FailNext("-A", syscall.ENOENT)
		d, stop := w.run(pairTOML)
		defer stop()
		if got := d.Status().IPVS.Errors; len(got) != 1 {
			t.Errorf("errors %q, want the service's alone", got)
		}
	})
}

func TestOneRefusedServiceDoesNotDelayRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 20 {
			w.kernel.FailNext("-E", syscall.EBUSY)
		}
		w.kernel.Load(table(t, "-A -t 10.0.0.100:80 -s rr\n")) // to be edited, which fails
		_, stop := w.run(pairTOML)
		defer stop()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for key, e := range table(t, strings.Replace(fullTable, "wrr", "rr", 1)) {
			e.Destinations = nil
			w.kernel.Load(ipvs.Table{key: e})
		}
		time.Sleep(retryMax)
		synctest.Wait()
		if n := strings.Count(w.kernel.String(), "-a "); n != 2 {
			t.Errorf("%d destinations after %v, want both back:\n%s", n, retryMax, w.kernel)
		}
	})
}

func TestDriftThatGoesOnIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for range 75 {
			for key := range table(t, fullTable) {
				w.kernel.Remove(key)
			}
			time.Sleep(2 * resyncMin)
		}
		synctest.Wait()
		if n := len(w.recorded("ipvs-repair")); n < 2 || n > 4 {
			t.Errorf("%d events in 150 seconds, want one at once and one a minute", n)
		}
		if got := d.Status().IPVS.Repaired; got != 225 {
			t.Errorf("%d operations counted as repairs, want 225", got)
		}
	})
}

func TestDriftIsToldFromOurOwnChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		defer stop()
		// Somebody changes a weight in the moment in which a real server fails.
		w.kernel.Load(table(t, strings.Replace(fullTable, "-w 1", "-w 9", 1)))
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		if diff := cmp.Diff([]string{
			"ipvs-repair ipvs: changed by another program, repaired: -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1",
		}, w.recorded("ipvs-repair")); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestEmptyPoolIsSaid(t *testing.T) {
	for _, tt := range []struct{ name, toml, want string }{
		{"with a sorry server", pairTOML, "quorum-lost web: fewer than 1 real servers take connections: sorry server 10.0.0.9:80 serves"},
		{"without", strings.Replace(pairTOML, "sorry_server", "# sorry_server", 1), "quorum-lost web: no real server takes connections, and there is no sorry server: they are refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				_, stop := w.run(tt.toml)
				defer stop()
				w.verdict("10.0.0.21:80", healthcheck.Down, syscall.ECONNREFUSED)
				w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
				w.verdict("10.0.0.22:80", healthcheck.Up, nil)
				if diff := cmp.Diff([]string{tt.want, "quorum-gained web: real servers serve again"}, w.recorded("quorum")); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// BenchmarkRackFailure is what the loop does when 1000 of 10 000 real servers fail at
// the same time.
func BenchmarkRackFailure(b *testing.B) {
	var toml strings.Builder
	toml.WriteString("[director.lb-a]\naddress = \"10.0.0.11\"\n[check.alive]\ntype = \"tcp\"\n")
	for i := range 1000 {
		fmt.Fprintf(&toml, "[virtual_server.vs-%d]\naddress = \"10.1.%d.%d:80\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\ncheck = \"alive\"\nsorry_server = { address = \"10.9.0.1:80\" }\n[virtual_server.vs-%d.real_server]\n", i, i/250, i%250+1, i)
		for j := range 10 {
			fmt.Fprintf(&toml, "rs-%d = { address = \"10.%d.%d.%d:80\" }\n", j, 20+j, i/250, i%250+1)
		}
	}
	events := make(chan healthcheck.Event, healthBatchMax)
	d := benchmarkDirector(b, toml.String(), events)
	var failed []healthcheck.Target
	for t := range d.force.users {
		if failed = append(failed, t); len(failed) == 1000 {
			break
		}
	}
	d.compile()
	status := healthcheck.Down
	for b.Loop() {
		for batch := range slices.Chunk(failed, healthBatchMax) {
			for _, t := range batch {
				events <- healthcheck.Event{Target: t, Status: status, Err: syscall.ECONNREFUSED}
			}
			d.healthBatch(<-events)
			d.publish()
		}
		status = healthcheck.Up + healthcheck.Down - status
	}
}

// slowKernel takes its time for each change.
type slowKernel struct{ Kernel }

func (k slowKernel) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	time.Sleep(time.Duration(len(ops)) * 2 * time.Second)
	return k.Kernel.ApplyAll(ctx, ops)
}

func TestSlowProgrammingDoesNotDelayTheNextLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.slow = true
		_, stop := w.run(pairTOML)
		defer stop()
		time.Sleep(6 * time.Second) // three operations
		synctest.Wait()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Fatalf("table -want +got:\n%s", diff)
		}
		for key := range table(t, fullTable) {
			w.kernel.Remove(key)
		}
		time.Sleep(resyncMin + 2*time.Second)
		synctest.Wait()
		if !strings.Contains(w.kernel.String(), "-A") {
			t.Errorf("after a look and one operation the service is not back:\n%s", w.kernel)
		}
	})
}

func TestTakingOverAServiceIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.Load(table(t, "-A -t 10.0.0.100:80 -s rr\n"+foreignTable))
		_, stop := w.run(pairTOML)
		defer stop()
		if diff := cmp.Diff([]string{
			`level=WARN msg="services that another program made are in the configuration, taken over" services="tcp 10.0.0.100:80"`,
		}, w.logged("taken over")); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
