package relay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

const (
	// maxBatch is how many connections the daemon is handed at once, or a little more.
	maxBatch = 4096
	// againAfter is the least between two times that the daemon is told everything. While it
	// fails that doubles, up to againAtMost.
	againAfter  = time.Second
	againAtMost = 16 * time.Second
	// takesAtMost is for how many seconds the daemon may leave a batch. Peers wait for
	// longer before they give a stream up (syncd.LinkOptions.StallAfter).
	takesAtMost = 15
)

// injection is what goes to the kernel's backup daemon.
type injection struct {
	place
	jobs     chan [][]byte     // to the worker; never more than one
	busy     bool              // it has one
	waited   int               // for so many seconds
	inflight []syncd.Injection // what it has
	conns    int               // of these

	// behind says that the daemon has missed something, and telling that it is being told
	// everything for that reason. That begins not before again.
	behind, telling bool
	asked           bool // whether it is there, since telling began
	again           time.Time
	pause           time.Duration      // after the last failure; 0: there was none for long
	counts          syncd.InjectStatus // only what it counts
	before          syncd.InjectStatus // of these, what earlier workers have done
}

// injectedMsg says what has become of what the injector was handed.
type injectedMsg struct {
	w                    *worker
	err                  error
	sent, dropped, again uint64
}

// start starts the worker that injects.
func (i *injection) start(k *kernelSide, syncID uint8) {
	jobs := make(chan [][]byte, 1)
	i.jobs, i.behind, i.before = jobs, true, i.counts
	k.start(&i.place, func(ctx context.Context, w *worker) error {
		in, err := k.r.o.Kernel.Injector(syncID)
		if err != nil {
			return err
		}
		k.messages <- openedMsg{w, &i.place}
		for {
			select {
			case <-ctx.Done():
				return in.Close()
			case job := <-jobs:
				err := in.Inject(ctx, job)
				sent, dropped, again := in.Counts()
				k.messages <- injectedMsg{w, err, sent, dropped, again}
			}
		}
	})
}

// giveUp ends the worker. What it had is told the next one, with everything else.
func (i *injection) giveUp(r *Relay) {
	i.end()
	i.busy, i.behind, i.telling = false, true, false
	r.x.StopReinjecting()
	i.acknowledge(r)
}

// fail gives up for an error. The next second starts another worker, with new sockets.
func (k *kernelSide) fail(err error) {
	i := &k.injection
	i.pause = min(max(2*i.pause, againAfter), againAtMost)
	i.again = time.Now().Add(i.pause)
	i.giveUp(k.r)
	k.says(&i.place, err)
}

// watch gives up a daemon that leaves what it is handed.
func (i *injection) watch(k *kernelSide, now time.Time) {
	switch {
	case i.busy:
		if i.waited++; i.waited > takesAtMost {
			k.fail(fmt.Errorf("the backup sync daemon takes nothing for %d s", takesAtMost))
		}
	case i.upToDate() && now.Sub(i.again) >= calm:
		i.pause = 0
	}
}

// acknowledge tells the peers that what was in flight is dealt with. They do not wait for
// a daemon that does not take it: it gets that from the table.
func (i *injection) acknowledge(r *Relay) {
	for _, job := range i.inflight {
		r.tell(r.x.Injected(job))
	}
	i.inflight = nil
}

// inject hands the daemon what waits for it.
func (k *kernelSide) inject() {
	i, r, now := &k.injection, k.r, time.Now()
	switch {
	case i.busy:
		return
	case i.worker == nil:
		for job, ok := r.x.NextInjection(now); ok; job, ok = r.x.NextInjection(now) {
			i.inflight = append(i.inflight, job)
		}
		i.acknowledge(r)
		return
	case i.behind && r.seeded && !now.Before(i.again):
		i.behind, i.telling, i.asked, i.again = false, true, false, now.Add(againAfter)
		i.counts.Restarts++
		r.x.Reinject()
	}
	var conns []syncd.Conn
	for len(conns) < maxBatch {
		job, ok := r.x.NextInjection(now)
		if !ok {
			break
		}
		i.inflight = append(i.inflight, job)
		conns = append(conns, job.Conns...)
	}
	// Nothing to be told is no proof that there is a daemon.
	if len(conns) == 0 && (!i.telling || i.asked) {
		i.acknowledge(r)
		i.finished(r)
		return
	}
	var datagrams [][]byte
	for d, err := range syncd.Messages(r.now.SyncID, syncd.MaxMessage, slices.Values(conns)) {
		if err == nil { // what no kernel would take never came here
			datagrams = append(datagrams, slices.Clone(d))
		}
	}
	i.conns, i.busy, i.waited = len(conns), true, 0
	i.jobs <- datagrams // there is room: nothing else is on its way
}

// injected takes in what has become of what the injector was handed.
func (k *kernelSide) injected(m injectedMsg) {
	i := &k.injection
	if m.w != i.worker {
		return
	}
	i.busy = false
	c := &i.counts
	c.Datagrams, c.Dropped, c.Again = i.before.Datagrams+m.sent, i.before.Dropped+m.dropped, i.before.Again+m.again
	if m.err != nil {
		k.fail(m.err)
		return
	}
	c.Conns += uint64(i.conns)
	i.asked = i.telling
	k.says(&i.place, nil)
	i.acknowledge(k.r)
}

// finished says so when the daemon was told everything.
func (i *injection) finished(r *Relay) {
	if i.telling && !r.x.Reinjecting() {
		i.telling = false
		r.publish(time.Now())
	}
}

// upToDate says that the daemon was told everything and is told what is new.
func (i *injection) upToDate() bool { return i.worker != nil && !i.behind && !i.telling }
