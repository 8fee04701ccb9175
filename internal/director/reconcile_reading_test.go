package director

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// nextReading waits until the next reading of the table is five seconds old.
func (k *longTable) nextReading() {
	for reads := k.reads.Load(); k.reads.Load() == reads; {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
}

// tornTable passes over a service if another one was deleted meanwhile, as a listing that
// counts how far it has come does.
type tornTable struct {
	*longTable
	deleted atomic.Bool
	torn    atomic.Int32
}

func (k *tornTable) ApplyAll(ctx context.Context, ops []ipvs.Op) []error {
	for _, op := range ops {
		if _, is := op.(ipvs.DeleteService); is {
			k.deleted.Store(true)
		}
	}
	return k.longTable.ApplyAll(ctx, ops)
}

func (k *tornTable) Table(ctx context.Context) (ipvs.Table, ipvs.Observed, error) {
	k.deleted.Store(false)
	table, observed, err := k.longTable.Table(ctx)
	if err == nil && k.deleted.Load() {
		k.torn.Add(1)
		delete(table, webKey)
		delete(observed, webKey)
	}
	return table, observed, err
}

func (k *tornTable) Refresh(ctx context.Context, _ ipvs.Table) (ipvs.Table, ipvs.Observed, error) {
	return k.Table(ctx)
}

func (w *world) runTorn(toml string) (*Director, *tornTable, func() error) {
	k := &tornTable{longTable: &longTable{Kernel: w.kernel, takes: 20 * time.Second}}
	w.overKernel = k
	d, stop := w.run(toml)
	time.Sleep(50 * time.Second)
	synctest.Wait()
	w.kernel.Applied()
	return d, k, stop
}

func TestAServiceThatATornReadingMissesIsStillThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runTorn(moreTOML)
		defer stop()
		k.nextReading()
		w.reload(d, pairTOML)
		w.wantOps("-D -t 10.0.0.100:81")
		for range 100 {
			time.Sleep(time.Second)
			synctest.Wait()
			if s := d.Status().IPVS; len(s.Errors) > 0 || s.Repaired > 0 || s.Refused > 0 {
				t.Fatalf("status %+v", s)
			}
		}
		w.wantOps()
		if k.torn.Load() == 0 {
			t.Error("no reading was torn")
		}
	})
}

// What a torn reading does show is believed.
func TestATornReadingIsBelievedInWhatItShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runTorn(moreTOML)
		defer stop()
		w.kernel.Load(table(t, "-A -t 10.0.0.100:82 -s rr\n")) // somebody else's
		k.nextReading()
		w.reload(d, pairTOML)
		time.Sleep(k.takes - 5*time.Second)
		synctest.Wait()
		if k.torn.Load() != 1 {
			t.Fatalf("%d torn readings, want 1", k.torn.Load())
		}
		if _, known := d.board.current.Load().pass.Table()[ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:82"))]; known {
			t.Error("told before a reading for the reload")
		}
		d.Settle(t.Context())
		if _, known := d.board.current.Load().pass.Table()[webKey]; !known {
			t.Error("the service that was passed over is not known any more")
		}
	})
}

// A service that is in doubt and that two readings in a row have missed is gone: it is made
// anew though every reading is torn.
func TestAServiceInDoubtThatTornReadingsMissIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runTorn(moreTOML)
		defer stop()
		w.kernel.Remove(webKey)
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED) // fails
		for i := range 40 {
			w.reload(d, []string{pairTOML, moreTOML}[i%2])
			time.Sleep(7 * time.Second)
		}
		synctest.Wait()
		if k.torn.Load() < 3 || !strings.Contains(w.kernel.String(), "-A -t 10.0.0.100:80") {
			t.Errorf("after %d torn readings the table is\n%s", k.torn.Load(), w.kernel)
		}
	})
}

// Reloads that come faster than the table can be read are told all the same, each by a
// reading that began after it.
func TestServicesThatComeAndGoDoNotKeepPassesFromBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		k := &longTable{Kernel: w.kernel, takes: 2 * time.Second}
		w.overKernel = k
		d, stop := w.run(pairTOML)
		defer stop()
		time.Sleep(10 * time.Second)
		k.reads.Store(0)
		for i := range 40 {
			w.reload(d, []string{moreTOML, pairTOML}[i%2])
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			// A reading, a pause that is as long, and the rest of the one before.
			if p := d.board.current.Load(); p.pass.Desired.Generation+5 < p.generation {
				t.Fatalf("the last pass that was told is for %d, wanted is %d", p.pass.Desired.Generation, p.generation)
			}
		}
		if n := k.reads.Load(); n > 16 { // half of the time
			t.Errorf("%d readings of two seconds in a minute", n)
		}
		d.Settle(t.Context())
		if !d.InSync() {
			t.Error("not in sync in the end")
		}
	})
}

