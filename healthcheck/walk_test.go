package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// walk plays at random with everything that can happen to a schedule, and keeps its own
// account of it, by the rules that operators are told.
type walk struct {
	t     *testing.T
	rand  *rand.Rand
	s     *schedule
	out   outbox
	now   time.Time
	stood time.Time // the end of the last standstill
	step  int

	want    map[Target]check           // what was applied last
	running map[*entry]context.Context // the probes that have not ended
	known   map[Target]*account
	reader  map[Target]Status // what the reader of the events knows
}

// account is what is known of a target.
type account struct {
	status Status
	run    int       // of equal verdicts, negative for failures
	due    time.Time // when the next probe is to begin at the latest
	begun  time.Time // the probe that runs
	free   bool      // its verdict does not count: another question was asked
	stood  time.Duration
	spared int // failures that did not count, in a row
}

const (
	walkPlaces  = 5
	walkPerHost = 2
)

// walkTarget is one of four ports of three hosts, by one of two names.
func walkTarget(i int, name string) Target {
	return Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 3)}), uint16(80+i/3)), Check: name}
}

// reload applies a random configuration. A target has one name at a time, so that a new
// name is a renamed check.
func (w *walk) reload() {
	was := w.want
	w.want = make(map[Target]check)
	for i := range 12 {
		if w.rand.IntN(5) == 0 {
			continue
		}
		name := []string{"a", "b"}[w.rand.IntN(2)]
		sp := Spec{
			Name: name, Interval: time.Duration(2+w.rand.IntN(3)) * time.Second, FastInterval: time.Duration(w.rand.IntN(2)) * time.Second,
			DownInterval: time.Duration(w.rand.IntN(2)) * 6 * time.Second, Jitter: 10 * w.rand.IntN(4), Timeout: time.Second,
			Rise: 1 + w.rand.IntN(3), Fall: 1 + w.rand.IntN(3),
		}
		sp.HTTP.Path = fmt.Sprint(w.rand.IntN(2))
		w.want[walkTarget(i, name)] = check{spec: sp}
	}
	known := make(map[Target]*account)
	for t, c := range w.want {
		k := w.known[t]
		switch {
		case k == nil:
			k = &account{}
			for other, o := range was {
				if other.Addr == t.Addr && question(o.spec) == question(c.spec) {
					k.status, k.run = w.known[other].status, w.known[other].run
				}
			}
			k.due = w.now.Add(min(c.spec.Interval, startSpread))
			if e := w.s.entries[t]; e != nil { // its probe of before a removal has not ended
				k.due = time.Time{}
			}
		case !k.begun.IsZero():
			k.free = k.free || question(was[t].spec) != question(c.spec)
		case question(was[t].spec) != question(c.spec) || w.pause(c.spec, k) < w.pause(was[t].spec, k):
			if soon := w.now.Add(min(c.spec.Interval, startSpread)); soon.Before(k.due) {
				k.due = soon
			}
		}
		known[t] = k
	}
	w.known = known
	w.s.apply(w.now, w.want, &w.out)
}

// pause is the rule of the intervals.
func (w *walk) pause(sp Spec, k *account) time.Duration {
	fast, down := sp.FastInterval, sp.DownInterval
	if fast == 0 {
		fast = sp.Interval
	}
	if down == 0 {
		down = sp.Interval
	}
	switch {
	case k.status == Up && k.run < 0, k.status == Down && k.run > 0:
		return fast
	case k.status == Down:
		return down
	}
	return sp.Interval
}

// most is the longest that jitter makes of a pause.
func most(d time.Duration, sp Spec) time.Duration { return d + d/100*time.Duration(sp.Jitter) }

// observe is the rule of the thresholds.
func (k *account) observe(err error, sp Spec) {
	rise, fall := sp.Rise, sp.Fall
	if k.status == Unknown {
		rise, fall = 1, 1
	}
	if err == nil {
		if k.run = max(k.run, 0) + 1; k.run >= rise {
			k.status = Up
		}
		return
	}
	if k.run = min(k.run, 0) - 1; -k.run >= fall {
		k.status = Down
	}
}

