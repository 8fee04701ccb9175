package director

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// withoutWeb2 is pairTOML after an operator has removed web-2.
var withoutWeb2 = strings.Replace(pairTOML, "web-2 =", "# web-2 =", 1)

func (w *world) reload(d *Director, toml string) {
	w.t.Helper()
	if _, err := d.Reload(w.t.Context(), parse(w.t, toml)); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func TestRemovedRealServerIsDrainedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 2, Inactive: 1})
		w.kernel.Applied()
		w.reload(d, withoutWeb2)
		w.wantTable(tableWith("0"))
		want := []LeavingStatus{{
			VirtualServer: "web", Service: "tcp 10.0.0.100:80", RealServer: "web-2", Address: "10.0.0.22:80",
			Since: time.Now(), Until: time.Now().Add(30 * time.Second), Active: 2, Inactive: 1,
		}}
		s := d.Status()
		if diff := cmp.Diff(want, s.Leaving); diff != "" || len(s.VirtualServers[0].RealServers) != 2 {
			t.Errorf("status %+v -want +got:\n%s", s.VirtualServers[0].RealServers, diff)
		}
		time.Sleep(10 * time.Second)
		w.wantTable(tableWith("0"))
		w.connections("10.0.0.22:80", ipvs.Connections{Persistent: 5})
		time.Sleep(resyncMin)
		synctest.Wait()
		w.wantTable(tableWith(""))
		if diff := cmp.Diff([]string{
			"-e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0",
			"-d -t 10.0.0.100:80 -r 10.0.0.22:80",
		}, w.kernel.Applied()); diff != "" {
			t.Errorf("operations -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			`level=INFO msg="removed real server is drained" real_server=web-2 address=10.0.0.22:80 virtual_server=web active=2 inactive=1 until=` + want[0].Until.Format(time.RFC3339),
			`level=INFO msg="removed real server is gone" real_server=web-2 address=10.0.0.22:80 virtual_server=web reason=idle active=0 inactive=0`,
		}, w.logged("removed real server")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"real-server-draining web/web-2: 10.0.0.22:80 is not in the configuration any more: its 3 connections may end until " + want[0].Until.Format(time.RFC3339),
			"real-server-drained web/web-2: 10.0.0.22:80 is gone: it has no connections any more",
		}, w.recorded("real-server-drain")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

func TestIdleRealServerIsRemovedAtOnceAndWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.reload(d, withoutWeb2)
		w.wantTable(tableWith(""))
		if got := w.recorded("real-server"); len(got) != 0 {
			t.Errorf("events %q", got)
		}
	})
}

func TestRealServerIsNotRemovedBeforeTheKernelHasStoppedUsingIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.kernel.FailNext("-e", syscall.EBUSY)
		w.kernel.FailNext("-e", syscall.EBUSY) // also after the table has been read again
		w.reload(d, withoutWeb2)
		w.wantTable(fullTable)
		time.Sleep(retryMin)
		synctest.Wait()
		w.wantTable(tableWith(""))
	})
}

func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 2})
		w.reload(d, strings.Replace(withoutWeb2, "[virtual_server.web]", "[virtual_server.web]\ndrain_timeout = \"90s\"", 1))
		w.reload(d, withoutWeb2) // what has begun to leave keeps its time
		time.Sleep(90*time.Second - time.Nanosecond)
		synctest.Wait()
		w.wantTable(tableWith("0"))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		w.wantTable(tableWith(""))
		if got := w.logged("removed real server is gone"); len(got) != 1 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "reason=drain-timeout active=2") {
			t.Errorf("log %q", got)
		}
		if n := len(d.Status().Leaving); n != 0 {
			t.Errorf("%d are still leaving", n)
		}
	})
}

func TestRealServerThatComesBackWasNeverAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 1})
		w.kernel.Applied()
		for range 2 {
			w.reload(d, withoutWeb2)
			w.reload(d, pairTOML)
		}
		w.wantTable(fullTable)
		down, up := "-e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0", "-e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2"
		if diff := cmp.Diff([]string{down, up, down, up}, w.kernel.Applied()); diff != "" {
			t.Errorf("operations -want +got:\n%s", diff)
		}
		if n := len(w.logged("removed real server is drained")); n != 2 {
			t.Errorf("said %d times that it is drained, want each time", n)
		}
	})
}

func TestRemovedVirtualServerIsDrainedToo(t *testing.T) {
	for _, tt := range []struct{ name, was, is, meanwhile string }{
		{"unchanged", `"10.0.0.100:80"`, `"10.0.0.100:80"` + "\n", ""},
		{"moved", `address   = "10.0.0.100:80"`, `address   = "10.0.0.100:81"` + "\nforward = \"nat\"\n#",
			"-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				toml := strings.Replace(strings.Replace(pairTOML, "forward   = \"dr\"\n", "", 1), "sorry_server", "# sorry_server", 1)
				d, stop := w.run(toml)
				defer stop()
				before := w.kernel.String()
				w.connections("10.0.0.21:80", ipvs.Connections{Active: 1})
				w.connections("10.0.0.22:80", ipvs.Connections{Active: 1})
				w.reload(d, strings.Replace(toml, tt.was, tt.is, 1))
				if tt.meanwhile == "" {
					w.wantTable(before)
					return
				}
				if got := w.kernel.String(); !strings.HasPrefix(got, tt.meanwhile) || !strings.Contains(got, "-A -t 10.0.0.100:81") {
					t.Errorf("table\n%s", got)
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if got := w.kernel.String(); strings.Contains(got, "100:80 ") || !strings.Contains(got, "-A -t 10.0.0.100:81") {
					t.Errorf("table after the drain_timeout\n%s", got)
				}
				if w.ledger.load().Services[webKey] {
					t.Error("the ledger still has the service")
				}
			})
		})
	}
}

