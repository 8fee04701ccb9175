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
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/vrrp"
)

func TestReloadProgramsTheKernelBeforeVRRPAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for range 2 { // before the reload, and for it
			w.kernel.FailNext(ipvstest.ReadTable, syscall.EINTR)
		}
		time.Sleep(resyncMin)
		synctest.Wait()
		w.told() // the start's
		next := strings.Replace(pairTOML, `["10.0.0.100/24"]`, `["10.0.0.100/24", "10.0.0.101/24"]`, 1)
		next = strings.Replace(next, "weight = 2", "weight = 3", 1)
		if _, err := d.Reload(t.Context(), parse(t, next)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.told(); len(got) != 0 {
			t.Errorf("before the table could be read: %q", got)
		}
		if s := d.Status(); s.IPVS.InSync {
			t.Error("status says that the kernel is as the new configuration asks")
		}
		d.Settle(t.Context())
		time.Sleep(retryMin)
		synctest.Wait()
		if got := w.told(); len(got) != 1 || !strings.HasPrefix(got[0], "vrrp web") {
			t.Errorf("after it: %q", got)
		}
		if !d.Status().IPVS.InSync {
			t.Error("status says that the kernel is not as configured")
		}
	})
}

func TestAnotherCheckDoesNotBringDeadServersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		renamed := strings.ReplaceAll(pairTOML, "alive", "front-page")
		if _, err := d.Reload(t.Context(), parse(t, renamed)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if strings.Contains(w.kernel.String(), "10.0.0.22") {
			t.Errorf("the dead server is back:\n%s", w.kernel)
		}
		if diff := cmp.Diff([]string{"2 checks have no verdict yet"}, d.Status().NotReady); diff != "" {
			t.Errorf("not ready -want +got:\n%s", diff)
		}
		for _, addr := range []string{"10.0.0.21:80", "10.0.0.22:80"} {
			e := healthcheck.Event{Target: target(addr), Status: healthcheck.Up}
			e.Target.Check = "front-page"
			w.health.events <- e
		}
		synctest.Wait()
		if diff := cmp.Diff(fullTable, w.kernel.String()); diff != "" {
			t.Errorf("after the new check's verdicts -want +got:\n%s", diff)
		}
		if s := d.Status(); !s.Ready {
			t.Errorf("not ready: %q", s.NotReady)
		}
	})
}

// What was known of it is assumed until its check has a verdict.
func TestARealServerThatComesBackIsCheckedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		w.reload(d, withoutWeb2)
		if s := d.Status(); !s.Ready {
			t.Errorf("without it not ready: %q", s.NotReady)
		}
		w.reload(d, pairTOML)
		if diff := cmp.Diff([]string{"1 check has no verdict yet"}, d.Status().NotReady); diff != "" {
			t.Errorf("not ready -want +got:\n%s", diff)
		}
		if strings.Contains(w.kernel.String(), "10.0.0.22") {
			t.Errorf("the dead server is back:\n%s", w.kernel)
		}
	})
}

func TestReloadWithoutSyncStopsTheDaemons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		without, _, _ := strings.Cut(pairTOML, "[sync]")
		if _, err := d.Reload(t.Context(), parse(t, without)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if ds, err := w.kernel.Daemons(t.Context()); err != nil || len(ds) != 0 {
			t.Errorf("daemons %v, %v; want none", ds, err)
		}
		if w.ledger.load().SyncDaemons {
			t.Error("the ledger still has the daemons")
		}
		if got := w.logged("changed by another program"); len(got) != 0 {
			t.Errorf("our own change was taken for another program's: %q", got)
		}
	})
}

func TestReloadMovesTheDaemonsToAnotherInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(pairTOML, "eth1", "eth2", 1))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := d.Status().Sync.Daemons; len(s) != 1 || s[0].Interface != "eth2" {
			t.Errorf("daemons %v, want one on eth2", s)
		}
	})
}

func TestServiceTakenAwayIsForgottenWhateverElseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML + "\n[virtual_server.old]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\n[virtual_server.old.real_server]\na = { address = \"10.0.0.21:81\" }\n")
		defer stop()
		w.kernel.FailNext("-e", syscall.EBUSY) // another service's edit
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(pairTOML, "weight = 2", "weight = 3", 1))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(w.ledger.load().Services); n != 1 {
			t.Errorf("the ledger has %d services, want the one that is left", n)
		}
		// From now on a service with the old key is somebody else's.
		foreign := "-A -t 10.0.0.100:81 -s wlc\n"
		w.kernel.Load(table(t, foreign))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !strings.Contains(w.kernel.String(), foreign) {
			t.Errorf("a foreign service was deleted:\n%s", w.kernel)
		}
	})
}

func TestReloadOfVirtualRoutersAloneIsInForceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.told() // the start's
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(pairTOML, "10.0.0.100/24", "10.0.0.100/25", 1))); err != nil {
			t.Fatal(err)
		}
		if got := w.told(); len(got) != 1 || !strings.HasPrefix(got[0], "vrrp web") {
			t.Errorf("when the reload returned: %q, want the virtual router updated", got)
		}
	})
}

func TestNewNamesDoNotBringDeadServersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		renamed := strings.NewReplacer("alive", "front-page", "virtual_server.web", "virtual_server.site", "web-2", "site-2").Replace(pairTOML)
		if _, err := d.Reload(t.Context(), parse(t, renamed)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if strings.Contains(w.kernel.String(), "10.0.0.22") {
			t.Errorf("the dead server is back:\n%s", w.kernel)
		}
	})
}

func TestReloadTellsWhatItHasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 1})
		for _, tt := range []struct {
			toml string
			want []string
		}{
			{strings.NewReplacer("web-2 =", "# web-2 =", "10.0.0.100/24", "10.0.0.100/25", "eth1", "eth2").Replace(pairTOML), []string{
				"# check alive: asks 10.0.0.22:80 no longer",
				"ipvsadm --stop-daemon master",
				"ipvsadm --start-daemon master --mcast-interface eth2 --syncid 7",
				"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0",
				"ip addr add 10.0.0.100/25 dev eth0  # vrrp web",
				"ip addr del 10.0.0.100/24 dev eth0  # vrrp web",
			}},
			{strings.NewReplacer("web-2 =", "# web-2 =", "10.0.0.100/24", "10.0.0.100/25", "eth1", "eth2").Replace(pairTOML), nil},
			{strings.NewReplacer("10.0.0.100/24", "10.0.0.100/25", "eth1", "eth2").Replace(pairTOML), []string{
				"# check alive: asks 10.0.0.22:80 too",
				"ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2",
			}},
		} {
			r, err := d.Reload(t.Context(), parse(t, tt.toml))
			if err != nil {
				t.Fatal(err)
			}
			d.Settle(t.Context())
			if diff := cmp.Diff(tt.want, Plan{Steps: d.Steps(r)}.lines()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			time.Sleep(resyncMin) // later passes are not the reload's
			synctest.Wait()
			if diff := cmp.Diff(tt.want, Plan{Steps: d.Steps(r)}.lines()); diff != "" {
				t.Errorf("a second later -want +got:\n%s", diff)
			}
		}
	})
}