func TestAReloadIsNotToldByAReadingThatBeganBeforeIt(t *testing.T) {
	more := ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:81"))
	for _, tt := range []struct {
		name string
		next []string // reloads, ten seconds apart
	}{
		{"with a change", []string{strings.Replace(moreTOML, "weight = 1", "weight = 7", 1)}},
		{"with a new service", []string{moreTOML + "[virtual_server.third]\naddress = \"10.0.0.100:82\"\nprotocol = \"tcp\"\n"}},
		{"after another one", []string{strings.Replace(moreTOML, "weight = 1", "weight = 7", 1), strings.Replace(moreTOML, "weight = 1", "weight = 8", 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				k := &longTable{Kernel: w.kernel, takes: time.Minute}
				w.overKernel = k
				d, stop := w.run(moreTOML)
				defer stop()
				time.Sleep(5 * k.takes)
				k.nextReading()
				w.kernel.Remove(more)
				for _, next := range tt.next {
					w.reload(d, next)
					time.Sleep(10 * time.Second)
				}
				d.Settle(t.Context())
				if !strings.Contains(w.kernel.String(), "-A -t 10.0.0.100:81") || !d.InSync() {
					t.Errorf("told in sync %v with the table\n%s", d.InSync(), w.kernel)
				}
			})
		})
	}
}

// What two reloads in quick succession have done is told of each.
func TestStepsOfReloadsDuringAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		defer stop()
		time.Sleep(2 * k.takes)
		w.reload(d, strings.Replace(pairTOML, "weight = 1", "weight = 7", 1))
		time.Sleep(10 * time.Second)
		r, err := d.Reload(t.Context(), parse(t, moreTOML))
		if err != nil {
			t.Fatal(err)
		}
		d.Settle(t.Context())
		for _, want := range []string{"ipvsadm -A -t 10.0.0.100:81 -s wlc", "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1"} {
			if got := strings.Join(Plan{Steps: d.Steps(r)}.lines(), "\n"); strings.Count(got, want) != 1 {
				t.Errorf("steps\n%s\nwant %s once", got, want)
			}
		}
	})
}

// A reading that began before everything was taken away knows nothing of what came later.
func TestAReadingFromBeforeEverythingWentIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := strings.Replace(pairTOML, "scheduler = \"wrr\"", "scheduler = \"wrr\"\ndrain_timeout = \"0s\"", 1)
		d, k, stop := w.runLong(toml)
		defer stop()
		k.nextReading()
		none, _, _ := strings.Cut(toml, "[virtual_server.web]")
		for _, next := range []string{none, none, toml} {
			w.reload(d, next)
			time.Sleep(time.Second)
		}
		d.Settle(t.Context())
		w.wantTable(fullTable)
		if s := d.Status().IPVS; !s.InSync || s.Repaired != 0 || s.Refused != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// The kernel has it though no pass has told of it yet.
func TestARealServerThatCameWithAReloadBeforeIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, _, stop := w.runLong(pairTOML)
		defer stop()
		w.reload(d, strings.Replace(pairTOML, "web-1 =", "web-3 = { address = \"10.0.0.23:80\", weight = 3 }\nweb-1 =", 1))
		w.wantOps("-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 3")
		w.connections("10.0.0.23:80", ipvs.Connections{Active: 5})
		time.Sleep(30 * time.Second)
		w.reload(d, pairTOML)
		w.wantOps("-e -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 0")
	})
}

func TestAPlanOfALongTable(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wait  time.Duration
		reads int32 // until it is answered
	}{
		{"between readings", 2 * time.Second, 2}, // the second is the one that was due meanwhile
		{"during a reading", 30 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, k, stop := w.runLong(pairTOML)
				defer stop()
				time.Sleep(tt.wait)
				reads := k.reads.Load()
				planned := make(chan Plan, 1)
				go func() { planned <- w.plan(d, strings.Replace(pairTOML, "weight = 1", "weight = 7", 1)) }()
				synctest.Wait()
				// No change waits for it, and it sees the change.
				w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
				w.wantOps("-d -t 10.0.0.100:80 -r 10.0.0.22:80")
				p := <-planned
				read := k.reads.Load() - reads
				if got := p.commands(); len(got) != 1 || got[0] != "-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 7" {
					t.Errorf("planned %q", got)
				}
				if read > tt.reads {
					t.Errorf("%d readings for it, want at most %d", read, tt.reads)
				}
				time.Sleep(10 * k.takes)
				synctest.Wait()
				w.wantOps()
				if k.reads.Load() < reads+3 {
					t.Error("the table is not read any more after it")
				}
			})
		})
	}
}

func TestAPlanIsAnsweredWhenTheDirectorStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runLong(pairTOML)
		time.Sleep(30 * time.Second)
		planned := make(chan error, 1)
		go func() { _, err := d.Plan(t.Context(), parse(t, pairTOML)); planned <- err }()
		synctest.Wait()
		k.takes = time.Second
		w.wantClean(stop)
		if err := <-planned; err == nil || err.Error() != "the director stops" {
			t.Errorf("got %v", err)
		}
	})
}
