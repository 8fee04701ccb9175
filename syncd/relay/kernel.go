package relay

import (
	"context"
	"sync"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// Kernel opens what leads to the kernel's sync daemons on the private interface, and reads its
// connections. Each method may be called while another one works.
type Kernel interface {
	Capture() (Capture, error)
	Injector(syncID uint8) (Injector, error)
	// Tick makes the master daemon send what it holds back, again and again until ctx ends.
	Tick(ctx context.Context) error
	// Connections lists what the kernel has.
	Connections(ctx context.Context) ([]syncd.Living, error)
}

// Capture hears the kernel's master daemon (syncconn.Capture).
type Capture interface {
	Read() (syncd.Datagram, error)
	Heard() time.Time
	Close() error
}

// Injector hands datagrams to the kernel's backup daemon (syncconn.Injector).
type Injector interface {
	Inject(ctx context.Context, datagrams [][]byte) error
	// Counts returns how many datagrams were sent, how many of them the daemon's queue has
	// dropped, and how many were sent again.
	Counts() (sent, dropped, again uint64)
	Close() error
}

// kernelSide is the relay's side to its kernel. It belongs to the relay's goroutine, but for
// messages, which its workers send.
type kernelSide struct {
	r        *Relay
	messages chan any
	workers  context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup

	hearing   hearing
	injection injection
	ticking   ticking
	listing   listing
}

// worker is a goroutine with something that it has opened. In its place there may be
// another one already.
type worker struct{ cancel context.CancelFunc }

// place is where the worker for one thing is.
type place struct {
	*worker        // nil: none
	does    string // what is wrong without it, in words for the log
	err     string // why it has failed
}

// What workers tell; each has more to tell.
type (
	openedMsg struct {
		w *worker
		p *place
	}
	endedMsg struct {
		w   *worker
		p   *place
		err error
	}
)

func newKernelSide(r *Relay) *kernelSide {
	k := &kernelSide{r: r, messages: make(chan any, 256)}
	k.workers, k.cancel = context.WithCancel(context.Background())
	k.hearing.does = "the kernel's connections are not heard"
	k.injection.does = "the kernel is not told the peers' connections"
	k.ticking.does = "new connections are told up to 2 s late"
	k.listing.does = "the kernel's connections cannot be listed"
	return k
}

// start starts a worker in its place. What run returns is why it has ended.
func (k *kernelSide) start(p *place, run func(ctx context.Context, w *worker) error) {
	ctx, cancel := context.WithCancel(k.workers)
	w := &worker{cancel}
	p.worker = w
	k.running.Go(func() {
		err := run(ctx, w)
		if ctx.Err() != nil {
			err = nil // whatever it says: it was told to
		}
		cancel()
		k.messages <- endedMsg{w, p, err}
	})
}

// end ends the worker of a place, if there is one, without waiting for it.
func (p *place) end() {
	if p.worker != nil {
		p.cancel()
		p.worker = nil
	}
}

// stop ends all workers.
func (k *kernelSide) stop() {
	k.cancel()
	done := make(chan struct{})
	go func() { k.running.Wait(); close(done) }()
	for {
		select {
		case <-k.messages:
		case <-done:
			return
		}
	}
}

// attach brings the workers to new orders.
func (k *kernelSide) attach(was, o Orders) {
	anew := o.Interface == 0 || o.Interface != was.Interface || o.SyncID != was.SyncID
	if anew || !o.Capture {
		k.hearing.end()
	}
	if anew || !o.Inject || !o.Ready {
		k.injection.giveUp(k.r)
	}
	if anew || !o.Tick {
		k.ticking.end()
		k.ticking.err = ""
	}
	if o.Epoch != was.Epoch || anew {
		k.listing.wanted, k.injection.behind = true, true // either daemon may have missed something
	}
	if o.Serving != was.Serving {
		k.listing.wanted = true // the kernel knows better now what it knows
	}
	k.ensure()
}

// ensure starts what is ordered and does not run.
func (k *kernelSide) ensure() {
	o := k.r.now
	if o.Interface != 0 {
		if o.Capture && k.hearing.worker == nil {
			k.listing.wanted = true // for what was told before
			k.start(&k.hearing.place, k.capture)
		}
		if o.Inject && o.Ready && k.injection.worker == nil {
			k.injection.start(k, o.SyncID)
		}
		if o.Tick && k.ticking.worker == nil {
			k.start(&k.ticking.place, func(ctx context.Context, _ *worker) error { return k.r.o.Kernel.Tick(ctx) })
		}
	}
	k.list(time.Now())
}

// take takes in what a worker tells.
func (k *kernelSide) take(m any) {
	switch m := m.(type) {
	case capturedMsg:
		k.captured(m)
	case injectedMsg:
		k.injected(m)
	case listedMsg:
		k.listed(m)
	case heardMsg:
		if m.w == k.hearing.worker {
			k.hearing.heard = m.heard
		}
	case openedMsg:
		if m.w == m.p.worker {
			k.says(m.p, nil)
		}
	case endedMsg:
		if m.w != m.p.worker {
			return // there is another one in its place, or should be none
		}
		m.p.worker = nil // the next second starts another
		if m.p == &k.injection.place {
			k.injection.giveUp(k.r)
		}
		k.says(m.p, m.err)
	}
}

// says logs why something fails if that is new, and that it works again.
func (k *kernelSide) says(p *place, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == p.err:
		return
	case text != "":
		k.r.o.Logger.Warn("connection sync: "+p.does, "err", err)
	default:
		k.r.o.Logger.Info("connection sync: over: " + p.does)
	}
	p.err = text
	k.r.publish(time.Now())
}

// ticking is the tick.
type ticking struct{ place }
