package director

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// tableState is what the reconciler knows of the kernel's table.
type tableState struct {
	// known is the table as it was last read, with what was changed since; nil: never
	// read. While lent is true others have it too, and it is copied before it is written
	// to; and so is each service that is not in copied.
	known  ipvs.Table
	lent   bool
	copied map[ipvs.ServiceKey]bool
	// lastRead and since are the same for those who are told of a pass.
	lastRead ipvs.Table
	since    *tableChange
	observed ipvs.Observed
	readAt   time.Time     // the end of the last reading
	took     time.Duration // the last reading
	readErr  error         // of the last reading
	// wholeAt and wholeTook are the same of the last reading that was not quick.
	wholeAt   time.Time
	wholeTook time.Duration

	reads chan reading // the reading under way; nil: none
	// aside says that it is for rehearsals alone, and due that another one is to follow it.
	aside, due bool
	stale      bool // it is of no use: everything was forgotten after it began
	// soon says that the next one should not wait, and looking that the outcome of what is
	// wanted is to be told by a reading that has yet to begin.
	soon, looking bool
	// paced says that there was such a reading just now, so the next one is not begun at once.
	paced bool
	// awaited is the generation whose outcome the one under way is to tell, and answered
	// that of the last one, until it is told; 0: none. told is the newest that was told.
	awaited, answered, told uint64
	// changed are the services with operations since the last reading began, and during
	// those since the one under way has begun.
	changed, during map[ipvs.ServiceKey]bool
	// shifted says that a service was added or deleted while the one under way goes on. The
	// kernel tells a long table piece by piece and counts how far it has come, so any other
	// service may be missing in it. What is there is believed, and what is not there is not.
	shifted bool
	// missed are the services in doubt that were missing in the last one, which was of that
	// kind. What is missing again is not there.
	missed map[ipvs.ServiceKey]bool
	// doubt are the services whose last operation failed: what is known of them may be
	// wrong, so nothing is done about them until the table has been read again.
	doubt map[ipvs.ServiceKey]bool
}

// reading is what came of reading the kernel's table.
type reading struct {
	table    ipvs.Table
	observed ipvs.Observed
	err      error
	took     time.Duration
	whole    bool // nothing in it is from an earlier one
}

// readable tells whether the table could be read the last time.
func (t *tableState) readable() bool { return t.known != nil && t.readErr == nil }

// look begins to read the kernel's table, unless that is under way.
func (r *reconciler) look(ctx context.Context) {
	if r.reads != nil {
		r.due = r.aside
		return
	}
	if r.unneeded() {
		r.skip()
		return
	}
	r.soon, r.paced, r.answered = false, false, 0
	if r.looking {
		r.awaited, r.looking = r.want.Generation, false
	}
	var last ipvs.Table
	if time.Since(r.wholeAt) < max(wholeMin, wholeShare*r.wholeTook) {
		last = r.likely()
	}
	r.start(ctx, last)
}

// likely is what a reading is likely to show, for the reader; nil: not known.
func (t *tableState) likely() ipvs.Table {
	if !t.readable() {
		return nil
	}
	t.lent = true
	if len(t.doubt) == 0 {
		return t.known
	}
	likely := maps.Clone(t.known)
	maps.DeleteFunc(likely, func(key ipvs.ServiceKey, _ ipvs.Entry) bool { return t.doubt[key] })
	return likely
}

// start begins a reading.
func (r *reconciler) start(ctx context.Context, last ipvs.Table) {
	r.during, r.shifted = make(map[ipvs.ServiceKey]bool), false
	reads := make(chan reading, 1)
	r.reads = reads
	go func() { reads <- r.read(ctx, last) }()
}

// read reads the kernel's table: quickly, if last is what it is likely to be.
func (r *reconciler) read(ctx context.Context, last ipvs.Table) (got reading) {
	start := time.Now()
	if got.whole = last == nil; got.whole {
		got.table, got.observed, got.err = r.kernel.Table(ctx)
	} else {
		got.table, got.observed, got.err = r.kernel.Refresh(ctx, last)
	}
	got.took = time.Since(start)
	return got
}

// endReading waits for the end of the reading under way, whose context has ended.
func (r *reconciler) endReading() {
	if r.reads != nil {
		<-r.reads
		r.reads = nil
	}
}

// learn takes in what was read. Of a service that was changed meanwhile it may show either
// state, so what was known of it stays.
func (t *tableState) learn(got reading) {
	t.readAt, t.took, t.readErr = time.Now(), got.took, got.err
	if got.err != nil {
		return
	}
	for key := range t.during {
		delete(got.table, key)
		if e, there := t.known[key]; there {
			got.table[key] = e
		}
	}
	t.keep(got)
	maps.DeleteFunc(t.doubt, func(key ipvs.ServiceKey, _ bool) bool { return !t.during[key] && !t.missed[key] })
	if got.whole {
		t.wholeAt, t.wholeTook = t.readAt, got.took
	}
	// The services may still be those of the table before, which others have.
	t.known, t.observed, t.lent, t.copied = got.table, got.observed, true, make(map[ipvs.ServiceKey]bool)
	t.lastRead, t.since = got.table, nil
	t.changed, t.during = t.during, nil
}

