package director

import (
	"maps"
	"slices"
	"time"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// Pass is the outcome of one reconciliation.
type Pass struct {
	At time.Time
	// ReadAt is when the kernel's table was last read, and Reading how long it took.
	ReadAt  time.Time
	Reading time.Duration
	// Desired is what the pass was to reach, without the table. Its generation is the newest
	// one whose outcome is known, and Newest the one that the pass has got to.
	Desired Desired
	Newest  uint64
	// Reached says that the kernel could be read and now is as desired.
	Reached bool
	// Read says that the kernel's table could be read when that was last tried. Observed are
	// the counts that were read then.
	Read     bool
	Observed ipvs.Observed
	shown    func() ipvs.Table // see Table
	// Own are the services that this daemon, or the one before it, has made.
	Own map[ipvs.ServiceKey]bool
	// Changed are the services that were changed since: what Observed says of them may
	// be of before the change.
	Changed map[ipvs.ServiceKey]bool
	// DaemonsRead says that the kernel's sync daemons could be read, if it was asked
	// about them, and Daemons are those that ran when it was last asked.
	DaemonsRead bool
	Daemons     []syncd.Daemon
	// Private is the private interface of the sync daemons, as it was when it was last
	// looked at, with what was done about it in this pass. Ticks says that the service of the
	// tick is in the kernel's table.
	Private PrivateState
	Ticks   bool
	// DaemonStarts counts the sync daemons that were started in this pass.
	DaemonStarts int
	// SyncErrs are what keeps the relay of connections from working, or what is left of it
	// from going away. Connections are balanced all the same.
	SyncErrs []error
	// Done are the operations that the kernel accepted.
	Done []string
	// Drift are the operations that undid what somebody else had changed of what an
	// earlier pass had reached, without those that the kernel refused.
	Drift []string
	// Adopted are the services that somebody else had made and the configuration
	// names now: they are ours from here on.
	Adopted []string
	// Errs are what the kernel refused or could not tell.
	Errs []error
	// Parameters are the kernel parameters that are asked for, and Released those that
	// are not any more. ParameterErr is why what they were is not known to the next run,
	// or which are asked for not to this one.
	Parameters   []ipvs.ParameterState
	Released     []ipvs.ParameterState
	ParameterErr error
	// LedgerErr is why the ledger could not be written. The kernel is programmed
	// all the same; only the clean-up after a crash would miss something.
	LedgerErr error
}

// Table is what the kernel's table held when it was last read, with the changes that were
// made since. Nobody writes to it.
func (p Pass) Table() ipvs.Table {
	if p.shown == nil {
		return nil
	}
	return p.shown()
}

// tableChange is an operation since the table was read, and those before it. For readers
// the table is put together when they ask, because it may be long, and few do.
type tableChange struct {
	op     ipvs.Op
	before *tableChange
}

// after returns the table that read was and that these changes have been made to. Nobody
// writes to either.
func (c *tableChange) after(read ipvs.Table) ipvs.Table {
	var ops []ipvs.Op
	for ; c != nil; c = c.before {
		ops = append(ops, c.op)
	}
	if len(ops) == 0 {
		return read
	}
	t, copied := maps.Clone(read), make(map[ipvs.ServiceKey]bool)
	for _, op := range slices.Backward(ops) {
		applyCopied(t, op, copied)
	}
	return t
}
