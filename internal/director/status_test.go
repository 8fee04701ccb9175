package director

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

func TestHoldsBack(t *testing.T) {
	at := time.Unix(1000, 0)
	backup := func(f func(*vrrp.Snapshot)) vrrp.Snapshot {
		s := vrrp.Snapshot{
			State: vrrp.Backup, Reason: vrrp.ReasonStartup, Since: at.Add(-time.Second),
			Params: vrrp.Params{Priority: 150, Preempt: true}, MasterAddr: netip.MustParseAddr("10.0.0.12"), MasterPriority: 100,
		}
		f(&s)
		return s
	}
	for _, tt := range []struct {
		name    string
		preempt conf.Preempt
		s       vrrp.Snapshot
		want    string
	}{
		{"about to preempt", conf.PreemptWhenReady, backup(func(*vrrp.Snapshot) {}), ""},
		{"not ready", conf.PreemptWhenReady, backup(func(s *vrrp.Snapshot) { s.Params.Preempt = false }),
			"leaves the Master alone, whose priority 100 is lower: not ready"},
		{"never", conf.PreemptNever, backup(func(s *vrrp.Snapshot) { s.Params.Preempt = false }),
			"leaves the Master alone, whose priority 100 is lower (preempt = false)"},
		{"delay", conf.PreemptAlways, backup(func(s *vrrp.Snapshot) { s.Params.PreemptDelay = 5 * time.Second }),
			"leaves the Master alone, whose priority 100 is lower, for 5s (preempt_delay)"},
		{"a better Master", conf.PreemptNever, backup(func(s *vrrp.Snapshot) { s.MasterPriority, s.Params.Preempt = 150, false }), ""},
		{"a Master that leaves", conf.PreemptNever, backup(func(s *vrrp.Snapshot) { s.MasterPriority, s.Params.Preempt = 0, false }), ""},
		{"an owner", conf.PreemptNever, backup(func(s *vrrp.Snapshot) { s.Params.Priority, s.Params.Preempt = 255, false }), ""},
		{"Master itself", conf.PreemptNever, backup(func(s *vrrp.Snapshot) { s.State, s.Params.Preempt = vrrp.Master, false }), ""},
		{"not listening yet", conf.PreemptAlways, backup(func(s *vrrp.Snapshot) { s.MasterAddr, s.Params.StartDelay = netip.Addr{}, 4*time.Second }),
			"does not listen for another 3s (start_delay)"},
		{"listening", conf.PreemptAlways, backup(func(s *vrrp.Snapshot) { s.MasterAddr, s.Params.StartDelay = netip.Addr{}, time.Second }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := holdsBack(tt.s, tt.preempt, at); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
