package routerproc

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

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
