package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How many probes run at once, and how many of them ask one address, unless Options says
// otherwise.
const (
	DefaultConcurrency = 256
	DefaultPerHost     = 32
)

// stopGrace is how long Run waits, once canceled, for the probes that still run.
const stopGrace = time.Second

var errNoVerdict = errors.New("check ended without a verdict")

// Options are what a Monitor is made from.
type Options struct {
	// NewChecker makes the Checker for a target. Required. Apply calls it, on the
	// caller's goroutine. A target whose Checker cannot be made keeps the status it
	// has, with the error as its cause.
	NewChecker func(Spec, Target) (Checker, error)
	// Events gets every change of a target's status or value. Required. The Monitor
	// never waits for its reader: for a reader that is late it keeps the newest event
	// of each target, so a reader may get the same status of a target twice in a row,
	// but never misses the last one.
	Events chan<- Event
	// Concurrency is how many probes run at once, for all targets together; 0 means
	// DefaultConcurrency.
	Concurrency int
	// PerHost is how many of them ask the ports of one address; 0 means DefaultPerHost.
	PerHost int
}

// Monitor asks all targets, each at its time, and reports changes of status.
type Monitor struct {
	newChecker func(Spec, Target) (Checker, error)
	events     chan<- Event
	// sets is a mailbox of one: the newest set of targets, until Run takes it.
	sets chan map[Target]check

	applying sync.Mutex // serialises Apply; guards what follows
	applied  map[Target]check
	births   uint64

	mu       sync.Mutex // lets readers look while Run, the only writer, does not write
	schedule *schedule
}

// NewMonitor returns a Monitor without targets. Nothing runs yet.
func NewMonitor(o Options) (*Monitor, error) {
	if o.NewChecker == nil || o.Events == nil {
		return nil, errors.New("health monitor: NewChecker and Events are required")
	}
	if o.Concurrency < 0 {
		return nil, fmt.Errorf("health monitor: concurrency %d is negative", o.Concurrency)
	}
	if o.PerHost < 0 {
		return nil, fmt.Errorf("health monitor: %d probes at once for a host are negative", o.PerHost)
	}
	return &Monitor{
		newChecker: o.NewChecker,
		events:     o.Events,
		sets:       make(chan map[Target]check, 1),
		schedule:   newSchedule(cmp.Or(o.Concurrency, DefaultConcurrency), cmp.Or(o.PerHost, DefaultPerHost)),
	}, nil
}

// Apply makes targets the ones that are asked. A new one is Unknown and asked within
// seconds, an unchanged one is left alone. One whose Spec has changed keeps its
// status, counts and run of verdicts: new thresholds count from the next verdict on,
// and when what is asked has changed, a probe on its way is abandoned and the target
// is asked anew. One that is no longer named is not asked again, and its probe is
// canceled; an event of it that was sent before may still be on its way.
//
// A new target that asks what another one has asked at the same address, under another
// name, knows what that one knew, and tells it in an event.
//
// The intervals and timeouts must be positive. Apply may be called before and during
// Run, from any goroutine, and does not wait for Run to take the change over.
func (m *Monitor) Apply(targets map[Target]Spec) {
	m.applying.Lock()
	defer m.applying.Unlock()
	set := make(map[Target]check, len(targets))
	for t, spec := range targets {
		c, ok := m.applied[t]
		if !ok {
			m.births++
			c.born = m.births
		}
		if !ok || c.spec != spec {
			c = check{spec: spec, checker: m.makeChecker(spec, t), born: c.born}
		}
		set[t] = c
	}
	m.applied = set
	select {
	case <-m.sets: // an older set that Run has not seen
	default:
	}
	m.sets <- set
}

// makeChecker turns the failure to make a Checker into the cause of every probe.
func (m *Monitor) makeChecker(spec Spec, t Target) Checker {
	c, err := m.newChecker(spec, t)
	if err != nil {
		err = fmt.Errorf("%w: check %s: %w", ErrNotAsked, spec.Name, err)
		c = CheckerFunc(func(context.Context) error { return err })
	}
	return c
}

// Snapshots returns what is known about each target that Run has taken over. It may
// be called at any time, from any goroutine.
func (m *Monitor) Snapshots() map[Target]Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[Target]Snapshot, len(m.schedule.entries))
	for t, e := range m.schedule.entries {
		if !e.gone {
			all[t] = e.snapshot
		}
	}
	return all
}

