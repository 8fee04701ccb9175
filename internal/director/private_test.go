package director

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/syncd"
	"github.com/hadirector/hadirector/vrrp"
)

func TestTheRelaysSideOfTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.params.values["net.ipv4.vs.sync_threshold"] = "3\t50"
		d, k, stop := w.runRelay(relayTOML)

		// A Backup has both daemons, and its virtual servers before them.
		k.want(t, "at the start", fmt.Sprintf(bothOn, 11))
		w.wantTable(fullTable)
		if diff := cmp.Diff([]string{
			"-A -t 10.0.0.100:80 -s wrr", "-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1", "-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2",
			"--start-daemon master --mcast-interface hasync0 --syncid 7 --sync-maxlen 1", "--start-daemon backup --mcast-interface hasync0 --syncid 7",
		}, w.kernel.Applied()); diff != "" {
			t.Errorf("at the start -want +got:\n%s", diff)
		}
		p := d.told()
		if !p.Reached || p.Private.Index != 11 || p.Ticks || len(p.Daemons) != 2 || len(p.Drift) != 0 {
			t.Errorf("pass %+v", p)
		}
		if !w.ledger.load().Private {
			t.Error("the ledger does not name the private interface")
		}

		// The tick comes with mastership and goes with it, without a reading and without a
		// daemon that is started.
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.wantOps("-A -t 169.254.88.50:8848 -s rr", "-a -t 169.254.88.50:8848 -r 169.254.88.49:8848 -g -w 1")
		if p := d.told(); !p.Ticks || !w.ledger.load().Services[tickKey] {
			t.Errorf("as Master: pass %+v, ledger %v", p, w.ledger.load())
		}
		if s := d.Status(); len(s.VirtualServers) != 1 || s.Sync.Mode != "relay" || len(s.Sync.Daemons) != 2 || len(s.Sync.Errors) != 0 {
			t.Errorf("status %+v", s)
		}
		i := slices.IndexFunc(d.Status().Parameters, func(p ParameterStatus) bool { return p.Parameter == "net.ipv4.vs.sync_threshold" })
		if i < 0 || d.Status().Parameters[i].Value != "2 0" || d.Status().Parameters[i].Was != "3 50" || !d.Status().Parameters[i].OK {
			t.Errorf("parameters %+v", d.Status().Parameters)
		}
		w.becomes(vrrp.Master, vrrp.Backup, vrrp.ReasonHigherPriority)
		w.wantOps("-D -t 169.254.88.50:8848")
		if d.told().Ticks {
			t.Error("a Backup ticks")
		}
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)

		w.wantClean(stop)
		k.want(t, "after the stop", "")
		if w.private.now() != 0 || w.ledger.load().Private || w.params.values["net.ipv4.vs.sync_threshold"] != "3\t50" {
			t.Errorf("after the stop: link %d, ledger %+v, parameters %v", w.private.now(), w.ledger.load(), w.params.values)
		}
	})
}

// Whoever deletes the private interface makes the daemons deaf, although the kernel still
// shows them. What was changed of it is mended, and nothing started again for it.
func TestThePrivateInterfaceIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runRelay(relayTOML)
		defer stop()
		time.Sleep(5 * time.Second)
		k.want(t, "undisturbed", fmt.Sprintf(bothOn, 11))
		if n := d.Status().IPVS.Repaired; n != 0 {
			t.Errorf("%d repairs of nothing", n)
		}
		w.kernel.Applied()

		w.private.set(func() { w.private.index = 0 })
		time.Sleep(2 * resyncMin)
		k.want(t, "after it was deleted", fmt.Sprintf(bothOn, 12))
		w.wantOps("--stop-daemon master", "--stop-daemon backup",
			"--start-daemon master --mcast-interface hasync0 --syncid 7 --sync-maxlen 1", "--start-daemon backup --mcast-interface hasync0 --syncid 7")
		if p := d.told(); p.Private.Index != 12 {
			t.Errorf("pass tells of %+v", p.Private)
		}
		if got := w.logged("repaired"); len(got) != 1 || !strings.Contains(got[0], "ip link add hasync0 type dummy") {
			t.Errorf("log %q", got)
		}

		w.private.set(func() { w.private.index = 77 }) // another one in its place, with its mark
		time.Sleep(2 * resyncMin)
		k.want(t, "after it was replaced", fmt.Sprintf(bothOn, 77))

		w.kernel.Applied()
		repaired := d.Status().IPVS.Repaired
		w.private.set(func() { w.private.broken = []string{"mtu", "up"} })
		time.Sleep(2 * resyncMin)
		w.wantOps()
		if n := d.Status().IPVS.Repaired - repaired; n != 1 {
			t.Errorf("%d repairs, want 1", n)
		}

		if err := w.kernel.ApplyDaemon(t.Context(), syncd.Stop{Role: syncd.RoleBackup}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * resyncMin)
		k.want(t, "after a daemon was stopped", fmt.Sprintf(bothOn, 77))
	})
}

