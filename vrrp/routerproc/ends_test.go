package routerproc

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

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
