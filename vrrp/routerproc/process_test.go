package routerproc

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/vrrp"
)

func expect(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

func TestChildIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		expect(t, "at the start", []string{"1 start json INFO"}, w.told())
		w.process.Apply(set("web", "db"))
		w.told()
		w.process.Apply(set("web"))
		w.process.HandOver("web", "db")
		w.process.Announce("web")
		expect(t, "afterwards", []string{"1 apply [web 150]", "1 hand-over [web db]", "1 announce [web]"}, w.told())
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		expect(t, "at the end", []string{"1 stop", "release all but nothing"}, w.told())
		expect(t, "reported", []string{"web master to stopped: shutdown"}, w.reported())
	})
}

// TestApplyWaitsForNobody has a child that does not read.
func TestApplyWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Logger: slog.New(slog.DiscardHandler)})
		for i := range 100 {
			p.Apply(set(fmt.Sprint(i)))
			p.HandOver("web")
		}
		if in := <-p.applied; in["99"].Name != "99" {
			t.Errorf("applied %v, want the newest", in)
		}
	})
}

func TestKilledChildsMasterIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web", "db", "new"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().says("db", vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		w.told()
		w.reported()

		w.child().end(errors.New("signal: killed"))
		expect(t, "after the end", []string{
			"release all but [db 150, new 150, web 150]",
			"2 start json INFO",
			"2 apply [db 150, new 150, web 150 adopt]",
		}, w.told())
		expect(t, "ends", []string{"1: signal: killed, pause 0s"}, w.ends.told())
		// The Backup has ended, and nobody has said so. The Master goes on.
		expect(t, "reported", []string{"db backup to stopped: failed"}, w.reported())
		if s := w.process.Status(); s.PID != 2 || s.Restarts != 1 {
			t.Errorf("status %+v", s)
		}
		if s := w.process.Snapshots()["web"].State; s != vrrp.Master {
			t.Errorf("web is %v meanwhile", s)
		}

		// Until it has reported, everything that is sent names it for adoption.
		w.process.Apply(set("web"))
		expect(t, "before its report", []string{"2 apply [web 150 adopt]"}, w.told())
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		w.process.Apply(set("web"))
		expect(t, "after its report", []string{"2 apply [web 150]"}, w.told())
		expect(t, "reported", []string{"web stopped to master: adopted"}, w.reported())
	})
}

// TestOtherVirtualRouterIsNotAdopted has a name that is another virtual router's since.
func TestOtherVirtualRouterIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().end(errors.New("signal: killed"))
		w.told()
		other := instance("web")
		other.ID.VRID = 77
		w.process.Apply(map[string]vrrp.Instance{"web": other})
		expect(t, "told", []string{"2 apply [web 150]"}, w.told())
	})
}

// TestRenamedMasterIsAdopted has a virtual router that changed its name as Master.
func TestRenamedMasterIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web", "db"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().says("db", vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		// The two change their names.
		web, db := instance("web"), instance("db")
		web.Name, db.Name = "db", "web"
		w.process.Apply(map[string]vrrp.Instance{"db": web, "web": db})
		w.told()
		w.child().end(errors.New("signal: killed"))
		expect(t, "told", []string{"2 apply [db 150 adopt, web 150]"}, w.told()[2:])
	})
}

// TestSecondDeathBeforeAdoption: what has not come back since the first end has been
// silent since then.
func TestSecondDeathBeforeAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().end(errors.New("signal: killed"))
		w.told()
		w.reported()
		time.Sleep(199 * time.Millisecond)
		w.child().end(errors.New("exit status 2"))
		expect(t, "within two intervals", []string{"3 apply [web 150 adopt]"}, w.told()[2:])
		expect(t, "reported", nil, w.reported())
		time.Sleep(time.Millisecond)
		w.process.Apply(set("web", "db"))
		expect(t, "later, to the same child", []string{"3 apply [db 150, web 150 adopt]"}, w.told())
	})
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().end(errors.New("signal: killed"))
		w.told()
		w.reported()
		time.Sleep(200 * time.Millisecond)
		w.child().end(errors.New("exit status 2"))
		expect(t, "after two intervals", []string{"3 apply [web 150]"}, w.told()[2:])
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
	})
}

func TestHungChildIsKilledAndNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(10 * time.Minute)
		w.told()
		w.reported()
		w.child().hang(true)
		time.Sleep(maxSilence * pingInterval)
		expect(t, "before its time", nil, w.told())
		time.Sleep(pingInterval)
		expect(t, "afterwards", []string{
			"1 killed",
			"release all but [web 150]",
			"2 apply [web 150]", // which is the spare one
		}, w.told())
		expect(t, "ends", []string{"1: no answer for 3s, killed, pause 0s"}, w.ends.told())
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
		if s := w.process.Snapshots()["web"]; s.State != vrrp.Initialize || s.Detail == "" {
			t.Errorf("snapshot %+v", s)
		}
	})
}

// TestDyingAfterASilenceIsNotAdopted: a child that was stopped and then killed has been
// silent for longer than it has been gone.
func TestDyingAfterASilenceIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().hang(true)
		time.Sleep(3 * pingInterval)
		w.told()
		w.child().end(errors.New("signal: killed"))
		expect(t, "told", []string{"2 apply [web 150]"}, w.told()[1:])
	})
}

// TestDyingWhileNobodyLooksIsNotAdopted: a parent that did not run does not know when its
// child ended. Both may have been stopped, and the child killed long ago.
func TestDyingWhileNobodyLooksIsNotAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // the tick and the end come at once
			w := newParent(t)
			w.process.Apply(set("web"))
			w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
			w.told()
			w.mu.Lock()
			w.stall = 5 * time.Second
			w.mu.Unlock()
			time.Sleep(pingInterval + time.Second)
			w.child().end(errors.New("signal: killed"))
			time.Sleep(5 * time.Second)
			if got := w.told(); !slices.Contains(got, "2 apply [web 150]") {
				t.Errorf("told %q, want no adoption", got)
			}
			w.stop()
		}
	})
}

// TestSlowStartIsNoHang: a child that has not said anything yet has more time.
func TestSlowStartIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.child().hang(true)
		w.told()
		time.Sleep(maxStartSilence * pingInterval)
		expect(t, "before its time", nil, w.told())
		time.Sleep(pingInterval)
		expect(t, "afterwards", []string{"1 killed"}, w.told()[:1])
	})
}

// TestOwnStallDoesNotCount: on a machine that stood still, the first tick comes before the
// child's answer is read.
func TestOwnStallDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &parentWorld{t: t}
		c := &fakeChild{parentWorld: w, pid: 1, exit: make(chan error, 1)}
		k := &kid{Child: c, talks: true, silence: 0}
		time.Sleep(time.Hour)
		k.tick()
		if k.silence != 1 || k.killed != "" {
			t.Errorf("silence %d, killed %q", k.silence, k.killed)
		}
		k.heard(fromChild{Pong: &pong{}})
		k.tick()
		if k.silence != 0 || !k.pinging {
			t.Errorf("silence %d after an answer", k.silence)
		}
	})
}

// TestRepeatedEndsGiveWay: the third child in a row that follows a Master hands over to
// another director if there is one, and goes on if there is none. It is trusted again after
// a while.
func TestRepeatedEndsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		for range 2 {
			w.child().end(errors.New("exit status 2"))
			w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		}
		w.told()
		w.reported()
		w.child().end(errors.New("exit status 2"))
		expect(t, "the third time", []string{
			"release all but [web 150]", "4 start json INFO", "4 apply [web 150 adopt] give way",
		}, w.told())
		expect(t, "ends", []string{
			"1: exit status 2, pause 0s", "2: exit status 2, pause 0s", "3: exit status 2, pause 1s, gives way",
		}, w.ends.told())
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		w.process.Apply(set("web", "db"))
		expect(t, "a reload", []string{"4 apply [db 150, web 150] give way"}, w.told())
		time.Sleep(999 * time.Millisecond)
		expect(t, "before the pause is over", []string{"5 start json INFO"}, w.told()) // the spare one
		time.Sleep(pingInterval)
		expect(t, "after it", []string{"4 apply [db 150, web 150]"}, w.told()[:1])

		// One that has run for a while begins anew; how long it was the spare one before
		// does not count.
		time.Sleep(steady)
		w.told()
		for range 3 {
			w.child().end(errors.New("exit status 2"))
			w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		}
		expect(t, "after a while", []string{
			"4: exit status 2, pause 0s", "5: exit status 2, pause 0s", "6: exit status 2, pause 1s, gives way",
		}, w.ends.told())
	})
}