// end ends a probe, with some verdict.
func (w *walk) end(e *entry) {
	delete(w.running, e)
	v := verdict{entry: e, took: w.now.Sub(e.started)}
	switch w.rand.IntN(5) {
	case 0, 1:
		v.err = errors.New("connect refused")
	case 2:
		v.err = fmt.Errorf("%w: no free port", ErrNotAsked)
	}
	wasStuck := e.stage == stuck
	w.s.finish(w.now, v, &w.out)
	c, wanted := w.want[e.target]
	if !wanted {
		return
	}
	k := w.known[e.target]
	switch {
	case k.begun.IsZero(), k.free: // of before a removal, or of another question
		k.due = w.now
	case wasStuck:
		k.due = w.now.Add(most(w.pause(c.spec, k), c.spec))
	case v.err != nil && k.stood > 0 && k.spared < maxExcused:
		k.spared++
		k.due = w.now.Add(min(c.spec.Interval, startSpread))
	default:
		k.spared = 0
		if !errors.Is(v.err, ErrNotAsked) {
			k.observe(v.err, c.spec)
		}
		next := w.pause(c.spec, k)
		if k.status == Unknown && e.snapshot.NotAsked <= soonAgain {
			next = min(next, startSpread)
		}
		k.due = k.begun.Add(most(next, c.spec))
	}
	k.begun, k.free = time.Time{}, false
}

// wake has the schedule do what is planned until now. What is overdue fails.
func (w *walk) wake() {
	before := make(map[*entry]uint64)
	for e := range w.running {
		before[e] = e.snapshot.Failed
	}
	w.s.wake(w.now, &w.out)
	for e := range w.running {
		if k := w.known[e.target]; k != nil && e.snapshot.Failed > before[e] {
			if over := w.now.Sub(e.started) - e.stood; e.stage != stuck || over < e.check.spec.Timeout+overdueGrace {
				w.t.Fatalf("step %d: %v failed %v after its probe began", w.step, e.target, over)
			}
			k.observe(errStuck, e.check.spec)
		}
	}
}

// stand lets the director stand still: its clock goes on, and nothing else.
func (w *walk) stand() {
	d := time.Duration(1+w.rand.IntN(5)) * time.Second
	often := w.now.Sub(w.stood) < d // then what is planned stays
	w.now = w.now.Add(d)
	w.stood = w.now
	w.s.stood(w.now, d)
	for _, k := range w.known {
		if k.begun.IsZero() {
			if !often && k.due.After(w.now.Add(-d)) { // it was not due yet
				k.due = k.due.Add(d)
			}
		} else {
			k.stood += d
		}
	}
}

