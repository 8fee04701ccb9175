package director

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/vrrp"
)

// A kernel that cannot be read any more ends this director's part also when a new
// configuration is waiting for it.
func TestUnreadableTableIsAFaultDuringAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		for range 100 {
			w.kernel.FailNext(ipvstest.ReadTable, syscall.EPERM)
		}
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(pairTOML, "weight = 1", "weight = 7", 1))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if in := w.vrrp.applied("web"); in.Fault == "" {
			t.Error("the virtual router takes part although the table cannot be read")
		}
	})
}

// A virtual router that a reload renames goes on under its old name until the kernel
// has the new configuration, and what it has reported under it may come later still.
func TestReportsOfARenamedVirtualRouter(t *testing.T) {
	for name, unread := range map[string]int{"while the reload waits": 100, "on their way": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(pairTOML)
				defer stop()
				w.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
				for range unread {
					w.kernel.FailNext(ipvstest.ReadTable, syscall.EPERM)
				}
				time.Sleep(resyncMin)
				synctest.Wait()
				if _, err := d.Reload(t.Context(), parse(t, strings.NewReplacer("[vrrp.web]", "[vrrp.site]", "weight = 1", "weight = 7").Replace(pairTOML))); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got, waits := w.vrrp.applied("site").Name == "", unread > 0; got != waits {
					t.Fatalf("the new name waits: %v, want %v", got, waits)
				}
				w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
				if _, err := d.Switchover(t.Context(), "the test", []string{"site"}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