// What would keep clients from being served is not waited for.
func TestWhatLeavesAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(string) string
		after  func(string) string
	}{
		{"drain_timeout = 0s", same, func(s string) string { return with(s, `drain_timeout = "0s"`) }},
		{"scheduler sh", func(s string) string { return strings.Replace(s, "wrr", "sh", 1) }, func(s string) string { return strings.Replace(s, "wrr", "sh", 1) }},
		{"a service for all ports takes its clients", same, func(s string) string {
			return strings.ReplaceAll(with(strings.Replace(s, "sorry_server", "# sorry_server", 1), "persistence = \"60s\""), ":80\"", ":0\"") +
				"\n[check.other]\ntype = \"tcp\"\n"
		}},
		{"it has failed", same, same},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(tt.before(pairTOML))
				defer stop()
				w.connections("10.0.0.22:80", ipvs.Connections{Active: 1})
				after := tt.after(withoutWeb2)
				if strings.Contains(after, ":0\"") { // checks need a port
					after = strings.Replace(after, `check     = "alive"`, "", 1)
				}
				if tt.name == "it has failed" {
					w.verdict("10.0.0.22:80", healthcheck.Down, nil)
				}
				w.reload(d, after)
				if strings.Contains(w.kernel.String(), "10.0.0.22") || len(d.Status().Leaving) != 0 {
					t.Errorf("web-2 is still there:\n%s", w.kernel)
				}
			})
		})
	}
}

func same(s string) string { return s }

// with adds a line to the virtual server.
func with(toml, line string) string {
	return strings.Replace(toml, "[virtual_server.web]\n", "[virtual_server.web]\n"+line+"\n", 1)
}

// A restart that keeps the services, or that follows a crash, keeps what leaves as well,
// until the time that it was given at first.
func TestRestartWithinADrainKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		keep := "\n[ipvs]\non_stop = \"keep\"\n"
		d, stop := w.run(pairTOML + keep)
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 2})
		w.reload(d, withoutWeb2+keep)
		time.Sleep(10 * time.Second)
		left := d.Status().Leaving
		w.connections("10.0.0.21:80", ipvs.Connections{Active: 1})
		for range 2 {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			w.kernel.Applied()
			d, stop = w.run(withoutWeb2 + keep)
			w.wantTable(tableWith("0"))
			if ops := w.kernel.Applied(); len(ops) != 0 {
				t.Errorf("the start made changes: %q", ops)
			}
			if diff := cmp.Diff(left, d.Status().Leaving); diff != "" {
				t.Errorf("leaving -want +got:\n%s", diff)
			}
		}
		time.Sleep(20*time.Second - time.Nanosecond)
		synctest.Wait()
		w.wantTable(tableWith("0"))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		w.wantTable(tableWith(""))
		if n := len(w.ledger.load().Leaving); n != 0 {
			t.Errorf("%d are still in the ledger", n)
		}
		if a, b, c := w.logged("removed real server is drained"), w.logged("goes on being drained"), w.logged("reason=drain-timeout active=2"); len(a) != 1 || len(b) != 2 || len(c) != 1 {
			t.Errorf("log %q %q %q", a, b, c)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What is back in the file that the next run reads does not leave any more.
func TestRestartWithTheRealServerBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		keep := "\n[ipvs]\non_stop = \"keep\"\n"
		d, stop := w.run(pairTOML + keep)
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 2})
		w.reload(d, withoutWeb2+keep)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		d, stop = w.run(pairTOML + keep)
		w.wantTable(fullTable)
		if n := len(d.Status().Leaving) + len(w.ledger.load().Leaving); n != 0 {
			t.Errorf("%d are leaving", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A stop that takes the services away leaves nothing to go on with.
func TestRestartAfterAReleaseForgetsWhatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 2})
		w.reload(d, withoutWeb2)
		if n := len(w.ledger.load().Leaving); n != 1 {
			t.Fatalf("%d in the ledger, want one", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if n := len(w.ledger.load().Leaving); n != 0 {
			t.Errorf("%d in the ledger after the stop", n)
		}
	})
}

// Real servers of one service that have been removed by different reloads leave the service
// as it was configured last.
func TestServiceOfThoseThatLeaveIsTheLastOne(t *testing.T) {
	for range 20 { // a map decided
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			d, stop := w.run(pairTOML)
			defer stop()
			for _, addr := range []string{"10.0.0.21:80", "10.0.0.22:80"} {
				w.connections(addr, ipvs.Connections{Active: 1})
			}
			w.reload(d, withoutWeb2)
			another := strings.Replace(withoutWeb2, `"wrr"`, `"wlc"`, 1)
			w.reload(d, another)
			head, tail, _ := strings.Cut(another, "[virtual_server.web]")
			_, tail, _ = strings.Cut(tail, "[check.alive]")
			w.reload(d, head+"[check.alive]"+tail)
			w.wantTable("-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0\n")
		})
	}
}