// Without its private interface a director balances and takes part as it does without sync.
func TestARelayThatCannotWorkHarmsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		foreign := errors.New("make the private interface hasync0: another link has this name, a bridge link: delete or rename it")
		w.private.err = foreign
		d, k, stop := w.runRelay(relayTOML)
		k.want(t, "without the interface", "")
		w.verdict("10.0.0.21:80", healthcheck.Up, nil)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		s := d.Status()
		if !d.InSync() || !d.told().Reached || len(s.IPVS.Errors) != 0 {
			t.Errorf("the data plane counts as broken: %+v", s.IPVS)
		}
		if diff := cmp.Diff([]string{foreign.Error()}, s.Sync.Errors); diff != "" {
			t.Errorf("status -want +got:\n%s", diff)
		}
		if got := w.logged("kernel refused what connection sync needs, trying again"); len(got) != 1 {
			t.Errorf("said %d times: %q", len(got), got)
		}
		if got := w.vrrp.applied("web"); got.Params.Priority != 150 || !s.Ready {
			t.Errorf("priority %d, ready: %v", got.Params.Priority, s.Ready)
		}

		// As soon as it can be made.
		w.private.set(func() { w.private.err = nil })
		time.Sleep(2 * resyncMin)
		k.want(t, "with the interface", fmt.Sprintf(bothOn, 11))
		if got := w.logged("kernel does what connection sync needs again"); len(got) != 1 || len(d.Status().Sync.Errors) != 0 {
			t.Errorf("log %q, status %q", got, d.Status().Sync.Errors)
		}

		// What is wrong later stops nothing that works.
		w.private.set(func() {
			w.private.err = errors.New("make the private interface hasync0: add address: no buffer space available")
		})
		time.Sleep(5 * resyncMin)
		k.want(t, "with a passing error", fmt.Sprintf(bothOn, 11))
		if p := d.told(); p.Private.Index != 11 || len(p.SyncErrs) != 1 {
			t.Errorf("pass %+v", p)
		}

		// Another program's interface stays where it is, and so does our knowledge that ours
		// may be there.
		if err := stop(); err == nil || !strings.Contains(err.Error(), "no buffer space") {
			t.Errorf("stop: %v", err)
		}
		if !w.ledger.load().Private {
			t.Error("the ledger has forgotten the private interface")
		}
		k.want(t, "after the stop", "")
	})
}

// A kernel without the scheduler of the tick's service balances all the same, and is asked
// with growing pauses.
func TestAKernelThatRefusesTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runRelay(relayTOML)
		for range 100 {
			w.kernel.FailNext("-A", fmt.Errorf("scheduler rr: %w", syscall.ENOENT))
		}
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p := d.told(); !p.Reached || p.Ticks || len(p.SyncErrs) != 1 || len(p.Errs) != 0 {
			t.Errorf("pass %+v", p)
		}
		if s := d.Status(); len(s.Sync.Errors) != 1 || !strings.Contains(s.Sync.Errors[0], "169.254.88.50:8848") || !s.IPVS.InSync {
			t.Errorf("status %+v %+v", s.Sync, s.IPVS)
		}
		k.want(t, "all the same", fmt.Sprintf(bothOn, 11))
		w.reload(d, relayTOML)                                                                                                                                             // asks once more, and waits for the answer
		w.reload(d, strings.Replace(relayTOML, "[virtual_server.web]", "[virtual_server.more]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\n[virtual_server.web]", 1)) // is refused this time
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p := d.told(); !p.Ticks || len(p.SyncErrs) != 0 || !p.Reached {
			t.Errorf("when it is taken again: pass %+v", p)
		}
		w.wantClean(stop)
	})
}