// Load tells how the Monitor keeps up. It may be called at any time, from any goroutine.
func (m *Monitor) Load() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.schedule.load
	l.Running = m.schedule.running
	return l
}

// verdict is the end of a probe.
type verdict struct {
	entry *entry
	err   error
	value Value // of a Measurer's success
	// notice is that of a Noticer's success.
	notice Notice
	took   time.Duration
}

// Run asks the targets until ctx is canceled, and returns nil when its probes have
// ended. Their contexts end with ctx, so that takes no time; for a Checker that
// ignores its context Run waits one second and then leaves its goroutine behind,
// which ends when the Checker returns. Call Run once.
//
// Such a Checker does not hold up the others either: one second after its timeout
// its probe has failed and its place is free. The target fails again at every
// interval and is not asked until the Checker has returned.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := run{Monitor: m, verdicts: make(chan verdict), over: make(chan struct{})}
	defer close(r.over)

	// The timer is always armed; without a deadline it fires in vain once an hour.
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(r.step(ctx))
		events := m.events
		event, ok := r.out.head()
		if !ok {
			events = nil
		}
		select {
		case <-ctx.Done():
			r.drain()
			return nil
		case set := <-m.sets:
			now := r.lock()
			m.schedule.apply(now, set, &r.out)
			m.mu.Unlock()
		case v := <-r.verdicts:
			r.probes--
			if ctx.Err() != nil { // that may be why it ended
				r.drain()
				return nil
			}
			now := r.lock()
			m.schedule.finish(now, v, &r.out)
			m.mu.Unlock()
		case <-timer.C:
		case events <- event:
			r.out.drop(event.Target)
		}
	}
}

// run is the state of Run, owned by its goroutine.
type run struct {
	*Monitor
	out      outbox
	probes   int // goroutines that have not delivered
	verdicts chan verdict
	over     chan struct{} // closed when nobody receives verdicts any more
	due      time.Time     // when the loop is to look at the clock again at the latest; zero: not known
}

// lock makes Run's goroutine the one that may touch the schedule, and returns the time. It
// is where a standstill is noticed, before anything is made of what was found after it.
func (r *run) lock() time.Time {
	r.mu.Lock()
	now := time.Now()
	if late := now.Sub(r.due); late >= standstill && !r.due.IsZero() {
		r.schedule.stood(now, late)
	}
	r.due = now
	return now
}

// step does what is due, starts the probes there is place for, and returns how long
// nothing is due.
func (r *run) step(ctx context.Context) time.Duration {
	now := r.lock()
	defer r.mu.Unlock()
	r.schedule.wake(now, &r.out)
	for e := r.schedule.take(now); e != nil; e = r.schedule.take(now) {
		var probe context.Context
		probe, e.cancel = context.WithTimeout(ctx, e.check.spec.Timeout)
		r.probes++
		go r.ask(probe, e.cancel, e, e.check, now)
	}
	wait := time.Hour
	if at, ok := r.schedule.deadline(); ok {
		wait = at.Sub(now)
	}
	if r.schedule.running > 0 {
		wait = min(wait, heartbeat)
	}
	r.due = now.Add(wait)
	return wait
}

// ask makes one probe, which has begun already: a director that is short of processor time
// may get here late. The entry is only passed through: its fields belong to Run.
func (r *run) ask(ctx context.Context, cancel context.CancelFunc, e *entry, c check, began time.Time) {
	defer cancel()
	v := verdict{entry: e, err: errNoVerdict} // stands if the Checker ends its goroutine
	defer func() {
		v.took = time.Since(began)
		if p := recover(); p != nil {
			v.err = fmt.Errorf("check panicked: %v", p)
		}
		select {
		case r.verdicts <- v:
		case <-r.over:
		}
	}()
	if m, ok := c.checker.(Measurer); ok {
		v.value, v.err = m.Measure(ctx)
	} else {
		v.err = c.checker.Check(ctx)
	}
	if n, ok := c.checker.(Noticer); ok && v.err == nil {
		v.notice = n.Notice()
	}
	if late := ctx.Err(); errors.Is(late, context.DeadlineExceeded) && (v.err == nil || v.err == late) {
		v.err = fmt.Errorf("timeout after %v", c.spec.Timeout)
	}
}

// drain waits for the probes that still run, but not for ever.
func (r *run) drain() {
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	for r.probes > 0 {
		select {
		case <-r.verdicts:
			r.probes--
		case <-grace.C:
			return
		}
	}
}
