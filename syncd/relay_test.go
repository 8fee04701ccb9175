package syncd_test

import (
	"slices"
	"testing"

	"github.com/hadirector/hadirector/syncd"
)

func TestRelayDaemons(t *testing.T) {
	master := syncd.Daemon{Role: syncd.RoleMaster, Interface: "hasync0", SyncID: 51, MaxLen: 1}
	backup := syncd.Daemon{Role: syncd.RoleBackup, Interface: "hasync0", SyncID: 51}
	if got := syncd.RelayDaemons(51, true, true); !slices.Equal(got, []syncd.Daemon{master, backup}) {
		t.Errorf("got %v", got)
	}
	// The kernel gives a backup daemon that is asked for less no more than 1024 bytes.
	if got := backup.Running(1500).MaxLen; got != syncd.MaxMessage {
		t.Errorf("the backup daemon takes %d bytes, the relay sends up to %d", got, syncd.MaxMessage)
	}
}
