package routerproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// patrolInterval is how often a child looks whether its parent still answers, and,
	// when it does not, asks again whether another director takes over.
	patrolInterval = time.Second
	// maxParentSilence is how many of its own patrols a child waits for a sign of life
	// of the director loop.
	maxParentSilence = 10
	// askAgain is how many patrols are between two offers of mastership.
	askAgain = 5
	// maxQueue bounds what waits to be written to the parent. A Set keeps the reports
	// that are not taken.
	maxQueue = 64
	// flushPatience is how long the last messages may take.
	flushPatience = time.Second
)

// Set runs virtual routers: [github.com/hadirector/hadirector/vrrp/router.Set].
type Set interface {
	Apply(map[string]vrrp.Instance)
	HandOver(names ...string)
	Announce(names ...string)
	Run(ctx context.Context) error
	Snapshots() map[string]vrrp.Snapshot
}

// Service is what a child works with, made from the parent's [Start].
type Service struct {
	Facts    Facts
	Logger   *slog.Logger
	LogLevel *slog.LevelVar
	// Open makes the virtual routers, and what they report to, as soon as it is this
	// child that runs them.
	Open func() (Set, <-chan vrrp.Report, error)
	// Release takes away whatever in the kernel instances may have left. It is called
	// when the Set has ended.
	Release func(map[string]vrrp.Instance)
}

// Serve is the child's side: it prepares itself and waits until the parent at the other
// end of conn has instances for it. Then it runs these virtual routers until the parent
// stops it or, if the parent is gone, until it is Master of nothing. What terminate
// delivers asks a child without a parent to end in order; as long as there is a parent,
// that one decides. Serve closes conn.
func Serve(conn io.ReadWriteCloser, terminate <-chan os.Signal, prepare func(Start) Service) error {
	p := newPipe[toChild, fromChild](conn)
	defer p.close()
	s := &server{pipe: p, in: p.in}
	first, err := s.await(terminate, prepare)
	if first == nil || err != nil {
		return err
	}
	set, reports, err := s.Open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.set, s.reports, s.cancel = set, reports, cancel
	s.told(toChild{Apply: first})
	done := make(chan error, 1)
	go func() { done <- set.Run(ctx) }()
	return s.run(terminate, done)
}

// await prepares the child and waits for the first instances; nil: there will be none.
func (s *server) await(terminate <-chan os.Signal, prepare func(Start) Service) (*apply, error) {
	for {
		message, out := s.next()
		select {
		case m, ok := <-s.in:
			switch {
			case !ok || m.Stop != nil:
				return nil, nil
			case m.Start != nil:
				s.Service = prepare(*m.Start)
				s.queue = append(s.queue, fromChild{Facts: &s.Facts})
			case s.Logger == nil:
				return nil, errors.New("the parent did not begin with the start")
			case m.Apply != nil:
				return m.Apply, nil
			case m.Ping != nil:
				s.LogLevel.Set(m.Ping.LogLevel)
				s.queue = append(s.queue, fromChild{Pong: &pong{}})
			}
		case out <- message:
			s.queue = s.queue[1:]
		case <-terminate: // the end of the parent is the end of this one too
		}
	}
}

// server is what Serve's goroutine knows.
type server struct {
	Service
	pipe  *pipe[toChild, fromChild]
	in    <-chan toChild // nil: there is no parent any more
	queue []fromChild    // not yet written

	set     Set
	reports <-chan vrrp.Report
	cancel  context.CancelFunc // ends the set

	asked     map[string]vrrp.Instance // what the parent wants
	before    map[string]vrrp.Instance // what it wanted before that
	weak      bool                     // mastership is on offer
	givesWay  bool                     // because the parent wants that
	silence   int                      // patrols since the director loop's last sign of life
	patrols   int                      // since mastership was last offered
	orphan    bool
	stopping  bool
	terminate time.Time // when it was last asked to end in spite of a parent
}

func (s *server) run(terminate <-chan os.Signal, done <-chan error) error {
	tick := time.NewTicker(patrolInterval)
	defer tick.Stop()
	for {
		message, out := s.next()
		reports := s.reports
		if len(s.queue) >= maxQueue {
			reports = nil
		}
		select {
		case m, ok := <-s.in:
			if ok {
				s.told(m)
			} else {
				s.orphaned()
			}
		case out <- message:
			s.queue = s.queue[1:]
		case r := <-reports:
			s.reported(r)
		case <-tick.C:
			s.patrol()
		case <-terminate:
			s.terminated()
		case err := <-done:
			return errors.Join(err, s.finish())
		}
	}
}

// next is the next message to the parent, and the channel for it, nil if there is none.
func (s *server) next() (fromChild, chan<- fromChild) {
	if len(s.queue) == 0 || s.orphan {
		return fromChild{}, nil
	}
	return s.queue[0], s.pipe.out
}

// told does what the parent says.
func (s *server) told(m toChild) {
	switch {
	case s.stopping:
	case m.Apply != nil:
		s.before, s.asked = s.asked, inTime(*m.Apply, time.Now())
		s.giveWay(m.Apply.GiveWay)
		s.apply()
	case m.Order != nil && m.Order.Do == handOver:
		s.set.HandOver(m.Order.Names...)
	case m.Order != nil && m.Order.Do == announce:
		s.set.Announce(m.Order.Names...)
	case m.Ping != nil:
		s.pinged(*m.Ping)
	case m.Stop != nil:
		s.stop()
	}
}

