package director

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// The reconciler's pace. A pass that failed is repeated after retryMin, then after
// twice as long each time up to retryMax. A pass that succeeded is repeated after
// resyncMin to find what others changed, or later, up to resyncMax, if reading the
// kernel's table would otherwise take more than a tenth of the time.
const (
	retryMin    = 200 * time.Millisecond
	retryMax    = 5 * time.Second
	resyncMin   = time.Second
	resyncMax   = 5 * time.Second
	resyncShare = 10
)

// Pass is the outcome of one reconciliation.
type Pass struct {
	At time.Time
	// Reading is how long the kernel took to tell its table.
	Reading time.Duration
	// Desired is what the pass was to reach.
	Desired Desired
	// Reached says that the kernel could be read and now is as desired.
	Reached bool
	// Read says that the kernel's table could be read. Table and Observed are what
	// it held when it was last read, which is after the changes if there were any.
	Read     bool
	Table    ipvs.Table
	Observed ipvs.Observed
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

// reconciler makes the kernel agree with the newest desired state. It is the only
// writer of IPVS services, destinations and sync daemons, of firewall marks and full NAT,
// and of the kernel parameters that all this asks for.
type reconciler struct {
	kernel      Kernel
	marker      Marker
	translator  Translator
	params      Parameters
	ledger      Ledger
	interfaceOf func(netip.Addr) (string, error)
	interfaces  func() (map[string][]netip.Prefix, error)
	desired     mailbox[Desired]
	passes      chan<- Pass
	rehearsals  chan rehearsing

	owned   Owned
	unsaved bool // the last write of the ledger failed
	// fresh are the services that are wanted for the first time, until the kernel's
	// table has been read.
	fresh map[ipvs.ServiceKey]bool
	// reached and reachedDaemons are what the kernel was last brought to in full; nil:
	// nothing yet. What differs from them later, somebody else changed.
	reached        ipvs.Table
	reachedDaemons []syncd.Daemon
	marks          []ipvs.Marking     // as they were last written
	translations   []ipvs.Translation // as they were last written
}

// run works until ctx is canceled. It leaves the kernel as it is.
func (r *reconciler) run(ctx context.Context) error {
	var (
		want  Desired
		retry = retryMin
		timer = time.NewTimer(0)
	)
	defer timer.Stop()
	<-timer.C // nothing to do before the first desired state
	for {
		select {
		case <-ctx.Done():
			return nil
		case want = <-r.desired:
			retry = retryMin
		case <-timer.C:
		case asked := <-r.rehearsals:
			asked.answer <- r.rehearse(ctx, asked.script)
			continue
		}
		p := r.pass(ctx, want)
		if ctx.Err() != nil {
			return nil
		}
		next := min(max(resyncMin, resyncShare*p.Reading), resyncMax)
		if p.Reached {
			retry = retryMin
		} else {
			next, retry = retry, min(2*retry, retryMax)
		}
		select {
		case r.passes <- p:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(next)
	}
}

// pass reads the kernel, works out the difference and applies it. What the kernel
// refuses is collected and the rest still applied: one bad service must not keep
// the others from being served.
func (r *reconciler) pass(ctx context.Context, want Desired) Pass {
	p := Pass{At: time.Now(), Desired: want}
	if len(want.Table) == 0 && len(want.Daemons) == 0 && len(r.owned.Services) == 0 && !r.owned.SyncDaemons {
		// A director that only moves addresses needs no IPVS in its kernel.
		r.mark(nil, &p)
		r.translate(nil, &p)
		r.release(nil, &p)
		p.Read, p.Reached = true, len(p.Errs) == 0
		return p
	}
	// The ledger is written before the kernel: a service that is in the ledger and
	// not in the kernel does no harm, the other way round it would be orphaned.
	r.own(want, &p)
	// A connection is translated as it is when it begins, so that comes before its service.
	// It also brings connection tracking into the kernel, which has parameters of its own.
	translations := withOld(want.Translations, r.translations)
	r.translate(translations, &p)
	// Parameters come before the first connection, and go after the last.
	params, known := r.parameters(want, &p)
	// Packets that have a mark without a service go on to the service of their address,
	// so new marks come before the table, and old ones go after it. The old ones come
	// last, and win until then.
	both := union(want.Marks, r.marks)
	r.mark(both, &p)
	// A takeover changes the daemons alone, and they should not wait for a long
	// table. At the start the table comes first: what a backup daemon takes in binds
	// only to real servers that are there.
	if r.reached == nil {
		r.table(ctx, want, &p)
		r.daemons(ctx, want, &p)
	} else {
		r.daemons(ctx, want, &p)
		r.table(ctx, want, &p)
	}
	if len(both) > len(want.Marks) {
		r.mark(want.Marks, &p)
	}
	if len(translations) > len(want.Translations) {
		r.translate(want.Translations, &p)
	}
	if known {
		r.release(params, &p)
	}
	p.Reached = p.Read && len(p.Errs) == 0
	r.disown(want, &p)
	return p
}

// table brings the kernel's services and destinations to what is wanted.
func (r *reconciler) table(ctx context.Context, want Desired, p *Pass) {
	start := time.Now()
	actual, observed, err := r.kernel.Table(ctx)
	p.Reading = time.Since(start)
	if err != nil {
		p.Errs = append(p.Errs, err)
		return
	}
	for key := range r.fresh {
		if _, there := actual[key]; there {
			p.Adopted = append(p.Adopted, key.String())
		}
	}
	r.fresh = nil
	p.Read, p.Table, p.Observed = true, actual, observed
	own := func(k ipvs.ServiceKey) bool { return r.owned.Services[k] }
	ops := ipvs.Diff(want.Table, actual, own)
	if len(ops) == 0 {
		r.reached = want.Table
		return
	}
	if r.reached != nil {
		for _, op := range ipvs.Diff(r.reached, actual, nil) {
			p.Drift = append(p.Drift, op.String())
		}
	}
	refused := make(map[ipvs.ServiceKey]bool)
	failed := false
	for _, op := range ops {
		if refused[serviceOf(op)] {
			continue // its destinations would only fail for the same reason
		}
		if err := r.kernel.Apply(ctx, op); err != nil {
			p.Errs = append(p.Errs, err)
			failed = true
			if add, ok := op.(ipvs.AddService); ok {
				refused[add.Service.Key] = true
			}
			continue
		}
		p.Done = append(p.Done, op.String())
	}
	if !failed {
		r.reached = want.Table
	}
	if actual, observed, err := r.kernel.Table(ctx); err == nil {
		p.Table, p.Observed = actual, observed
	}
}

// serviceOf is the service of a destination's operation; of a service's own, none.
func serviceOf(op ipvs.Op) ipvs.ServiceKey {
	switch op := op.(type) {
	case ipvs.AddDestination:
		return op.Service
	case ipvs.EditDestination:
		return op.Service
	case ipvs.DeleteDestination:
		return op.Service
	}
	return ipvs.ServiceKey{}
}

// daemons brings the kernel's sync daemons to what is wanted. They are left alone
// as long as the configuration has never asked for any.
func (r *reconciler) daemons(ctx context.Context, want Desired, p *Pass) {
	if len(want.Daemons) == 0 && !r.owned.SyncDaemons {
		return
	}
	actual, err := r.kernel.Daemons(ctx)
	if err != nil {
		p.Errs = append(p.Errs, err)
		return
	}
	p.DaemonsRead, p.Daemons = true, actual
	wanted, err := r.resolve(want)
	if err != nil {
		p.Errs = append(p.Errs, err)
		return
	}
	ops := syncd.Diff(wanted, actual)
	if len(ops) == 0 {
		r.reachedDaemons = wanted
		return
	}
	drift := r.reachedDaemons != nil && slices.Equal(wanted, r.reachedDaemons)
	failed := false
	for _, op := range ops {
		if err := r.kernel.ApplyDaemon(ctx, op); err != nil {
			p.Errs = append(p.Errs, err)
			failed = true
			continue
		}
		p.Done = append(p.Done, op.String())
		if drift {
			p.Drift = append(p.Drift, op.String())
		}
	}
	if !failed {
		r.reachedDaemons = wanted
	}
	if p.Daemons, err = r.kernel.Daemons(ctx); err != nil {
		p.DaemonsRead = false
		p.Errs = append(p.Errs, err)
	}
}

// resolve names the interface of the daemons that are to use the one that holds the
// director's address.
func (r *reconciler) resolve(want Desired) ([]syncd.Daemon, error) {
	wanted := append([]syncd.Daemon{}, want.Daemons...)
	for i := range wanted {
		if wanted[i].Interface == "" {
			name, err := r.interfaceOf(want.SyncAddr)
			if err != nil {
				return nil, fmt.Errorf("find the interface for connection sync: %w", err)
			}
			wanted[i].Interface = name
		}
	}
	return wanted, nil
}

// own enters into the ledger what the pass is about to make.
func (r *reconciler) own(want Desired, p *Pass) {
	next := Owned{Services: maps.Clone(r.owned.Services), SyncDaemons: r.owned.SyncDaemons || len(want.Daemons) > 0, Leaving: want.Leaving}
	if next.Services == nil {
		next.Services = make(map[ipvs.ServiceKey]bool)
	}
	for k := range want.Table {
		if !next.Services[k] {
			if r.fresh == nil {
				r.fresh = make(map[ipvs.ServiceKey]bool)
			}
			r.fresh[k] = true
		}
		next.Services[k] = true
	}
	r.save(next, p)
}

// disown strikes from the ledger what is neither wanted nor there any more, whatever
// else went wrong: the next service with that key would be somebody else's.
func (r *reconciler) disown(want Desired, p *Pass) {
	next := Owned{Services: make(map[ipvs.ServiceKey]bool, len(want.Table)), SyncDaemons: r.owned.SyncDaemons, Leaving: want.Leaving}
	for k := range r.owned.Services {
		_, wanted := want.Table[k]
		_, there := p.Table[k]
		if wanted || there || !p.Read {
			next.Services[k] = true
		}
	}
	if len(want.Daemons) == 0 && p.DaemonsRead && len(p.Daemons) == 0 {
		next.SyncDaemons = false
	}
	r.save(next, p)
}

// save writes the ledger if it changed, or if the last write failed.
func (r *reconciler) save(next Owned, p *Pass) {
	if !r.unsaved && maps.Equal(next.Services, r.owned.Services) && next.SyncDaemons == r.owned.SyncDaemons && maps.Equal(next.Leaving, r.owned.Leaving) {
		return
	}
	r.owned = next
	p.LedgerErr = r.ledger.Save(next)
	r.unsaved = p.LedgerErr != nil
}
