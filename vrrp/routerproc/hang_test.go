package routerproc

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

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
