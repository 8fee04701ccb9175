package director

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestVRRPProcessIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		pulse, ends := make(chan struct{}), make(chan ProcessEnd)
		w.process = VRRPProcess{Pulse: pulse, Ends: ends, Status: func() ProcessStatus {
			return ProcessStatus{Up: true, PID: 7, Scheduling: "rr"}
		}}
		d, stop := w.run(pairTOML)
		// The loop shows itself alive as often as it is asked.
		for range 3 {
			select {
			case pulse <- struct{}{}:
			case <-time.After(time.Second):
				t.Fatal("the loop takes no pulse")
			}
		}
		ends <- ProcessEnd{PID: 7, Why: "signal: killed"}
		ends <- ProcessEnd{PID: 8, Why: "exit status 2", Pause: time.Second, GivesWay: true}
		ends <- ProcessEnd{Why: "no memory", Pause: time.Second}
		synctest.Wait()
		want := []string{
			"vrrp-process vrrp: ended, started again: signal: killed",
			"vrrp-process vrrp: ended again, started again and giving way to other directors for 1s: exit status 2",
			"vrrp-process vrrp: ended, its addresses are released, trying again in 1s: no memory",
		}
		if diff := cmp.Diff(want, w.recorded("vrrp-process")); diff != "" {
			t.Errorf("recorded, -want +got:\n%s", diff)
		}
		for _, line := range []string{
			`level=WARN msg="vrrp process ended, started again" err="signal: killed" pid=7`,
			`level=ERROR msg="vrrp process ended again, started again and giving way to other directors" err="exit status 2" pid=8 duration=1s`,
			`level=ERROR msg="vrrp process ended, its addresses are released, trying again later" err="no memory" duration=1s`,
		} {
			if len(w.logged(line)) != 1 {
				t.Errorf("not logged: %s", line)
			}
		}
		if s := d.Status().VRRPProcess; s == nil || s.PID != 7 {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStatusWithoutAVRRPProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, stop := newWorld(t).run(pairTOML)
		if s := d.Status().VRRPProcess; s != nil {
			t.Errorf("status %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
