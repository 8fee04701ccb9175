package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// The reconciler's pace. A pass that failed is repeated after retryMin, then after
// twice as long each time up to retryMax. A pass that succeeded is repeated after
// resyncMin to find what others changed, or later if reading the kernel's table is
// so slow that this would take more than a twentieth of the time.
const (
	retryMin    = 200 * time.Millisecond
	retryMax    = 30 * time.Second
	resyncMin   = time.Second
	resyncShare = 20
)

// Pass is the outcome of one reconciliation.
type Pass struct {
	At       time.Time
	Duration time.Duration
	// Desired is what the pass was to reach.
	Desired Desired
	// Reached says that the kernel could be read and now is as desired.
	Reached bool
	// Read says that the kernel could be read; Table and Observed are what it held
	// when it was last read, which is after the changes if there were any.
	Read     bool
	Table    ipvs.Table
	Observed ipvs.Observed
	Daemons  []syncd.Daemon
	// Done are the operations that the kernel accepted.
	Done []string
	// Drift says that the operations repair what somebody else changed: the
	// desired state is the one that was reached before.
	Drift bool
	// Errs are what the kernel refused.
	Errs []error
	// LedgerErr is why the ledger could not be written. The kernel is programmed
	// all the same; only the clean-up after a crash would miss something.
	LedgerErr error
}

// reconciler makes the kernel agree with the newest desired state. It is the only
// writer of IPVS services, destinations and sync daemons.
type reconciler struct {
	kernel      Kernel
	ledger      Ledger
	interfaceOf func(netip.Addr) (string, error)
	desired     mailbox[Desired]
	passes      chan<- Pass

	owned   Owned
	unsaved bool // the last write of the ledger failed
	// reached says that the desired state now in hand was reached before.
	reached bool
}

// run works until ctx is canceled. It leaves the kernel as it is: see clean.
func (r *reconciler) run(ctx context.Context) error {
	var (
		want  Desired
		have  bool // want is set
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
			have, r.reached, retry = true, false, retryMin
		case <-timer.C:
		}
		if !have {
			continue
		}
		p := r.pass(ctx, want)
		if ctx.Err() != nil {
			return nil
		}
		next := max(resyncMin, resyncShare*p.Duration)
		if !p.Reached {
			next, retry = retry, min(2*retry, retryMax)
		} else {
			retry = retryMin
		}
		r.reached = r.reached || p.Reached
		select {
		case r.passes <- p:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(next)
	}
}

// clean takes away everything that is the daemon's own.
func (r *reconciler) clean(ctx context.Context) Pass {
	r.reached = false
	return r.pass(ctx, Desired{})
}

// pass reads the kernel, works out the difference and applies it. What the kernel
// refuses is collected and the rest still applied: one bad service must not keep
// the others from being served.
func (r *reconciler) pass(ctx context.Context, want Desired) (p Pass) {
	p = Pass{At: time.Now(), Desired: want}
	defer func() { p.Duration = time.Since(p.At) }()

	if len(want.Table) == 0 && len(want.Daemons) == 0 && len(r.owned.Services) == 0 && !r.owned.SyncDaemons {
		// A director that only moves addresses needs no IPVS in its kernel.
		p.Read, p.Reached = true, true
		return p
	}
	table, observed, err := r.kernel.Table(ctx)
	if err != nil {
		p.Errs = append(p.Errs, err)
		return p
	}
	p.Read, p.Table, p.Observed = true, table, observed

	// The ledger is written before the kernel: a service that is in the ledger and
	// not in the kernel does no harm, the other way round it would be orphaned.
	r.own(want, &p)
	for _, op := range ipvs.Diff(want.Table, table, func(k ipvs.ServiceKey) bool { return r.owned.Services[k] }) {
		if err := r.kernel.Apply(ctx, op); err != nil {
			p.Errs = append(p.Errs, err)
			continue
		}
		p.Done = append(p.Done, op.String())
	}
	r.daemons(ctx, want, &p)
	if len(p.Done) > 0 {
		if table, observed, err := r.kernel.Table(ctx); err == nil {
			p.Table, p.Observed = table, observed
		}
	}
	p.Reached = len(p.Errs) == 0
	p.Drift = r.reached && len(p.Done) > 0
	if p.Reached {
		r.disown(want, &p)
	}
	return p
}

// daemons brings the kernel's sync daemons to what is wanted. They are left alone
// as long as the configuration has never asked for any.
func (r *reconciler) daemons(ctx context.Context, want Desired, p *Pass) {
	if len(want.Daemons) == 0 && !r.owned.SyncDaemons {
		return
	}
	daemons := make([]syncd.Daemon, len(want.Daemons))
	for i, d := range want.Daemons {
		if d.Interface == "" {
			name, err := r.interfaceOf(want.SyncAddr)
			if err != nil {
				p.Errs = append(p.Errs, fmt.Errorf("find the interface for connection sync: %w", err))
				return
			}
			d.Interface = name
		}
		daemons[i] = d
	}
	actual, err := r.kernel.Daemons(ctx)
	if err != nil {
		p.Errs = append(p.Errs, err)
		return
	}
	for _, op := range syncd.Diff(daemons, actual) {
		if err := r.kernel.ApplyDaemon(ctx, op); err != nil {
			p.Errs = append(p.Errs, err)
			continue
		}
		p.Done = append(p.Done, op.String())
	}
	p.Daemons = daemons
}

// own enters into the ledger what the pass is about to make.
func (r *reconciler) own(want Desired, p *Pass) {
	next := Owned{Services: maps.Clone(r.owned.Services), SyncDaemons: r.owned.SyncDaemons || len(want.Daemons) > 0}
	if next.Services == nil {
		next.Services = make(map[ipvs.ServiceKey]bool)
	}
	for k := range want.Table {
		next.Services[k] = true
	}
	r.save(next, p)
}

// disown strikes from the ledger what the pass has taken away.
func (r *reconciler) disown(want Desired, p *Pass) {
	next := Owned{Services: make(map[ipvs.ServiceKey]bool, len(want.Table)), SyncDaemons: len(want.Daemons) > 0}
	for k := range want.Table {
		next.Services[k] = true
	}
	r.save(next, p)
}

// save writes the ledger if it changed, or if the last write failed.
func (r *reconciler) save(next Owned, p *Pass) {
	if !r.unsaved && maps.Equal(next.Services, r.owned.Services) && next.SyncDaemons == r.owned.SyncDaemons {
		return
	}
	r.owned = next
	p.LedgerErr = r.ledger.Save(next)
	r.unsaved = p.LedgerErr != nil
}

// err joins what the kernel refused, nil if nothing.
func (p Pass) err() error { return errors.Join(p.Errs...) }
