package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// The reconciler's pace. A pass that failed is repeated after retryMin, then after
// twice as long each time up to retryMax. After one that succeeded the kernel's table is
// read again after resyncMin, to find what others changed, or later, up to resyncMax, if
// reading it would otherwise take more than a tenth of the time.
const (
	retryMin    = 200 * time.Millisecond
	retryMax    = 5 * time.Second
	resyncMin   = time.Second
	resyncMax   = 5 * time.Second
	resyncShare = 10

	// Most readings are quick ones, which miss what is seldom changed. One that is not
	// comes after wholeMin, or later if it would otherwise take more than a fiftieth of
	// the time.
	wholeMin   = 30 * time.Second
	wholeShare = 50

	// The kernel is given as many operations at once as take so long, and no more than
	// these: what is new does not wait for more.
	portionTime = 5 * time.Millisecond
	portionMax  = 64
)

// reconciler makes the kernel agree with the newest desired state. It is the only
// writer of IPVS services, destinations and sync daemons, of firewall marks and full NAT,
// and of the kernel parameters that all this asks for.
//
// A new desired state differs from the one before in a few services. The operations for
// these follow from what the kernel is known to hold, so they wait for nothing, however
// long the table is. The table itself is read beside that, in its own time, and compared
// in full. An operation that fails says that the kernel does not hold what it was taken
// for: the service is in doubt until the table has been read again.
type reconciler struct {
	kernel      Kernel
	marker      Marker
	translator  Translator
	params      Parameters
	privateLink PrivateLink
	ledger      Ledger
	interfaceOf func(netip.Addr) (string, error)
	interfaces  func() (map[string][]netip.Prefix, error)
	desired     mailbox[Desired]
	passes      chan<- Pass
	rehearsals  chan rehearsing
	waiting     []rehearsing // for the reading under way

	owned   Owned
	unsaved bool // the last write of the ledger failed
	// fresh are the services that are wanted for the first time, until one is known to be
	// of our own making or somebody else's.
	fresh map[ipvs.ServiceKey]bool

	// want is what the pass under way is to reach, and rest are the operations that it
	// still has to apply. next is its outcome so far.
	want Desired
	open bool // a pass is under way
	rest []ipvs.Op
	each time.Duration // that an operation has taken last; 0: not known
	next Pass
	// compared says that rest comes from a table that was read for this pass: what the
	// kernel refuses then is an error.
	compared bool
	// daemonsLast says that the sync daemons wait for the table.
	daemonsLast bool

	tableState
	retry   time.Duration // the next pause after a failure
	retryAt time.Time     // when the one under way is over

	daemonState
	parameterState
	// paths is told what probes may be sent. It was told last of opened, and there may be
	// news if pathsDue.
	paths    ProbePaths
	opened   map[uint32]bool
	pathsDue bool

	marks        []ipvs.Marking // as they were last written
	marked       bool           // the last time succeeded
	translations []ipvs.Translation
	translated   bool
}

