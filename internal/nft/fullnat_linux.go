package nft

import (
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"

	"github.com/hadirector/hadirector/ipvs"
)

// FullNAT gives connections that IPVS forwards by NAT another source address, by tables of
// its own. It may be used by any goroutine.
type FullNAT struct {
	mu      sync.Mutex // makes one transaction follow the other, and guards what follows
	known   bool       // written is what the tables were last made of
	written []ipvs.Translation
	// seen is the kernel's generation of all tables in which ours were last found whole;
	// 0: not yet.
	seen uint32
}

// NewFullNAT returns a FullNAT. It writes nothing yet.
func NewFullNAT() *FullNAT { return &FullNAT{} }

// Ensure makes these translations the ones that there are, for connections that begin from
// now on. Without any there is no table, and those that an earlier run has left are
// deleted; with some, what is right of an earlier run stays. It is cheap when there is
// nothing to do, so it may be called every second. It tells whether it wrote anything, and
// whether that was to put back what somebody else had changed.
func (f *FullNAT) Ensure(want []ipvs.Translation) (wrote, repaired bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := f.known && slices.Equal(want, f.written)
	if same && len(want) == 0 {
		return false, false, nil
	}
	// The tables may have a hundred thousand entries, and are read only if any table of the
	// machine has changed. What changes during the reading is seen the next time.
	now, err := generation()
	if err == nil && same && now == f.seen {
		return false, false, nil
	}
	if err == nil {
		wrote, err = writeFullNAT(want)
	}
	switch {
	case noTables(err) && len(want) == 0:
		// Then there are none of an earlier run.
	case err != nil:
		if noTables(err) {
			err = errNoTables(err)
		}
		f.known = false
		return false, false, fmt.Errorf("set full NAT%s: %w", some(want), err)
	}
	f.known, f.written, f.seen = true, slices.Clone(want), now
	return wrote, wrote && same, nil
}

// writeFullNAT brings the kernel's tables to what is wanted, and tells whether anything was
// to be done.
func writeFullNAT(want []ipvs.Translation) (wrote bool, err error) {
	entries := entriesOf(want)
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		changed, err := writeFamily(newNATTable(family), entries[family])
		wrote = wrote || changed
		if err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

// writeFamily does that for one family.
func writeFamily(t natTable, want natEntries) (bool, error) {
	there, err := exists(fullNATTable, t.table.Family)
	switch {
	case err != nil:
		return false, err
	case len(want) == 0 && !there:
		return false, nil
	case len(want) == 0:
		return true, t.remove()
	case !there:
		return true, t.create(want)
	}
	actual, whole, err := t.read()
	switch {
	case err != nil:
		return false, err
	case !whole:
		return true, t.create(want)
	}
	return t.change(actual, want)
}
