package syncd_test

import (
	"net/netip"
	"testing"

	"github.com/hadirector/hadirector/syncd"
)

// The lines are ipvsadm 1.31's.
func TestDaemonListed(t *testing.T) {
	for _, tt := range []struct {
		d    syncd.Daemon
		want string
	}{
		{
			syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1", SyncID: 7, MaxLen: 1000, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1},
			"master sync daemon (mcast=eth1, syncid=7, maxlen=1000, group=224.0.0.81, port=8848, ttl=1)\n",
		},
		{
			syncd.Daemon{Role: syncd.RoleBackup, Interface: "eth1", MaxLen: 1452, Group: netip.MustParseAddr("ff05::81"), Port: 9000, TTL: 3},
			"backup sync daemon (mcast=eth1, syncid=0, maxlen=1452, group=ff05::81, port=9000, ttl=3)\n",
		},
		{syncd.Daemon{Role: syncd.RoleBackup, Interface: "eth0"}, "backup sync daemon (mcast=eth0, syncid=0)\n"},
	} {
		if got := tt.d.Listed(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