// backup_only would keep a Master from scheduling.
func TestDaemonsFollowTheRolesWithBackupOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runRelay(relayTOML + "[ipvs]\nbackup_only = true\n")
		defer stop()
		k.want(t, "as Backup", "backup hasync0 7 #11")
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		k.want(t, "as Master", "master hasync0 7 #11")
		w.wantTable(fullTable + tickTable)
		w.reload(d, relayTOML)
		k.want(t, "without backup_only", fmt.Sprintf(bothOn, 11))
		if got := w.params.values["net.ipv4.vs.backup_only"]; got != "0" {
			t.Errorf("backup_only is %s", got)
		}
	})
}

// The mode and the sync id change by a reload, both ways, and a plan says how.
func TestAReloadToTheRelayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, k, stop := w.runRelay(pairTOML)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		k.want(t, "kernel", "master eth1 7 #0")
		for _, step := range []struct {
			name, toml, daemons, table string
			plan                       []string
		}{
			{"relay", relayTOML, fmt.Sprintf(bothOn, 11), fullTable + tickTable, []string{
				"ip link add hasync0 type dummy  # connection sync: the kernel's daemons talk here to this program alone",
				"ip link set hasync0 alias 'hadirector: connection sync' arp off multicast on",
				"ip addr add 169.254.88.49/32 dev hasync0",
				"ip link set hasync0 up",
				"ipvsadm --stop-daemon master",
				"ipvsadm --start-daemon master --mcast-interface hasync0 --syncid 7 --sync-maxlen 1",
				"ipvsadm --start-daemon backup --mcast-interface hasync0 --syncid 7",
				"ipvsadm -A -t 169.254.88.50:8848 -s rr  # tick of connection sync",
				"ipvsadm -a -t 169.254.88.50:8848 -r 169.254.88.49:8848 -g -w 1  # tick of connection sync",
			}},
			{"another sync id", strings.Replace(relayTOML, "sync_id   = 7", "sync_id   = 8", 1), strings.ReplaceAll(fmt.Sprintf(bothOn, 11), " 7 ", " 8 "), fullTable + tickTable, []string{
				"ipvsadm --stop-daemon master",
				"ipvsadm --start-daemon master --mcast-interface hasync0 --syncid 8 --sync-maxlen 1",
				"ipvsadm --stop-daemon backup",
				"ipvsadm --start-daemon backup --mcast-interface hasync0 --syncid 8",
			}},
			{"kernel again", pairTOML, "master eth1 7 #0", fullTable, []string{
				"ipvsadm --stop-daemon backup",
				"ipvsadm --stop-daemon master",
				"ipvsadm --start-daemon master --mcast-interface eth1 --syncid 7",
				"ip link del hasync0  # connection sync: the kernel's daemons talk here to this program alone",
				"ipvsadm -D -t 169.254.88.50:8848  # tick of connection sync",
			}},
			{"nothing more", pairTOML, "master eth1 7 #0", fullTable, nil},
		} {
			p := w.plan(d, step.toml)
			notParameters := slices.DeleteFunc(p.lines(), func(l string) bool { return strings.HasPrefix(l, "sysctl ") })
			if diff := cmp.Diff(step.plan, notParameters); diff != "" {
				t.Errorf("%s: plan -want +got:\n%s", step.name, diff)
			}
			w.kernel.Applied()
			w.reload(d, step.toml)
			if diff := cmp.Diff(p.commands(), w.kernel.Applied()); diff != "" {
				t.Errorf("%s: done, other than planned -want +got:\n%s", step.name, diff)
			}
			k.want(t, step.name, step.daemons)
			w.wantTable(step.table)
		}
		if w.private.now() != 0 || w.ledger.load().Private {
			t.Errorf("link %d, ledger %+v", w.private.now(), w.ledger.load())
		}
		w.wantClean(stop)
	})
}

