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
	opened  bool   // it has opened what it needs
	does    string // what is wrong without it, in words for the log
	err     string // why it has failed
	said    map[string]bool
	failed  time.Time // when err was last another one
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
	k.hearing.quiet.does = "the kernel tells no connections"
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
	p.worker, p.opened = w, false
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
		p.worker, p.opened = nil, false
	}
}

// dismiss ends a worker that is not to be there.
func (p *place) dismiss() {
	p.end()
	p.err, p.said = "", nil
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
	anew := o.Interface != was.Interface || o.SyncID != was.SyncID
	if anew {
		k.hearing.end()
		k.ticking.end()
		k.injection.giveUp(k.r)
	}
	if !o.Capture || o.Interface == 0 {
		k.hearing.dismiss()
		k.hearing.quiet.dismiss()
	}
	if !o.Tick || o.Interface == 0 {
		k.ticking.dismiss()
	}
	if !o.injects() {
		k.injection.giveUp(k.r)
		k.injection.dismiss()
	}
	if anew || o.Epoch != was.Epoch { // either daemon may have missed something
		k.listing.wanted, k.injection.behind = true, true
		k.injection.pause, k.injection.again = 0, minTime(k.injection.again, time.Now().Add(againAfter))
	}
	if o.Serving != was.Serving || !o.Scopes.Equal(was.Scopes) {
		k.listing.wanted = true // the kernel knows better now what it knows, or peers are to know more
	}
	k.ensure()
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// injects tells whether the kernel is to be told what peers tell.
func (o Orders) injects() bool { return o.Interface != 0 && o.Inject && o.Ready }

// ensure starts what is ordered and does not run.
func (k *kernelSide) ensure() {
	o := k.r.now
	if o.Interface != 0 {
		if o.Capture && k.hearing.worker == nil {
			k.listing.wanted = true // for what was told before
			k.start(&k.hearing.place, k.capture)
		}
		if o.injects() && k.injection.worker == nil {
			k.injection.start(k, o.SyncID)
		}
		if o.Tick && k.ticking.worker == nil {
			k.start(&k.ticking.place, k.tick)
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
			m.p.opened = true
			if m.p == &k.hearing.place {
				k.listing.wanted = true // a list that is being read may be older than what is heard
			}
			if m.p != &k.injection.place { // that is seen when it was handed something
				k.says(m.p, nil)
			}
		}
	case endedMsg:
		if m.w != m.p.worker {
			return // there is another one in its place, or should be none
		}
		m.p.end() // the next second starts another
		if m.p == &k.injection.place {
			k.fail(m.err)
		} else {
			k.says(m.p, m.err)
		}
	}
}

const (
	// calm is for how long something must have worked until that is logged. What fails
	// again and again is logged once.
	calm = time.Minute
	// maxSaid bounds the reasons that are told apart.
	maxSaid = 16
)

// says notes why something fails, or that it works, and logs each reason once until it has
// worked for a while.
func (k *kernelSide) says(p *place, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == p.err {
		return
	}
	if text != "" && !p.said[text] && len(p.said) < maxSaid {
		if p.said == nil {
			p.said = make(map[string]bool)
		}
		p.said[text] = true
		k.r.o.Logger.Warn("connection sync: "+p.does, "err", err)
	}
	p.err, p.failed = text, time.Now()
	k.r.publish(p.failed)
}

// everySecond looks after the workers.
func (k *kernelSide) everySecond(now time.Time) {
	k.hearing.listen(k)
	k.injection.watch(k, now)
	if n := k.hearing.lost.due(now); n > 0 {
		k.r.o.Logger.Warn("connections of the kernel were not heard, reading its list", "datagrams", n)
	}
	if n := k.listing.lacked.due(now); n > 0 {
		k.r.o.Logger.Info("the kernel lacked connections that it should have, and is told them again", "connections", n)
	}
	for _, p := range []*place{&k.hearing.place, &k.hearing.quiet, &k.injection.place, &k.ticking.place, &k.listing.place} {
		if p.err == "" && len(p.said) > 0 && now.Sub(p.failed) >= calm {
			p.said = nil
			k.r.o.Logger.Info("connection sync: over: " + p.does)
		}
	}
	k.ensure()
}

// seldom adds up what may happen often and is logged now and then.
type seldom struct {
	n    uint64
	next time.Time
}

func (s *seldom) add(n uint64) { s.n += n }

// due returns what is to be logged now.
func (s *seldom) due(now time.Time) uint64 {
	if s.n == 0 || now.Before(s.next) {
		return 0
	}
	n := s.n
	s.n, s.next = 0, now.Add(time.Minute)
	return n
}

// tick is the worker that ticks. It is thought to work when it has done so for a while.
func (k *kernelSide) tick(ctx context.Context, w *worker) error {
	worked := time.AfterFunc(tickWorks, func() {
		select {
		case k.messages <- openedMsg{w, &k.ticking.place}:
		case <-ctx.Done():
		}
	})
	defer worked.Stop()
	return k.r.o.Kernel.Tick(ctx)
}

const tickWorks = time.Second

// ticking is the tick.
type ticking struct{ place }