func (w *walk) takeAll() {
	for e := w.s.take(w.now); e != nil; e = w.s.take(w.now) {
		if _, ok := w.running[e]; ok {
			w.t.Fatalf("step %d: %v is asked twice at once", w.step, e.target)
		}
		if _, ok := w.want[e.target]; !ok {
			w.t.Fatalf("step %d: %v is asked and not wanted", w.step, e.target)
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		e.cancel = cancel
		w.running[e] = ctx
		k := w.known[e.target]
		k.begun, k.stood = w.now, 0
	}
}

func TestScheduleRandomWalk(t *testing.T) {
	for seed := range uint64(4) {
		w := &walk{
			t: t, rand: rand.New(rand.NewPCG(3, seed)), s: newSchedule(walkPlaces, walkPerHost), now: epoch,
			running: make(map[*entry]context.Context), reader: make(map[Target]Status),
		}
		for w.step = range 3000 {
			switch w.rand.IntN(12) {
			case 0:
				if w.rand.IntN(10) == 0 {
					w.reload()
				}
			case 1:
				if w.rand.IntN(10) == 0 {
					w.stand()
				}
			case 2, 3, 4, 5:
				w.now = w.now.Add(time.Duration(w.rand.IntN(400)) * time.Millisecond)
			default:
				if len(w.running) > 0 && w.rand.IntN(4) > 0 {
					w.end(w.oldest(w.rand.IntN(len(w.running))))
				}
			}
			w.wake()
			w.takeAll()
			w.check()
		}
	}
}

// oldest is the nth probe that runs, the longest first.
func (w *walk) oldest(n int) *entry {
	return slices.SortedFunc(maps.Keys(w.running), func(a, b *entry) int {
		if c := a.started.Compare(b.started); c != 0 {
			return c
		}
		return a.target.Addr.Compare(b.target.Addr)
	})[n]
}

// check checks the rules that hold at any time.
func (w *walk) check() {
	w.t.Helper()
	s := w.s
	places, slowPlaces, waits, perHost := 0, 0, 0, make(map[netip.Addr]int)
	for target, e := range s.entries {
		c, wanted := w.want[target]
		ctx, asked := w.running[e]
		switch {
		case e.target != target:
			w.t.Fatalf("step %d: entry of %v is filed under %v", w.step, e.target, target)
		case wanted == e.gone:
			w.t.Fatalf("step %d: %v wanted %t, gone %t", w.step, target, wanted, e.gone)
		case wanted && e.check.spec != c.spec:
			w.t.Fatalf("step %d: %v has an old spec", w.step, target)
		case asked != (e.stage == asking || e.stage == stuck):
			w.t.Fatalf("step %d: %v in stage %d, a probe runs: %t", w.step, target, e.stage, asked)
		case asked && (e.gone || e.void) && ctx.Err() == nil:
			w.t.Fatalf("step %d: the unwanted probe of %v is not canceled", w.step, target)
		case (e.place != nowhere) != (e.stage != waiting && (e.stage != stuck || !e.gone)):
			w.t.Fatalf("step %d: %v in stage %d, gone %t, is on the agenda: %t", w.step, target, e.stage, e.gone, e.place != nowhere)
		}
		switch e.stage {
		case asking:
			places++
			perHost[target.Addr.Addr()]++
			if e.inSlow {
				slowPlaces++
			}
		case waiting:
			waits++
		}
		if k := w.known[target]; k != nil {
			if successes, failures := e.tracker.Run(); e.snapshot.Status != k.status || successes-failures != k.run {
				w.t.Fatalf("step %d: %v is %v with a run of %d, want %v with %d of %+v", w.step, target, e.snapshot.Status, successes-failures, k.status, k.run, e.check.spec)
			}
			if e.stage == resting && e.at.After(k.due) {
				w.t.Fatalf("step %d: %v is to be asked %v too late: %+v, %+v, excused %d, %+v", w.step, target, e.at.Sub(k.due), k, w.now, e.excused, e.check.spec)
			}
		}
	}
	for i, e := range s.agenda {
		if e.at.Before(s.agenda[max(0, i-1)/2].at) {
			w.t.Fatalf("step %d: the agenda is out of order at %d", w.step, i)
		}
	}
	for target := range w.want {
		if s.entries[target] == nil {
			w.t.Fatalf("step %d: %v is wanted and not there", w.step, target)
		}
	}
	if places != s.running || slowPlaces != s.slowInUse || places > walkPlaces || slowPlaces > walkPlaces/2 || waits != s.load.Waiting {
		w.t.Fatalf("step %d: %d places taken, %d of them slow, %d wait; counted %d, %d and %d",
			w.step, places, slowPlaces, waits, s.running, s.slowInUse, s.load.Waiting)
	}
	for addr, n := range perHost {
		if n > walkPerHost || n != s.hosts[addr].running {
			w.t.Fatalf("step %d: %d probes of %v, counted %d", w.step, n, addr, s.hosts[addr].running)
		}
	}
	w.nobodyWaitsInVain(perHost)
	w.tell()
}

// nobodyWaitsInVain holds who waits against who could be asked.
func (w *walk) nobodyWaitsInVain(perHost map[netip.Addr]int) {
	lines, returning := make(map[*entry]bool), make(map[netip.Addr]int)
	for _, e := range slices.Concat(w.s.quick, w.s.slow) {
		lines[e] = true
		if e.returned {
			returning[e.target.Addr.Addr()]++
		}
	}
	for addr, h := range w.s.hosts {
		if h.returning != returning[addr] {
			w.t.Fatalf("step %d: %d targets of %v have returned to their lines, counted %d", w.step, returning[addr], addr, h.returning)
		}
		for _, e := range h.held {
			if lines[e] {
				w.t.Fatalf("step %d: %v waits twice", w.step, e.target)
			}
			lines[e] = true
		}
		if len(h.held) > 0 && h.running+h.returning < walkPerHost {
			w.t.Fatalf("step %d: a host with %d probes holds %v", w.step, h.running, h.held[0].target)
		}
	}
	for _, e := range w.s.entries {
		switch {
		case e.stage != waiting:
		case !lines[e]:
			w.t.Fatalf("step %d: %v waits nowhere", w.step, e.target)
		case w.s.running < walkPlaces && !e.slow && !w.held(e):
			w.t.Fatalf("step %d: %v waits, with %d places taken and %d of its host", w.step, e.target, w.s.running, perHost[e.target.Addr.Addr()])
		}
	}
}

// held tells whether e waits for its host.
func (w *walk) held(e *entry) bool {
	h := w.s.hosts[e.target.Addr.Addr()]
	return h != nil && slices.Contains(h.held, e)
}

// tell lets the reader of the events read all, and compares what he knows then.
func (w *walk) tell() {
	for ev, ok := w.out.head(); ok; ev, ok = w.out.head() {
		w.out.drop(ev.Target)
		w.reader[ev.Target] = ev.Status
	}
	maps.DeleteFunc(w.reader, func(t Target, _ Status) bool { _, wanted := w.want[t]; return !wanted })
	for target := range w.want {
		if is := w.s.entries[target].snapshot.Status; w.reader[target] != is {
			w.t.Fatalf("step %d: %v is %v, and its reader believes %v", w.step, target, is, w.reader[target])
		}
	}
}
