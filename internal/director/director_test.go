package director

import (
	"context"
	"errors"
	"strings"
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

// The whole table of pairTOML with both real servers, as ipvsadm -Sn shows it.
const fullTable = `-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2
`

// foreignTable belongs to somebody else.
const foreignTable = `-A -t 192.0.2.1:25 -s rr
-a -t 192.0.2.1:25 -r 192.0.2.9:25 -m -w 1
`

func table(t *testing.T, text string) ipvs.Table {
	t.Helper()
	tab, err := ipvs.ParseSave(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestStartProgramsTheKernelBeforeVRRPTakesPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		want := []string{
			"vrrp web priority 15 preempt false", // takes over an orphaned address, preempts nobody
			"started",
			"vrrp web priority 150 preempt true", // every check has a verdict
		}
		if diff := cmp.Diff(want, w.told()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := w.recorded("real-server"); len(got) != 0 {
			t.Errorf("first verdicts that confirm the table were recorded: %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRealServerLeavesAndReturnsOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
		w.verdict("10.0.0.22:80", healthcheck.Down, errors.New("connect refused"))
		if strings.Contains(w.kernel.String(), "10.0.0.22") {
			t.Errorf("the table still has the real server:\n%s", w.kernel.String())
		}
		if s := d.Status().VirtualServers[0].RealServers[1]; s.Status != "down" || s.Cause != "connect refused" || s.InTable {
			t.Errorf("status %+v", s)
		}
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table after its return -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			"real-server-left web/web-2: 10.0.0.22:80 removed from web: connect refused",
			"real-server-returned web/web-2: 10.0.0.22:80 returned to web with weight 2",
		}, w.recorded("real-server")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="real server removed" real_server=web-2 address=10.0.0.22:80 virtual_server=web check=alive err="connect refused"`,
			`level=INFO msg="real server added" real_server=web-2 address=10.0.0.22:80 virtual_server=web check=alive weight=2`,
		}, w.logged("msg=\"real server")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
	})
}

func TestRoleMovesTheSyncDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		defer stop()
		roles := func() string {
			ds, err := w.kernel.Daemons(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := ""
			for _, d := range ds {
				s += d.Role.String() + " " + d.Interface + " "
			}
			return s
		}
		if got := roles(); got != "backup eth1 " {
			t.Errorf("daemons at the start: %q", got)
		}
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		if got := roles(); got != "master eth1 " {
			t.Errorf("daemons as Master: %q", got)
		}
		if diff := cmp.Diff([]string{"vrrp-transition web: master, was backup: no advertisement from lb-b"}, w.recorded("vrrp")); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestSyncInterfaceIsFoundByTheDirectorsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(strings.Replace(pairTOML, `interface = "eth1"`, "", 1))
		defer stop()
		if ds, _ := w.kernel.Daemons(t.Context()); len(ds) != 1 || ds[0].Interface != "eth9" {
			t.Errorf("daemons %v, want one on eth9", ds)
		}
	})
}

func TestKernelRefusalIsSaidOnceAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.FailNext("-A", syscall.EBUSY)
		w.kernel.FailNext("-A", syscall.EBUSY)
		start := time.Now()
		_, stop := w.run(pairTOML)
		defer stop()
		if got := w.kernel.String(); got != "" {
			t.Fatalf("the refused service is there:\n%s", got)
		}
		time.Sleep(599 * time.Millisecond) // retries 200 ms and 400 ms later
		synctest.Wait()
		if got := w.kernel.String(); got != "" {
			t.Fatalf("%v after the refusal, before the second retry, the table is:\n%s", time.Since(start), got)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		if got := w.logged("kernel refused a change"); len(got) != 1 {
			t.Errorf("%d lines about the refusal, want 1: %q", len(got), got)
		}
		if got := w.logged("agrees with the configuration again"); len(got) != 1 {
			t.Errorf("%d lines about its end, want 1: %q", len(got), got)
		}
	})
}

func TestUnreadableKernelKeepsVRRPFromTakingPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.FailNext(ipvstest.ReadTable, syscall.EPERM)
		_, stop := w.run(pairTOML)
		defer stop()
		if got := w.told(); len(got) != 0 {
			t.Fatalf("story %q, want nothing before the table could be read", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"vrrp web priority 15 preempt false", "started"}, w.told()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestForeignServicesAreNeverTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.kernel.Load(table(t, foreignTable))
		_, stop := w.run(pairTOML)
		if diff := cmp.Diff(fullTable+foreignTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(foreignTable, w.kernel.String()); diff != "" {
			t.Errorf("table after the stop -want +got:\n%s", diff)
		}
	})
}

func TestLeftoversOfAKilledRunAreTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		left := table(t, "-A -t 10.0.0.100:8080 -s rr\n")
		w.kernel.Load(left)
		for key := range left {
			w.ledger.saved = owned(key)
		}
		_, stop := w.run(pairTOML)
		defer stop()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
	})
}

func TestDriftIsRepairedWithinASecondAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for key := range table(t, fullTable) {
			w.kernel.Remove(key)
		}
		time.Sleep(resyncMin)
		synctest.Wait()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		if got := w.logged("changed by another program"); len(got) != 1 {
			t.Errorf("%d lines about the repair, want 1", len(got))
		}
		if got := d.Status().IPVS.Repaired; got != 3 {
			t.Errorf("%d operations counted as repairs, want 3", got)
		}
	})
}

func TestStopHandsOverFirstAndLeavesACleanMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.told() // the start's
		if err := stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"vrrp stopped, table has 1 services"}, w.told()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := w.kernel.String(); got != "" {
			t.Errorf("left in the kernel:\n%s", got)
		}
		if ds, err := w.kernel.Daemons(t.Context()); err != nil || len(ds) != 0 {
			t.Errorf("sync daemons left: %v %v", ds, err)
		}
		if left := w.ledger.load(); len(left.Services) != 0 || left.SyncDaemons {
			t.Errorf("left in the ledger: %+v", left)
		}
		if got := w.recorded("vrrp"); len(got) != 101 || got[100] != "vrrp-transition web: stopped, was master: stopping" {
			t.Errorf("%d events, want the takeover and each of the 100 reports of the stop", len(got))
		}
	})
}

func TestStopSaysWhatCouldNotBeCleaned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(pairTOML)
		w.kernel.FailNext("-D", syscall.EPERM)
		if err := stop(); !errors.Is(err, syscall.EPERM) {
			t.Errorf("error %v, want EPERM in it", err)
		}
		if left := w.ledger.load(); len(left.Services) != 1 {
			t.Errorf("ledger %+v, want the service that is still there", left)
		}
	})
}

func TestReloadChangesWhatDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.kernel.Applied() // the start's
		next := strings.Replace(pairTOML, "weight = 2", "weight = 5", 1)
		if _, err := d.Reload(t.Context(), parse(t, next)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"-e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 5"}, w.kernel.Applied()); diff != "" {
			t.Errorf("operations -want +got:\n%s", diff)
		}
		if got := w.recorded("reload-ok"); len(got) != 1 || !strings.Contains(got[0], "virtual_server.web.real_server.web-2.weight") {
			t.Errorf("events %q, want one that names the changed key", got)
		}
	})
}

func TestReloadThatCannotBeDoneChangesNothing(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"this director is gone", "lb-a", "lb-x", "lb-a"},
		{"the log's format differs", "[sync]", "[log]\nformat = \"json\"\n[sync]", "restart"},
		{"the admin listeners differ", "[sync]", "[admin]\nmetrics = \"127.0.0.1:1\"\n[sync]", "restart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(pairTOML)
				defer stop()
				w.kernel.Applied() // the start's
				w.told()
				_, err := d.Reload(t.Context(), parse(t, strings.ReplaceAll(pairTOML, tt.old, tt.new)))
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one about %q", err, tt.want)
				}
				synctest.Wait()
				if ops, story := w.kernel.Applied(), w.told(); len(ops) != 0 || len(story) != 0 {
					t.Errorf("a rejected reload changed something: %q %q", ops, story)
				}
			})
		})
	}
}

func TestRejectedReloadIsInStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		d.RejectReload("hadirector.toml", errors.New("line 3: no such key"))
		synctest.Wait()
		if r := d.Status().Config.LastReload; r.OK || r.Error != "line 3: no such key" {
			t.Errorf("status %+v", r)
		}
		if _, err := d.Reload(t.Context(), parse(t, pairTOML)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := d.Status().Config.LastReload; !r.OK || r.Error != "" {
			t.Errorf("status after a good reload %+v", r)
		}
	})
}

func TestReloadOfAStoppedDirectorReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Reload(ctx, parse(t, pairTOML)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline", err)
		}
	})
}

func TestFullDiskDoesNotKeepTheKernelFromBeingProgrammed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ledger.err = syscall.ENOSPC
		d, stop := w.run(pairTOML)
		defer stop()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("table -want +got:\n%s", diff)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := w.logged("ledger not written"); len(got) != 1 {
			t.Errorf("%d lines about the ledger, want 1", len(got))
		}
		if !d.Status().IPVS.InSync {
			t.Error("status says that the kernel is not as configured")
		}
	})
}