// keep adds to what was read the services that it may have passed over.
func (t *tableState) keep(got reading) {
	if !t.shifted {
		t.missed = nil
		return
	}
	missed := make(map[ipvs.ServiceKey]bool)
	for key, e := range t.known {
		if _, there := got.table[key]; there || t.during[key] || t.missed[key] {
			continue
		}
		got.table[key], got.observed[key] = e, t.observed[key]
		t.soon = true
		if t.doubt[key] {
			missed[key] = true
		}
	}
	t.missed = missed
}

// forget makes everything unknown.
func (t *tableState) forget() {
	*t = tableState{reads: t.reads, aside: t.aside, stale: t.reads != nil, readAt: time.Now()}
}

// startAnew drops what a cut-off run has left unfinished. What is known stays.
func (t *tableState) startAnew() {
	t.doubt, t.during, t.missed = nil, nil, nil
	t.shifted, t.stale, t.looking, t.aside, t.due = false, false, false, false, false
	t.awaited, t.answered = 0, 0
}

// difference are the operations for all services, and differenceOf those for some.
func (r *reconciler) difference() []ipvs.Op {
	return r.sure(ipvs.Diff(r.want.Table, r.known, r.owns))
}

func (r *reconciler) differenceOf(services map[ipvs.ServiceKey]bool) []ipvs.Op {
	return r.sure(ipvs.DiffOf(services, r.want.Table, r.known, r.owns))
}

func (r *reconciler) owns(k ipvs.ServiceKey) bool { return r.owned.Services[k] }

// sure leaves out the services in doubt.
func (r *reconciler) sure(ops []ipvs.Op) []ipvs.Op {
	return slices.DeleteFunc(ops, func(op ipvs.Op) bool { return r.doubt[ipvs.ServiceOf(op)] })
}

// drift are those of the changes since before that somebody else has made and that have
// to be undone, as the operations that undo them.
func (r *reconciler) drift(before ipvs.Table) []ipvs.Op {
	needed, was := make(map[ipvs.ServiceKey]bool), make(ipvs.Table)
	for _, op := range r.rest {
		key := ipvs.ServiceOf(op)
		needed[key] = true
		if e, there := before[key]; there && r.owned.Services[key] {
			was[key] = e
		}
	}
	return ipvs.DiffOf(needed, was, r.known, nil)
}

// adopt takes note of a service that is wanted for the first time and is there already.
func (r *reconciler) adopt(key ipvs.ServiceKey) {
	switch _, there := r.known[key]; {
	case there:
		r.next.Adopted = append(r.next.Adopted, key.String())
		delete(r.fresh, key)
	case r.compared && !r.doubt[key]:
		delete(r.fresh, key)
	}
}

// orphan tells whether an operation is about a destination of a service that could not be
// made.
func (r *reconciler) orphan(op ipvs.Op) bool {
	key := ipvs.ServiceOf(op)
	_, there := r.known[key]
	_, adds := op.(ipvs.AddService)
	return r.doubt[key] && !there && !adds
}

// applied takes note of an operation that the kernel has carried out.
func (r *reconciler) applied(op ipvs.Op) {
	key := ipvs.ServiceOf(op)
	r.pathsDue = r.pathsDue || key.FWMark != 0
	r.touched(op)
	if _, adds := op.(ipvs.AddService); adds {
		delete(r.fresh, key)
	}
	if r.lent {
		r.known, r.lent, r.copied = maps.Clone(r.known), false, make(map[ipvs.ServiceKey]bool)
	}
	applyCopied(r.known, op, r.copied)
	r.since = &tableChange{op, r.since}
}

// applyCopied carries an operation out in a table whose services belong to others too, but
// for those that have been copied.
func applyCopied(t ipvs.Table, op ipvs.Op, copied map[ipvs.ServiceKey]bool) {
	key := ipvs.ServiceOf(op)
	if e, there := t[key]; there && !copied[key] {
		t[key] = e.Clone()
		copied[key] = true
	}
	t.Apply(op)
}

// failed takes note of an operation that the kernel has refused or not answered.
func (r *reconciler) failed(op ipvs.Op) {
	key := ipvs.ServiceOf(op)
	r.pathsDue = r.pathsDue || key.FWMark != 0
	r.touched(op)
	if r.doubt == nil {
		r.doubt = make(map[ipvs.ServiceKey]bool)
	}
	r.doubt[key] = true
}

func (r *reconciler) touched(op ipvs.Op) {
	key := ipvs.ServiceOf(op)
	if r.changed == nil {
		r.changed = make(map[ipvs.ServiceKey]bool)
	}
	r.changed[key] = true
	if r.during == nil {
		return
	}
	r.during[key] = true
	switch op.(type) {
	case ipvs.AddService, ipvs.DeleteService:
		r.shifted = true
	}
}

// again tells whether the table has to be read before it is known how the kernel is: that
// is asked for, or it could not be read the last time, or there is a service in doubt, and
// no error of a pass with the table that was read says why.
func (r *reconciler) again() bool {
	if r.compared && len(r.next.Errs) > 0 {
		return false
	}
	waits := r.answered == 0 && (r.looking || r.awaited > 0)
	doubtful := len(r.doubt)
	if r.tickErr != nil && r.doubt[tickKey] {
		doubtful--
	}
	return waits || doubtful > 0 || !r.readable()
}

// tell shows what is known.
func (t *tableState) tell(p *Pass) {
	read, since := t.lastRead, t.since
	p.shown = sync.OnceValue(func() ipvs.Table { return since.after(read) })
	p.Observed, p.ReadAt, p.Reading = t.observed, t.readAt, t.took
	p.Changed = maps.Clone(t.changed)
}
