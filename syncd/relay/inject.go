package relay

import (
	"context"
	"slices"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

const (
	// maxBatch is how many connections the daemon is handed at once, or a little more.
	maxBatch = 4096
	// againAfter is the least between two times that the daemon is told everything.
	againAfter = time.Second
)

// injection is what goes to the kernel's backup daemon.
type injection struct {
	place
	jobs     chan [][]byte     // to the worker; never more than one
	inflight []syncd.Injection // what it has, or nothing
	conns    int               // of these

	// behind says that the daemon has missed something, and telling that it is being told
	// everything for that reason.
	behind, telling bool
	toldAt          time.Time
	counts          syncd.InjectStatus // only what it counts
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
	i.jobs, i.behind = jobs, true
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
	i.behind, i.telling = true, false
	r.x.StopReinjecting()
	i.acknowledge(r)
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
	case len(i.inflight) > 0:
		return
	case i.worker == nil:
		for job, ok := r.x.NextInjection(now); ok; job, ok = r.x.NextInjection(now) {
			i.inflight = append(i.inflight, job)
		}
		i.acknowledge(r)
		return
	case i.behind && r.seeded && now.Sub(i.toldAt) >= againAfter:
		i.behind, i.telling, i.toldAt = false, true, now
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
	if len(conns) == 0 {
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
	i.conns = len(conns)
	i.jobs <- datagrams // there is room: nothing else is on its way
}

// injected takes in what has become of what the injector was handed.
func (k *kernelSide) injected(m injectedMsg) {
	i := &k.injection
	if m.w != i.worker {
		return
	}
	i.counts.Datagrams, i.counts.Dropped, i.counts.Again = m.sent, m.dropped, m.again
	if m.err == nil {
		i.counts.Conns += uint64(i.conns)
	} else {
		i.behind = true
	}
	k.says(&i.place, m.err)
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
