package routerproc

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// Child is a child process as its parent sees it.
type Child interface {
	// Conn is the parent's end of the connection.
	Conn() io.ReadWriteCloser
	PID() int
	// Kill ends it at once. It may have ended already.
	Kill()
	// Stopped delivers each time that a signal has stopped it.
	Stopped() <-chan struct{}
	// Wait returns when it has ended, with why; nil: it ended in order. It is called
	// once.
	Wait() error
}

// Options are what a [Process] works with. All are required.
type Options struct {
	// Spawn starts a child, whose [Serve] gets the other end of the connection.
	Spawn func() (Child, error)
	// LogFormat and LogLevel are the daemon's; a child follows changes of the level.
	LogFormat string
	LogLevel  slog.Leveler
	// Reports receives every transition. A child never waits for its reader. Keep
	// reading until Run has returned.
	Reports chan<- vrrp.Report
	// Pulse is received from by the director loop. A loop that hangs does not, and
	// the child finds out.
	Pulse chan<- struct{}
	// Release takes away whatever in the kernel the virtual routers of a child that is
	// gone may have left, but for what the instances of keep hold. No child that has
	// instances runs meanwhile.
	Release func(keep map[string]vrrp.Instance)
	// Runs is told the process id of each child that is about to be given instances.
	Runs func(pid int)
	// Ended is told of every end of a child that nobody asked for. It must not block.
	Ended  func(End)
	Logger *slog.Logger
}

// End is the end of a child that nobody asked for.
type End struct {
	At  time.Time
	PID int // 0: it could not be started
	Why string
	// Pause is how long the next start is put off; 0: it is started again at once.
	Pause time.Duration
	// GivesWay says that it is started at once, and leaves mastership to every other
	// director for Pause.
	GivesWay bool
}

// Status is the child as it was last heard of.
type Status struct {
	Facts
	PID      int       // 0: none runs
	Spare    int       // process id of the one that is ready to be next; 0: none is
	Since    time.Time // since when it runs the virtual routers
	Answered time.Time // when it last answered
	Restarts uint64    // children after the first
}

// Process runs virtual routers in a child process. Its methods may be called by any
// goroutine.
type Process struct {
	o       Options
	applied chan map[string]vrrp.Instance // mailbox of one, newest wins
	orders  chan order

	mu        sync.Mutex // guards what readers see
	snapshots map[string]vrrp.Snapshot
	status    Status
}

// New returns a Process. Nothing is started before Run.
func New(o Options) *Process {
	return &Process{
		o: o, applied: make(chan map[string]vrrp.Instance, 1), orders: make(chan order, 64),
		snapshots: make(map[string]vrrp.Snapshot),
	}
}

// Apply makes in, keyed by name, the virtual routers that run. It returns at once; the
// newest call wins. The instances must be valid, and must not be written to afterwards.
func (p *Process) Apply(in map[string]vrrp.Instance) {
	for {
		select {
		case p.applied <- in:
			return
		default:
		}
		select {
		case <-p.applied:
		default:
		}
	}
}

// HandOver asks the named virtual routers that are Master to give way to another
// director. It returns at once; reports tell what became of it. Without a child nothing
// happens.
func (p *Process) HandOver(names ...string) { p.order(order{handOver, names}) }

// Announce asks the named virtual routers that are Master to announce their addresses
// again. It returns at once. Without a child nothing happens.
func (p *Process) Announce(names ...string) { p.order(order{announce, names}) }

func (p *Process) order(o order) {
	select {
	case p.orders <- o:
	default:
		p.o.Logger.Warn("too many orders at once, one is dropped", "names", o.Names)
	}
}

// Snapshots returns every virtual router by name, as last heard of: its state as of the
// last report, its counters as of the last second. It does not block.
func (p *Process) Snapshots() map[string]vrrp.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.snapshots)
}

// Status returns what is known of the child. It does not block.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// tell changes what readers see.
func (p *Process) tell(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// Run starts a child and looks after it until ctx ends. Then the child's Masters hand
// over, and Run returns when it has ended and all reports are delivered. It may be called
// once.
func (p *Process) Run(ctx context.Context) error {
	s := &supervisor{p: p, o: p.o, reaped: make(chan End, 1), states: make(map[string]vrrp.State), gone: make(map[string]time.Time)}
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	s.start()
	for ctx.Err() == nil {
		s.attention.look(time.Now())
		message, more := s.next()
		spareMessage, spareMore := s.nextSpare()
		report, reports := s.nextReport()
		select {
		case <-ctx.Done():
		case i := <-p.applied:
			s.apply(i)
		case order := <-p.orders:
			if s.active != nil {
				s.orders = append(s.orders, order)
			}
		case m, ok := <-s.active.in():
			if ok {
				s.received(m)
			} else {
				s.active.lost()
				s.ended()
			}
		case s.active.out(more) <- message:
			s.sent(message)
		case <-s.active.givenUp():
			s.active.silence = maxSilence // whatever it was before
			s.ended()
		case <-s.spare.givenUp():
			s.spareEnded()
		case <-s.active.stopped():
			s.active.halted(s.attention.missed(time.Now()))
		case <-s.spare.stopped():
			s.spare.halted(s.attention.missed(time.Now()))
		case m, ok := <-s.spare.in():
			if ok {
				s.spareHeard(m)
			} else {
				s.spareEnded()
			}
		case s.spare.out(spareMore) <- spareMessage:
			s.sentSpare(spareMessage)
		case reports <- report:
			s.pending = s.pending[1:]
		case s.pulse() <- struct{}{}:
			s.alive = true
		case <-tick.C:
			s.tick()
		case end := <-s.reaped:
			s.reaping--
			p.o.Ended(end)
		case <-s.retry:
			s.start()
		}
	}
	return s.stop()
}

// nextReport is the next report, and the channel for it, nil if there is none. What a
// child reports comes after the end of the one before it, which it follows from.
func (s *supervisor) nextReport() (vrrp.Report, chan<- vrrp.Report) {
	if len(s.pending) == 0 || s.reaping > 0 {
		return vrrp.Report{}, nil
	}
	return s.pending[0], s.o.Reports
}