func TestWithOnStopKeepTheNextRunStartsNoDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		keep := relayTOML + "\n[ipvs]\non_stop = \"keep\"\n"
		_, k, stop := w.runRelay(keep)
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		k.want(t, "after the stop", fmt.Sprintf(bothOn, 11))
		w.wantTable(fullTable)
		w.kernel.Applied()
		d, stop := w.run(keep)
		w.wantOps()
		k.want(t, "in the next run", fmt.Sprintf(bothOn, 11))
		if p := d.told(); p.Private.Index != 11 || p.Private.Made {
			t.Errorf("pass tells of %+v", p.Private)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}

		// The interface was deleted while nothing ran: the daemons are deaf.
		w.private.set(func() { w.private.index = 0 })
		d, stop = w.run(strings.Replace(keep, `"keep"`, `"release"`, 1))
		k.want(t, "in a run that makes another one", fmt.Sprintf(bothOn, 12))
		if n := d.Status().IPVS.Repaired; n != 0 {
			t.Errorf("%d repairs of what this run had not made", n)
		}
		w.wantClean(stop)
		k.want(t, "in the end", "")
	})
}

// A run that was killed has left everything, and the file asks for none of it now.
func TestWhatAKilledRelayHasLeftGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ledger.saved = owned(tickKey)
		w.ledger.saved.SyncDaemons, w.ledger.saved.Private = true, true
		w.kernel.Load(table(t, tickTable))
		w.private.index = 9
		for _, d := range syncd.RelayDaemons(7, true, true) {
			if err := w.kernel.ApplyDaemon(t.Context(), syncd.Start{Daemon: d}); err != nil {
				t.Fatal(err)
			}
		}
		_, k, stop := w.runRelay(pairTOML[:strings.Index(pairTOML, "[virtual_server")])
		defer stop()
		k.want(t, "at the start", "")
		w.wantTable("")
		if w.private.now() != 0 || w.ledger.load().Private || w.ledger.load().SyncDaemons {
			t.Errorf("link %d, ledger %+v", w.private.now(), w.ledger.load())
		}
	})
}

// A relay needs somebody to relay to.
func TestNothingIsRelayedAlone(t *testing.T) {
	one := strings.Replace(relayTOML, "[director.lb-b]\naddress  = \"10.0.0.12\"\npriority = 100\n", "", 1)
	d := Compile(parse(t, one), "lb-a", Facts{VRRP: map[string]vrrp.State{"web": vrrp.Master}})
	if d.Private || len(d.Daemons) != 0 || len(d.Table) != 1 || len(d.Parameters) != 0 {
		t.Errorf("%+v", d)
	}
	without := relayTOML[:strings.Index(relayTOML, "[virtual_server")] + "[check.alive]\ntype = \"tcp\"\n[sync]\nkey_file = \"/k\"\n"
	if d := Compile(parse(t, without), "lb-a", Facts{}); d.Private || len(d.Daemons) != 0 || len(d.Table) != 0 {
		t.Errorf("without virtual servers: %+v", d)
	}
}

// Directors without virtual routers all serve, so all tick.
func TestADirectorWithoutVirtualRoutersTicks(t *testing.T) {
	alone := relayTOML[:strings.Index(relayTOML, "[vrrp.web]")] + relayTOML[strings.Index(relayTOML, "[virtual_server"):]
	if d := Compile(parse(t, alone), "lb-a", Facts{}); len(d.Daemons) != 2 || d.Table.String() != fullTable+tickTable {
		t.Errorf("%+v:\n%s", d.Daemons, d.Table)
	}
}