// run works until ctx is canceled. It leaves the kernel as it is.
func (r *reconciler) run(ctx context.Context) error {
	r.retry = retryMin
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer r.endReading()
	defer r.refuseRehearsals()
	<-timer.C // nothing to do before the first desired state
	for {
		reads := r.reads
		if len(r.rest) > 0 {
			reads = nil // first what the last one has shown to be needed
		}
		rehearsals := r.rehearsals
		if r.want.Generation == 0 {
			rehearsals = nil // the first desired state is on its way
		}
		select {
		case <-ctx.Done():
			return nil
		case want := <-r.desired:
			r.retry = retryMin
			r.take(ctx, want)
		case got := <-reads:
			r.compare(ctx, got)
		case <-timer.C:
			r.look(ctx)
		case asked := <-rehearsals:
			r.ask(ctx, asked)
		}
		r.work(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !r.open || len(r.rest) > 0 {
			continue
		}
		p, told := r.finish(ctx)
		if told {
			select {
			case r.passes <- p:
			case <-ctx.Done():
				return nil
			}
		}
		pause := r.pause(p, told)
		if timer.Reset(max(pause, 0)); pause <= 0 {
			r.look(ctx)
		}
	}
}

// pass brings the kernel to what is wanted, reading its table first. It must not be
// called while run runs. Whatever run was cut off in has no part in it.
func (r *reconciler) pass(ctx context.Context, want Desired) Pass {
	r.want, r.rest, r.next = want, nil, Pass{}
	likely := r.likely()
	r.startAnew()
	if r.unneeded() {
		r.skip()
	} else {
		r.compare(ctx, r.read(ctx, likely))
	}
	for len(r.rest) > 0 && ctx.Err() == nil {
		r.work(ctx)
	}
	if n := len(r.rest); n > 0 {
		r.next.Errs = append(r.next.Errs, fmt.Errorf("%s and %d more operations: %w", r.rest[0], n-1, ctx.Err()))
	}
	p, told := r.finish(ctx)
	if !told {
		p = r.next
		p.Desired, p.Errs = want, []error{errors.New("compare the IPVS table: it is not known how the kernel is now")}
	}
	return p
}

// unneeded tells whether there is nothing to do with IPVS: a director that only moves
// addresses needs none in its kernel.
func (r *reconciler) unneeded() bool {
	return len(r.want.Table) == 0 && len(r.want.Daemons) == 0 && len(r.owned.Services) == 0 && !r.owned.SyncDaemons && !r.owned.Private
}

// take begins a pass to a new desired state.
func (r *reconciler) take(ctx context.Context, want Desired) {
	if want.Table = r.want.Table; want.Table == nil {
		want.Table = make(ipvs.Table, len(want.entries))
	}
	for key := range want.changed {
		if e, there := want.entries[key]; there {
			want.Table[key] = e
		} else {
			delete(want.Table, key)
		}
	}
	r.want = want
	if r.unneeded() {
		r.skip()
		return
	}
	r.looking = r.looking || want.look
	if r.known == nil {
		r.look(ctx)
		return
	}
	r.begin()
	r.compared, r.next.Errs = false, nil
	for key := range want.changed {
		r.pathsDue = r.pathsDue || key.FWMark != 0
	}
	r.openPaths()
	r.own(maps.Keys(want.changed))
	for key := range r.fresh {
		r.adopt(key)
	}
	if translations := withOld(want.Translations, r.translations); !r.translated || !slices.Equal(translations, r.translations) {
		r.translate(translations)
	}
	if !r.parametersReached() {
		r.parameters()
	}
	if marks := union(want.Marks, r.marks); !r.marked || !slices.Equal(marks, r.marks) {
		r.mark(marks)
	}
	// A takeover changes the daemons alone, and they should not wait for a long
	// table. At the start the table comes first: what a backup daemon takes in binds
	// only to real servers that are there.
	if !r.daemonsLast && !r.daemonsReached() {
		r.daemons(ctx)
	}
	// What is new comes before what is left of the pass before.
	rest := r.differenceOf(want.changed)
	for _, op := range r.rest {
		if !want.changed[ipvs.ServiceOf(op)] {
			rest = append(rest, op)
		}
	}
	r.rest, r.soon = rest, r.soon || len(rest) > 0
}

// compare begins a pass with the table that was read.
func (r *reconciler) compare(ctx context.Context, got reading) {
	r.reads = nil
	if r.stale {
		r.stale, r.aside, r.due = false, false, false
		r.look(ctx)
		r.answer(ctx, r.tableState, nil)
		return
	}
	if r.aside {
		r.readAside(ctx, got)
		return
	}
	defer func() { r.answer(ctx, r.tableState, got.err) }()
	r.answered, r.awaited = r.awaited, 0
	looked := r.answered > 0
	if r.unneeded() {
		r.skip()
		return
	}
	r.begin()
	r.compared, r.next.Errs, r.tickErr = true, nil, nil
	// The ledger is written before the kernel: a service that is in the ledger and
	// not in the kernel does no harm, the other way round it would be orphaned.
	r.own(maps.Keys(r.want.Table))
	// A connection is translated as it is when it begins, so that comes before its service.
	// It also brings connection tracking into the kernel, which has parameters of its own.
	r.translate(withOld(r.want.Translations, r.translations))
	// Parameters come before the first connection, and go after the last.
	r.parameters()
	// Packets that have a mark without a service go on to the service of their address,
	// so new marks come before the table, and old ones go after it. The old ones come
	// last, and win until then.
	r.mark(union(r.want.Marks, r.marks))
	if r.daemonsLast = r.known == nil; !r.daemonsLast {
		r.daemons(ctx)
	}
	before := r.known
	r.learn(got)
	if got.err != nil {
		r.next.Errs = append(r.next.Errs, got.err)
		return
	}
	for key := range r.fresh {
		r.adopt(key)
	}
	r.pathsDue = true
	r.openPaths()
	r.rest = r.difference()
	drift := r.drift(before)
	for _, op := range drift {
		r.next.Drift = append(r.next.Drift, op.String())
	}
	// Who undoes our repairs at once makes us repair once a second, not all the time.
	r.soon = r.soon || looked || len(r.rest) > 0 && len(drift) == 0
}

// begin opens a pass, or goes on with one that was not told yet.
func (r *reconciler) begin() {
	if r.open = true; r.next.At.IsZero() {
		r.next.At = time.Now()
	}
}

// skip is a pass without IPVS.
func (r *reconciler) skip() {
	r.begin()
	r.forget()
	r.rest, r.next.Errs, r.tickErr = nil, nil, nil
	r.mark(nil)
	r.translate(nil)
	r.parameterState = parameterState{}
	r.release(nil)
}

// work applies operations until there is none left or something newer is wanted. What the
// kernel refuses is collected and the rest still applied: one bad service must not keep
// the others from being served.
func (r *reconciler) work(ctx context.Context) {
	undone := make(map[string]bool)
	defer func() {
		if len(undone) > 0 {
			r.next.Drift = slices.DeleteFunc(r.next.Drift, func(op string) bool { return undone[op] })
		}
	}()
	for len(r.rest) > 0 && ctx.Err() == nil {
		ops := r.portion(undone)
		if len(ops) == 0 {
			continue
		}
		start := time.Now()
		for i, err := range r.kernel.ApplyAll(ctx, ops) {
			if err == nil {
				r.applied(ops[i])
				r.next.Done = append(r.next.Done, ops[i].String())
				continue
			}
			r.failed(ops[i])
			undone[ops[i].String()] = true
			switch {
			case !r.compared:
			case ipvs.ServiceOf(ops[i]) == tickKey:
				r.tickErr = err
			default:
				r.next.Errs = append(r.next.Errs, err)
			}
		}
		r.each = max(1, time.Since(start)/time.Duration(len(ops)))
		if len(r.desired) > 0 {
			return
		}
	}
}

// portion takes from the rest what the kernel is given at once: as much as it is likely
// to do in portionTime. What would be in vain it leaves undone.
func (r *reconciler) portion(undone map[string]bool) []ipvs.Op {
	most := 1
	if r.each > 0 {
		most = int(min(max(portionTime/r.each, 1), portionMax))
	}
	var ops []ipvs.Op
	made := make(map[ipvs.ServiceKey]bool)
	for len(r.rest) > 0 && len(ops) < most {
		op := r.rest[0]
		key := ipvs.ServiceOf(op)
		if made[key] {
			break // whether it is there decides what is done next
		}
		r.rest = r.rest[1:]
		if r.orphan(op) {
			undone[op.String()] = true
			continue // it would only fail for the same reason as its service
		}
		if _, makes := op.(ipvs.AddService); makes {
			made[key] = true
		}
		ops = append(ops, op)
	}
	return ops
}

// finish ends the pass. It is told, unless the table has to be read again before the
// outcome is known; then the next one goes on with it.
func (r *reconciler) finish(ctx context.Context) (p Pass, told bool) {
	r.open = false
	if r.unneeded() {
		p = r.outcome()
		p.Read, p.Reached = true, len(p.Errs) == 0
		return p, true
	}
	if r.daemonsLast {
		r.daemonsLast = false
		r.daemons(ctx)
	}
	if len(r.marks) > len(r.want.Marks) {
		r.mark(r.want.Marks)
	}
	if len(r.translations) > len(r.want.Translations) {
		r.translate(r.want.Translations)
	}
	if r.parametersKnown {
		r.release(r.parametersKept)
	}
	r.openPaths()
	r.disown()
	if r.again() {
		return Pass{}, false
	}
	p = r.outcome()
	p.Read = r.readable()
	if r.looking { // the table has to be read once more for what came after it
		p.Desired.Generation = max(r.answered, r.told)
		r.paced = r.answered > 0
	}
	r.told, r.answered = p.Desired.Generation, 0
	p.Reached = p.Read && len(p.Errs) == 0
	p.DaemonsRead, p.Daemons = r.daemonsRead, r.running
	r.tellSync(&p)
	r.tell(&p)
	r.tellParameters(&p)
	return p, true
}

// outcome ends the pass.
func (r *reconciler) outcome() Pass {
	p := r.next
	r.next = Pass{}
	p.Desired, p.Newest, p.Own = r.want, r.want.Generation, r.owned.Services
	p.Desired.Table, p.Desired.entries = nil, nil // which are not for readers
	return p
}

// pause is how long to wait before the table is read again.
func (r *reconciler) pause(p Pass, told bool) time.Duration {
	switch rest := time.Since(r.readAt); {
	case !told && r.looking && !r.paced:
		return 0
	case !told:
		return r.took - rest // at most half of the time
	case p.Reached && r.looking:
		return r.took - rest
	case !p.Reached || r.tickErr != nil:
		// What comes meanwhile does not put it off.
		if r.compared || time.Until(r.retryAt) <= 0 {
			r.retryAt = time.Now().Add(r.retry)
			r.retry = min(2*r.retry, retryMax)
		}
		return time.Until(r.retryAt)
	case r.soon: // to see what became of the connections
		r.retry = retryMin
		return min(resyncShare*r.took, resyncMax) - rest
	default:
		r.retry = retryMin
		return min(max(resyncMin, resyncShare*r.took), resyncMax) - rest
	}
}
