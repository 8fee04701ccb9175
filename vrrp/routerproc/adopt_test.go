package routerproc

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

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
