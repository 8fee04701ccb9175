package director

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// initially is pairTOML with another initial.
func initially(value string) string {
	return strings.Replace(pairTOML, "[check.alive]", "[check.alive]\ninitial = \""+value+"\"", 1)
}

// inTable are the last bytes of the addresses of the real servers in the table.
func (w *world) inTable() string {
	var list []string
	for _, host := range []string{"21", "22", "23"} {
		if strings.Contains(w.kernel.String(), "10.0.0."+host+":80") {
			list = append(list, host)
		}
	}
	return strings.Join(list, " ")
}

// Until the first verdicts the table holds what initial says, and whatever it says this
// director is not ready.
func TestInitial(t *testing.T) {
	second := map[healthcheck.Target]bool{target("10.0.0.22:80"): true}
	tests := []struct {
		initial string
		last    map[healthcheck.Target]bool // that were down at the end of the last run
		err     error                       // of reading that
		want    string                      // in the table
		status  string
	}{
		{"up", second, nil, "21 22", "unknown unknown"},
		{"down", nil, nil, "", "down down"},
		{"last", nil, nil, "21 22", "unknown unknown"},
		{"last", second, nil, "21", "unknown down"},
		{"last", nil, errors.New("disk on fire"), "21 22", "unknown unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.initial, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.down.saved, w.down.err = KeptHealth{Down: tt.last}, tt.err
				d, stop := w.run(initially(tt.initial))
				defer stop()
				s := d.Status()
				var status []string
				for _, rs := range s.VirtualServers[0].RealServers[:2] {
					status = append(status, rs.Status)
				}
				if got := w.inTable(); got != tt.want || strings.Join(status, " ") != tt.status {
					t.Errorf("in the table %q, status %q; want %q and %q", got, status, tt.want, tt.status)
				}
				if rs := s.VirtualServers[0].RealServers[0]; (rs.Cause == "no verdict yet") != (rs.Status == "down") {
					t.Errorf("it is %s: %q", rs.Status, rs.Cause)
				}
				if diff := cmp.Diff([]string{"2 checks have no verdict yet"}, s.NotReady); diff != "" {
					t.Errorf("not ready -want +got:\n%s", diff)
				}
				if warned := len(w.logged("health of the last run not readable")) > 0; warned != (tt.err != nil) {
					t.Errorf("warned: %v", warned)
				}
				w.verdict("10.0.0.21:80", healthcheck.Up, nil)
				w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
				if got := w.inTable(); got != "21" {
					t.Errorf("in the table after the first verdicts %q, want 21", got)
				}
				if s := d.Status(); !s.Ready {
					t.Errorf("not ready: %q", s.NotReady)
				}
				w.verdict("10.0.0.22:80", healthcheck.Up, nil)
				if got := w.inTable(); got != "21 22" {
					t.Errorf("in the table %q when both are up", got)
				}
			})
		})
	}
}

// A real server that a reload brings waits for its first success, and those that were there
// are left alone, whether they have a verdict or not.
func TestInitialOfARealServerThatAReloadBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		next := strings.Replace(initially("down"), `web-1 = {`, "web-3 = { address = \"10.0.0.23:80\" }\nweb-1 = {", 1)
		w.reload(d, next)
		if got := w.inTable(); got != "21 22" {
			t.Errorf("in the table after the reload %q, want 21 and 22", got)
		}
		w.verdict("10.0.0.23:80", healthcheck.Up, nil)
		if got := w.inTable(); got != "21 22 23" {
			t.Errorf("in the table %q, want all", got)
		}
	})
}

// What the next run is to know is written at a change, not more than every ten seconds, and
// at the stop; only of checks that ask for it, and by their names of now.
func TestStatusesAreKept(t *testing.T) {
	refused := errors.New("connect refused")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(initially("last"))
		want := func(addrs string, saves int) {
			t.Helper()
			if got, n := w.down.kept(); got != addrs || n != saves {
				t.Errorf("%q kept in %d writes, want %q in %d", got, n, addrs, saves)
			}
		}
		want("", 0)
		w.verdict("10.0.0.22:80", healthcheck.Down, refused)
		want("10.0.0.22:80", 1)
		for range 10 { // the first one flaps
			w.verdict("10.0.0.21:80", healthcheck.Down, refused)
			w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		}
		w.verdict("10.0.0.21:80", healthcheck.Down, refused)
		want("10.0.0.22:80", 1)
		sleepAll(statusPause)
		want("10.0.0.21:80 10.0.0.22:80", 2)
		sleepAll(time.Hour)
		want("10.0.0.21:80 10.0.0.22:80", 2)

		w.down.fail(errors.New("read-only file system"))
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		sleepAll(time.Minute)
		if n := len(w.logged("health of real servers not written")); n != 1 {
			t.Errorf("said %d times that it could not be written, want once", n)
		}
		w.down.fail(nil)
		sleepAll(statusPause)
		if got, _ := w.down.kept(); got != "10.0.0.22:80" || len(w.logged("health of real servers is written again")) != 1 {
			t.Errorf("%q kept, want the newest, once the disk is back", got)
		}

		renamed := strings.ReplaceAll(initially("last"), "alive", "front-page")
		w.reload(d, renamed)
		sleepAll(2 * statusPause)
		w.down.mu.Lock()
		e := target("10.0.0.22:80")
		e.Check = "front-page"
		if !w.down.saved.Down[e] || len(w.down.saved.Down) != 1 {
			t.Errorf("kept %v, want it by the check's new name", w.down.saved)
		}
		w.down.mu.Unlock()

		_, before := w.down.kept()
		e.Addr = target("10.0.0.21:80").Addr
		w.health.events <- healthcheck.Event{Target: e, Status: healthcheck.Down, Err: refused}
		synctest.Wait()
		e.Addr = target("10.0.0.22:80").Addr
		w.health.events <- healthcheck.Event{Target: e, Status: healthcheck.Up}
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		want("10.0.0.21:80", before+2) // one at the change, one at the stop
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.down.saved.Down = map[healthcheck.Target]bool{target("10.0.0.22:80"): true}
		_, stop := w.run(initially("up"))
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Down, refused)
		sleepAll(time.Minute)
		if got, n := w.down.kept(); got != "" || n != 1 {
			t.Errorf("%q kept in %d writes, want nothing, and what is old forgotten", got, n)
		}
	})
}