func (s *server) apply() {
	if s.weak {
		s.set.Apply(weakened(s.asked))
	} else {
		s.set.Apply(s.asked)
	}
}

func (s *server) stop() {
	s.stopping = true
	s.cancel()
}

func (s *server) pinged(m ping) {
	s.LogLevel.Set(m.LogLevel)
	answer := &pong{}
	if m.Snapshots {
		answer.Snapshots = s.set.Snapshots()
	}
	s.queue = append(s.queue, fromChild{Pong: answer})
	if !m.Alive {
		return
	}
	s.silence = 0
	if s.weak && !s.givesWay {
		s.Logger.Info("the daemon answers again, priorities are as configured")
		s.weak = false
		s.apply()
	}
}

// reported passes a report on, with all that wait behind it, each with its virtual
// router's snapshot. Without a parent it is said here.
func (s *server) reported(r vrrp.Report) {
	list := []vrrp.Report{r}
	for more := true; more && len(s.queue)+len(list) < maxQueue; {
		select {
		case r := <-s.reports:
			list = append(list, r)
		default:
			more = false
		}
	}
	if s.orphan {
		for _, r := range list {
			s.say(r)
		}
		s.endIfIdle()
		return
	}
	if s.givesWay && slices.ContainsFunc(list, func(r vrrp.Report) bool { return r.To == vrrp.Master }) {
		s.offer()
	}
	snapshots := s.set.Snapshots()
	for _, r := range list {
		e := &event{Report: r}
		if snap, ok := snapshots[r.Instance]; ok {
			e.Snapshot = &snap
		}
		s.queue = append(s.queue, fromChild{Event: e})
	}
}

// say logs what nobody else can.
func (s *server) say(r vrrp.Report) {
	attrs := []any{"virtual_router", r.Instance, "from", r.From, "to", r.To, "reason", r.Reason}
	if r.Detail != "" {
		attrs = append(attrs, "err", r.Detail)
	}
	if r.Peer.IsValid() {
		attrs = append(attrs, "peer", r.Peer, "peer_priority", r.PeerPriority)
	}
	s.Logger.Info("virtual router changed state", attrs...)
}

// patrol looks after a parent that says nothing, and after what is left to do without
// one.
func (s *server) patrol() {
	if s.stopping {
		return
	}
	s.silence++
	switch {
	case s.orphan && s.endIfIdle():
	case s.weak:
		if s.patrols++; s.patrols >= askAgain {
			s.offer()
		}
	case s.silence >= maxParentSilence:
		s.Logger.Error("the daemon does not answer, offering mastership to the other directors", "duration", time.Duration(s.silence)*patrolInterval)
		s.weaken()
	}
}

// weaken gives way to every other director until further notice.
func (s *server) weaken() {
	s.weak = true
	s.offer()
	s.apply()
}

// giveWay begins or ends giving way because the parent wants it. What is adopted is
// offered when it has been: see reported.
func (s *server) giveWay(yes bool) {
	if yes != s.givesWay {
		s.givesWay, s.weak, s.patrols = yes, yes || s.silence >= maxParentSilence, 0
	}
}

// offer hands mastership to any director that is there. One that does not preempt takes
// over too.
func (s *server) offer() {
	s.patrols = 0
	if names := s.masters(); len(names) > 0 {
		s.set.HandOver(names...)
	}
}

// masters are the virtual routers that are Master.
func (s *server) masters() []string {
	var names []string
	for name, snap := range s.set.Snapshots() {
		if snap.State == vrrp.Master {
			names = append(names, name)
		}
	}
	return names
}

// orphaned takes in the end of the parent.
func (s *server) orphaned() {
	s.orphan, s.in = true, nil
	for _, m := range s.queue {
		if m.Event != nil {
			s.say(m.Event.Report)
		}
	}
	s.queue = nil
	if s.stopping {
		return
	}
	names := s.masters()
	s.Logger.Error("the daemon ended, handing mastership over", "virtual_routers", names)
	if time.Since(s.terminate) < time.Minute {
		s.stop()
		return
	}
	if !s.endIfIdle() {
		s.weaken()
	}
}

// endIfIdle ends a child without a parent that is Master of nothing.
func (s *server) endIfIdle() bool {
	if len(s.masters()) > 0 || s.stopping {
		return false
	}
	s.stop()
	return true
}

// terminated is asked to end by somebody else than the parent. A stop of the whole
// service asks parent and child alike, and the end of the parent may be seen later than
// that.
func (s *server) terminated() {
	s.terminate = time.Now()
	if s.orphan && !s.stopping {
		s.Logger.Info("asked to end, stopping")
		s.stop()
	}
}

// finish passes on what the Set reported last. A child without a parent leaves nothing
// behind, also not what a predecessor left and it was to adopt.
func (s *server) finish() error {
	for more := true; more; {
		select {
		case r := <-s.reports:
			s.reported(r)
		default:
			more = false
		}
	}
	if s.orphan {
		s.Release(s.before)
		s.Release(s.asked)
		return nil
	}
	timer := time.NewTimer(flushPatience)
	defer timer.Stop()
	for _, m := range s.queue {
		select {
		case s.pipe.out <- m:
		case <-timer.C:
			return errors.New("the last reports were not delivered")
		}
	}
	s.pipe.flush(flushPatience)
	return nil
}
