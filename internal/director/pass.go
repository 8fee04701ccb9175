package director

import (
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
	// Read says that the kernel's table could be read when that was last tried. Table is
	// what it held, with the changes that were made since, and Observed are the counts
	// that were read then.
	Read     bool
	Table    ipvs.Table
	Observed ipvs.Observed
	// Own are the services that this daemon, or the one before it, has made.
	Own map[ipvs.ServiceKey]bool
	// Changed are the services that were changed since: what Observed says of them may
	// be of before the change.
	Changed map[ipvs.ServiceKey]bool
	// DaemonsRead says that the kernel's sync daemons could be read, if it was asked
	// about them, and Daemons are those that ran when it was last asked.
	DaemonsRead bool
	Daemons     []syncd.Daemon
	// Done are the operations that the kernel accepted.
	Done []string
	// Drift are those that were needed because somebody else changed what an
	// earlier pass had reached.
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