func sleepAll(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A plan for a start knows who was down.
func TestPlanStartWithInitial(t *testing.T) {
	w := newWorld(t)
	w.down.saved.Down = map[healthcheck.Target]bool{target("10.0.0.22:80"): true}
	p, err := PlanStart(t.Context(), Options{
		Config: parse(t, initially("last")), Self: "lb-a", Kernel: w.kernel, Params: w.params, Ledger: w.ledger, Overrides: w.kept, Statuses: w.down,
		Interfaces: w.interfaces, InterfaceOf: func(netip.Addr) (string, error) { return "eth9", nil },
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var added []string
	for _, s := range p.Steps {
		if strings.HasPrefix(s.Command, "ipvsadm -a ") {
			added = append(added, s.Command)
		}
	}
	if diff := cmp.Diff([]string{"ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1"}, added); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A real server that is removed and comes back much later is what initial says.
func TestInitialOfARealServerThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := initially("down")
		d, stop := w.run(toml)
		defer stop()
		w.health.events <- healthcheck.Event{Target: target("10.0.0.21:80"), Status: healthcheck.Up, Value: percent(50)}
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		var without []string
		for line := range strings.Lines(toml) {
			if !strings.HasPrefix(line, "web-1 ") {
				without = append(without, line)
			}
		}
		w.reload(d, strings.Join(without, ""))
		w.reload(d, toml)
		if got := w.inTable(); got != "22" {
			t.Errorf("in the table %q, want 22", got)
		}
		if len(d.facts.Values) > 0 {
			t.Errorf("what it said long ago is still known: %v", d.facts.Values)
		}
	})
}

// What a panic keeps in is in after a restart, too; what it kept out is not.
func TestInitialLastInAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		toml := strings.Replace(poolTOML("panic_threshold = 0.5", 4, 0), "[check.alive]", "[check.alive]\ninitial = \"last\"", 1)
		_, stop := w.run(toml)
		fail := func(hosts ...string) {
			for _, host := range hosts {
				w.verdict("10.0.1."+host+":80", healthcheck.Down, errors.New("no route to host"))
			}
		}
		fail("1", "2", "3", "4")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.down.kept(); got != "10.0.1.1:80 10.0.1.2:80" {
			t.Errorf("kept as down: %s", got)
		}
		_, stop = w.run(toml)
		const want = "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.1.3:80 -g -w 10\n-a -t 10.0.0.100:80 -r 10.0.1.4:80 -g -w 10\n"
		w.wantTable(want)
		fail("1", "2", "4", "3")
		w.wantTable(want)
		w.verdict("10.0.1.1:80", healthcheck.Up, nil)
		w.verdict("10.0.1.2:80", healthcheck.Up, nil) // the end of it
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.down.kept(); got != "10.0.1.3:80 10.0.1.4:80" {
			t.Errorf("kept as down after the panic: %s", got)
		}
	})
}

// A virtual server whose real servers are only assumed to be down is no track that fails: a
// reload that brings one must not cost the Master its role.
func TestAssumedFailsNoTrack(t *testing.T) {
	cfg := parse(t, initially("down"))
	vs := &cfg.VirtualServers[0]
	f := Facts{Health: make(map[healthcheck.Target]healthcheck.Status), Assumed: make(map[healthcheck.Target]bool)}
	f.assume(nil, Targets(cfg), nil)
	if got := quorate(vs, f, TrackState{}); got != (TrackState{}) {
		t.Errorf("without a verdict: %+v", got)
	}
	clear(f.Assumed)
	if got := quorate(vs, f, TrackState{}); got.Status != healthcheck.Down {
		t.Errorf("when all have failed: %+v", got)
	}
}
