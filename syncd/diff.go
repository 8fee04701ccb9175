package syncd

import (
	"cmp"
	"slices"
)

// Config is where and under which id the kernel's daemons exchange messages.
type Config struct {
	Interface string // empty: the caller fills it in before it compares
	SyncID    uint8
	MaxLen    uint16 // 0: the kernel's choice
}

// Desired returns the daemons that should run, the master's first. master is
// whether any virtual router of this director is Master, backup whether any is not.
// A director that is Master for some addresses and not for others sends and
// receives.
func Desired(cfg Config, master, backup bool) []Daemon {
	var ds []Daemon
	for _, r := range []struct {
		role Role
		run  bool
	}{{RoleMaster, master}, {RoleBackup, backup}} {
		if r.run {
			ds = append(ds, Daemon{Role: r.role, Interface: cfg.Interface, SyncID: cfg.SyncID, MaxLen: cfg.MaxLen})
		}
	}
	return ds
}

// Diff returns the operations that make actual into desired, in the order in which
// they must be applied. Each list has at most one daemon per role.
//
// Daemons that should not run are stopped first: with the sysctl backup_only a
// director schedules nothing while its backup daemon runs, so a takeover stops
// the backup daemon before it starts the master daemon. A daemon that changes is
// stopped and started, since the kernel cannot edit one.
func Diff(desired, actual []Daemon) []Op {
	var stop, change []Op
	for _, have := range byRole(actual) {
		if !slices.ContainsFunc(desired, func(d Daemon) bool { return d.Role == have.Role }) {
			stop = append(stop, Stop{Role: have.Role})
		}
	}
	for _, want := range byRole(desired) {
		i := slices.IndexFunc(actual, func(d Daemon) bool { return d.Role == want.Role })
		switch {
		case i < 0:
			change = append(change, Start{Daemon: want})
		case !want.Matches(actual[i]):
			change = append(change, Stop{Role: want.Role}, Start{Daemon: want})
		}
	}
	return append(stop, change...)
}

func byRole(ds []Daemon) []Daemon {
	return slices.SortedFunc(slices.Values(ds), func(a, b Daemon) int { return cmp.Compare(a.Role, b.Role) })
}
