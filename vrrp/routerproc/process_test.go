package routerproc

import (
	"errors"
	"fmt"
	"log/slog"
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