// TestRepeatedEndsArePutOff: a child that ends while it gives way, or that is Master of
// nothing, does not help anybody.
func TestRepeatedEndsArePutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		for range 3 {
			w.child().end(errors.New("exit status 2"))
			w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		}
		w.told()
		w.reported()
		w.ends.told()
		w.child().end(errors.New("exit status 2"))
		expect(t, "the fourth time", []string{"release all but nothing"}, w.told())
		expect(t, "ends", []string{"4: exit status 2, pause 2s"}, w.ends.told())
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
		if s := w.process.Status(); s.PID != 0 || s.Restarts != 3 {
			t.Errorf("status %+v", s)
		}
		// Meanwhile nothing is in the way.
		w.process.Apply(set("web", "db"))
		w.process.HandOver("web")
		time.Sleep(2*time.Second - 1)
		expect(t, "before the pause is over", nil, w.told())
		time.Sleep(time.Nanosecond)
		expect(t, "after it", []string{"5 start json INFO", "5 apply [db 150, web 150]"}, w.told())
		w.child().says("web", vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		w.child().end(errors.New("exit status 2"))
		expect(t, "the fifth time, as a Backup", []string{"release all but nothing"}, w.told())
		expect(t, "ends", []string{"5: exit status 2, pause 4s"}, w.ends.told())
	})
}

// TestStoppedChildIsKilledAndAdopted: a signal that stops the child alone is noticed at
// once, long before another director misses it.
func TestStoppedChildIsKilledAndAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.told()
		w.child().halt()
		expect(t, "told", []string{
			"1 killed", "release all but [web 150]", "2 start json INFO", "2 apply [web 150 adopt]",
		}, w.told())
		expect(t, "ends", []string{"1: stopped by a signal, killed, pause 0s"}, w.ends.told())
	})
}

// TestChildStoppedWithItsParentGoesOn: on a machine that stood still the child finds out
// itself that it is late.
func TestChildStoppedWithItsParentGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.told()
		w.mu.Lock()
		w.stall = 5 * time.Second
		w.mu.Unlock()
		time.Sleep(pingInterval + time.Second)
		w.child().halt()
		time.Sleep(5 * time.Second)
		if got := w.told(); slices.Contains(got, "1 killed") {
			t.Errorf("told %q", got)
		}
	})
}

// TestChildThatCannotBeKilled: one that hangs in the kernel, or that a debugger has, is left
// behind. By then it has been gone for too long to be adopted.
func TestChildThatCannotBeKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(pingInterval) // for the spare child
		time.Sleep(time.Millisecond)
		w.told()
		w.reported()
		w.mu.Lock()
		stuck := w.children[0]
		stuck.immortal = true
		w.mu.Unlock()
		stuck.halt()
		expect(t, "at once", []string{"1 killed"}, w.told())
		time.Sleep(reapPatience)
		expect(t, "after a while", []string{"release all but [web 150]", "2 apply [web 150]"}, w.told())
		time.Sleep(2 * reapPatience)
		expect(t, "ends", []string{"1: stopped by a signal, killed, pause 0s"}, w.ends.told())
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		stuck.end(nil)
	})
}

// TestChildThatEndsBeforeItSpeaks: what it was to adopt stays for the next one, unless it
// hung.
func TestChildThatEndsBeforeItSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().end(errors.New("signal: killed"))
		w.told()
		w.child().end(errors.New("signal: killed"))
		expect(t, "killed", []string{"release all but [web 150]", "3 start json INFO", "3 apply [web 150 adopt]"}, w.told())
	})
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().hang(true)
		time.Sleep(maxStartSilence * pingInterval)
		w.told()
		time.Sleep(pingInterval)
		expect(t, "hung", []string{"1 killed", "release all but nothing", "2 start json INFO", "2 apply [web 150]"}, w.told())
	})
}

// TestChildThatSaysRubbishIsKilled: its connection is of no use, and it would write beside
// the next one.
func TestChildThatSaysRubbishIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.told()
		if _, err := w.child().pipe.conn.Write([]byte("\x00\x00\x00\x01x")); err != nil {
			t.Fatal(err)
		}
		expect(t, "told", []string{"1 killed"}, w.told()[:1])
		expect(t, "ends", []string{
			"1: decode *routerproc.fromChild: no message: invalid character 'x' looking for beginning of value, killed, pause 0s",
		}, w.ends.told())
	})
}

func TestChildThatCannotBeStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.spawning(errors.New("no memory"))
		w.told()
		w.reported()
		w.child().end(errors.New("signal: killed"))
		expect(t, "after the end", []string{"not spawned", "release all but nothing"}, w.told())
		expect(t, "ends", []string{"0: no memory, pause 1s", "1: signal: killed, pause 0s"}, slices.Sorted(slices.Values(w.ends.told())))
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
		w.spawning(nil)
		time.Sleep(time.Second)
		expect(t, "a second later", []string{"2 start json INFO", "2 apply [web 150]"}, w.told())
	})
}

// TestPings: a ping says whether the director loop lives, and follows the log's level.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		alive := func() (list []bool) {
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, m := range w.pings {
				list = append(list, m.Alive)
			}
			w.pings = nil
			return list
		}
		time.Sleep(2 * pingInterval)
		if diff := cmp.Diff([]bool{false, false}, alive()); diff != "" {
			t.Errorf("with a loop that hangs: %s", diff)
		}
		<-w.pulse
		time.Sleep(2 * pingInterval)
		if diff := cmp.Diff([]bool{true, false}, alive()); diff != "" {
			t.Errorf("with one sign of life: %s", diff)
		}
		<-w.pulse
		select {
		case <-w.pulse:
			t.Error("two signs of life are wanted between two pings")
		case <-time.After(pingInterval / 2):
		}
		w.level.Set(slog.LevelDebug)
		time.Sleep(pingInterval)
		w.mu.Lock()
		if m := w.pings[0]; m.LogLevel != slog.LevelDebug || !m.Alive {
			t.Errorf("ping %+v", m)
		}
		w.mu.Unlock()
	})
}

func TestSnapshotsAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().pipe.out <- fromChild{Facts: &Facts{Realtime: true, Locked: true}}
		w.child().says("web", vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		if s := w.process.Snapshots()["web"].State; s != vrrp.Backup {
			t.Errorf("after its report it is %v", s)
		}
		begin := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := w.process.Snapshots()["web"].Counters.AdvertsSent; n == 0 {
			t.Error("no counters after a second")
		}
		s := w.process.Status()
		if want := (Facts{true, true}); s.Facts != want || s.PID != 1 || s.Since != begin || s.Answered.Sub(begin) < pingInterval {
			t.Errorf("status %+v", s)
		}
	})
}

// TestReportsWaitForTheirReader: none is lost, doubled or out of order, and the child does
// not wait.
func TestReportsWaitForTheirReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		const n = 500
		for i := range n {
			w.child().says(fmt.Sprint(i), vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		}
		got := w.reported()
		if len(got) != n {
			t.Fatalf("%d reports, want %d", len(got), n)
		}
		for i, text := range got {
			if want := fmt.Sprintf("%d stopped to backup: startup", i); text != want {
				t.Fatalf("report %d is %q", i, text)
			}
		}
	})
}

func TestChildThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		slow := set("web")
		in := slow["web"]
		in.AdvertInterval = 10 * time.Second
		slow["web"] = in
		w.process.Apply(slow)
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.child().stays = true
		w.told()
		w.reported()
		begin := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		// Half as long again as the interval for the hand-over, and five seconds.
		if d := time.Since(begin); d != 20*time.Second {
			t.Errorf("it had %v", d)
		}
		expect(t, "told", []string{
			"1 stop", "1 killed",
			`log level=WARN msg="vrrp process did not end in order, taking away what it left" err="did not stop in time, killed"`,
			"release all but nothing",
		}, w.told())
		expect(t, "reported", []string{"web master to stopped: failed"}, w.reported())
	})
}

func TestStopWithoutAChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		w.spawning(errors.New("no memory"))
		w.child().end(errors.New("signal: killed"))
		w.told()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		expect(t, "told", nil, w.told())
	})
}

func TestStopWithoutAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		for i := range 20 { // more than the channel holds
			w.child().says(fmt.Sprint(i), vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		}
		w.told()
		begin := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != reportPatience {
			t.Errorf("it waited %v", d)
		}
		// Those that the channel did not hold, and the ends, which this child did not report.
		expect(t, "told", []string{
			"1 stop", "release all but nothing",
			`log level=WARN msg="transitions were not reported, nobody reads them" count=25`,
		}, w.told())
	})
}

func TestSpareChildTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.told()
		w.reported()
		time.Sleep(pingInterval)
		expect(t, "when the first one runs", []string{"2 start json INFO"}, w.told())
		if s := w.process.Status(); s.Spare != 0 {
			t.Errorf("status %+v before it is ready", s)
		}
		w.children[1].pipe.out <- fromChild{Facts: &Facts{Locked: true}}
		synctest.Wait()
		if s := w.process.Status(); s.PID != 1 || s.Spare != 2 || s.Locked {
			t.Errorf("status %+v", s)
		}
		time.Sleep(10 * time.Minute)
		expect(t, "as long as nothing happens", nil, w.told())

		begin := time.Now()
		w.child().end(errors.New("signal: killed"))
		expect(t, "after its end", []string{
			"release all but [web 150]", "2 apply [web 150 adopt]",
		}, w.told())
		if s := w.process.Status(); s.PID != 2 || s.Spare != 0 || s.Restarts != 1 || !s.Locked || s.Since != begin {
			t.Errorf("status %+v", s)
		}
		time.Sleep(pingInterval)
		expect(t, "and the next", []string{"3 start json INFO"}, w.told())
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		expect(t, "the end", []string{"3 killed", "2 stop", "release all but nothing"}, w.told())
	})
}

// TestSpareChildHangs: it is replaced like the active one, and not made active.
func TestSpareChildHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(time.Minute)
		w.told()
		w.children[1].hang(true)
		time.Sleep((maxSilence + 3) * pingInterval)
		expect(t, "afterwards", []string{
			"2 killed", `log level=WARN msg="spare vrrp process ended" err="no answer for 3s, killed" duration=1s`, "3 start json INFO",
		}, w.told())
		w.children[2].hang(true)
		time.Sleep(2 * pingInterval)
		w.child().end(errors.New("signal: killed"))
		expect(t, "while it hangs", []string{
			"3 killed", "release all but [web 150]",
			"4 start json INFO", "4 apply [web 150 adopt]",
		}, w.told())
	})
}

// TestSpareChildThatCannotBeStarted: the active one goes on, and pauses grow.
func TestSpareChildThatCannotBeStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.spawning(errors.New("no memory"))
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.told()
		time.Sleep(time.Hour)
		n := len(w.told())
		if n < 200 || n > 300 { // two lines each, mostly every 30 seconds
			t.Errorf("%d lines in an hour", n)
		}
		w.spawning(nil)
		time.Sleep(maxPause + pingInterval)
		expect(t, "afterwards", []string{"2 start json INFO"}, w.told())
	})
}

// TestBothChildrenEnd at the same moment: a third one is started.
func TestBothChildrenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		time.Sleep(time.Second)
		w.told()
		w.reported()
		w.children[0].end(errors.New("signal: killed"))
		w.children[1].end(errors.New("signal: killed"))
		synctest.Wait()
		if c := w.child(); c.pid != 3 {
			t.Fatalf("%d is active", c.pid)
		}
		lines := w.told()
		expect(t, "told", []string{"3 apply [web 150 adopt]"}, lines[len(lines)-1:])
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		expect(t, "reported", []string{"web stopped to master: adopted"}, w.reported())
	})
}

// TestEndComesBeforeWhatFollows: what the next child reports waits until it is known why
// the one before ended.
func TestEndComesBeforeWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParent(t)
		defer w.stop()
		w.process.Apply(set("web"))
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonMasterDown)
		w.reported()
		first := w.child()
		first.pipe.conn.Close() // the kernel has not taken it apart yet
		w.child().says("web", vrrp.Initialize, vrrp.Master, vrrp.ReasonAdopted)
		expect(t, "reported meanwhile", nil, w.reported())
		expect(t, "ended meanwhile", nil, w.ends.told())
		first.exit <- errors.New("signal: killed")
		expect(t, "reported", []string{"web stopped to master: adopted"}, w.reported())
		expect(t, "ends", []string{"1: signal: killed, pause 0s"}, w.ends.told())
	})
}
