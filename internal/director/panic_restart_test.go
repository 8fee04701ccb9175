package director

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// panicTOML has four real servers, of which s3 and s4 stay in when all fail in their order.
func panicTOML(initial string) string {
	return strings.Replace(poolTOML("panic_threshold = 0.5", 4, 0), "[check.alive]", "[check.alive]\ninitial = \""+initial+"\"", 1)
}

// fail has real servers of a pool fail one after the other.
func (w *world) fail(servers string) {
	for _, n := range strings.Fields(servers) {
		w.verdict("10.0.1."+n+":80", healthcheck.Down, errors.New("no route to host"))
	}
}

// serving are the numbers of the real servers of a pool that are in the kernel's table.
func (w *world) serving() string {
	var list []string
	for n := 1; n < 10; n++ {
		if strings.Contains(w.kernel.String(), fmt.Sprintf("-r 10.0.1.%d:80 ", n)) {
			list = append(list, fmt.Sprint(n))
		}
	}
	return strings.Join(list, " ")
}

// A panic goes on over a restart: who was good before it stays in, in whatever order the checks
// fail again, and whatever initial says. Of the others it says what they count as.
func TestPanicOutlivesARestart(t *testing.T) {
	for _, tt := range []struct{ initial, first string }{{"up", "1 2 3 4"}, {"down", "3 4"}, {"last", "3 4"}} {
		for _, order := range []string{"1 2 3 4", "3 4 1 2", "4 1 3 2", "2 4 3 1"} {
			t.Run(tt.initial+" "+order, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					_, stop := w.run(panicTOML(tt.initial))
					for n := range strings.FieldsSeq("1 2 3 4") {
						w.verdict("10.0.1."+n+":80", healthcheck.Up, nil)
					}
					w.fail("1 2 3 4")
					if err := stop(); err != nil || w.kernel.String() != "" {
						t.Fatalf("%v, table %s", err, w.kernel)
					}
					d, stop := w.run(panicTOML(tt.initial))
					defer stop()
					if got := w.serving(); got != tt.first {
						t.Errorf("after the restart %s serve, want %s", got, tt.first)
					}
					if s := d.Status().VirtualServers[0]; !s.Panic || s.Serves != "real-servers" {
						t.Errorf("status: panic %v, %s", s.Panic, s.Serves)
					}
					for n := range strings.FieldsSeq(order) {
						w.fail(n)
						if got := w.serving(); !strings.HasSuffix(got, "3 4") {
							t.Errorf("when %s has failed again %s serve", n, got)
						}
					}
					if got := w.serving(); got != "3 4" {
						t.Errorf("when all have failed again %s serve", got)
					}
					w.verdict("10.0.1.1:80", healthcheck.Up, nil)
					w.verdict("10.0.1.3:80", healthcheck.Up, nil) // the end of it
					if got := w.serving(); got != "1 3" {
						t.Errorf("when two pass %s serve", got)
					}
				})
			})
		}
	}
}

// What the log and the journal say of it, and what is kept of it.
func TestPanicOfTheLastRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		good := func(want ...string) {
			t.Helper()
			sleepAll(2 * statusPause)
			w.down.mu.Lock()
			defer w.down.mu.Unlock()
			var is []string
			for name, servers := range w.down.saved.Panics {
				for n := range 10 {
					if servers[netip.MustParseAddrPort(fmt.Sprintf("10.0.1.%d:80", n))] {
						is = append(is, fmt.Sprintf("%s %d", name, n))
					}
				}
				is = append(is, fmt.Sprintf("%s all %d", name, len(servers)))
			}
			if diff := cmp.Diff(want, is); diff != "" {
				t.Errorf("kept of panics -want +got:\n%s", diff)
			}
		}
		d, stop := w.run(panicTOML("up"))
		w.fail("1 2")
		good()
		w.fail("3 4")
		good("web 3", "web 4", "web all 2")
		w.verdict("10.0.1.1:80", healthcheck.Up, nil)
		w.fail("1") // who passes joins
		good("web 1", "web 3", "web 4", "web all 3")
		w.reload(d, strings.Replace(panicTOML("up"), "virtual_server.web", "virtual_server.www", 2))
		good("www 1", "www 3", "www 4", "www all 3")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		_, stop = w.run(strings.ReplaceAll(strings.Replace(panicTOML("up"), "virtual_server.web", "virtual_server.www", 2), "s3 =", "third ="))
		defer stop()
		if diff := cmp.Diff([]string{`level=WARN msg="panic of the last run goes on, those that were good stay in" virtual_server=www kept="s1; s4; third"`},
			w.logged("panic of the last run")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		// Under another name it was said a second time.
		const resumed = "panic-began www: the panic of the last run goes on: the last good real servers stay in: s1; s4; third"
		if list := w.recorded("panic-began"); len(list) != 3 || list[2] != resumed {
			t.Errorf("journal %q", list)
		}
		for _, n := range []string{"1", "2"} {
			w.verdict("10.0.1."+n+":80", healthcheck.Up, nil)
		}
		good()
		if got := w.logged("panic is over"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
	})
}

// A plan for a start knows of the panic.
func TestPlanStartInAPanic(t *testing.T) {
	w := newWorld(t)
	w.down.saved.Panics = map[string]map[netip.AddrPort]bool{"web": {netip.MustParseAddrPort("10.0.1.3:80"): true}}
	p, err := PlanStart(t.Context(), Options{
		Config: parse(t, panicTOML("down")), Self: "lb-a", Kernel: w.kernel, Params: w.params, Ledger: w.ledger, Overrides: w.kept, Statuses: w.down,
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
	if diff := cmp.Diff([]string{"ipvsadm -a -t 10.0.0.100:80 -r 10.0.1.3:80 -g -w 10"}, added); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What is not a panic of this configuration is none.
func TestPanicThatDoesNotGoOn(t *testing.T) {
	old := map[string]map[netip.AddrPort]bool{"web": {netip.MustParseAddrPort("10.0.1.3:80"): true, netip.MustParseAddrPort("10.0.1.4:80"): true}}
	for name, toml := range map[string]string{
		"no threshold any more":  poolTOML("", 4, 0),
		"all are others":         strings.ReplaceAll(panicTOML("up"), "10.0.1.", "10.0.2."),
		"no checks any more":     strings.Replace(panicTOML("up"), "check = \"alive\"", "", 1),
		"another virtual server": strings.ReplaceAll(panicTOML("up"), "virtual_server.web", "virtual_server.www"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.down.saved.Panics = old
				d, stop := w.run(toml)
				defer stop()
				sleepAll(time.Minute)
				if d.Status().VirtualServers[0].Panic || len(w.logged("panic")) > 0 {
					t.Errorf("a panic goes on: %q", w.logged("panic"))
				}
				if len(w.down.saved.Panics) > 0 {
					t.Errorf("kept: %v", w.down.saved.Panics)
				}
			})
		})
	}
}
