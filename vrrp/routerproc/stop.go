package routerproc

import (
	"time"
)

// reportPatience is how long reports wait for a reader at the end.
const reportPatience = time.Second

// stop ends the child in order, or, if that takes too long, at once, and takes away what
// it left.
func (s *supervisor) stop() error {
	s.stopSpare()
	for ; s.reaping > 0; s.reaping-- {
		s.o.Ended(<-s.reaped)
	}
	if s.active != nil {
		s.unstopped = true
		s.stopActive()
	}
	patience := time.NewTimer(reportPatience)
	defer patience.Stop()
	for _, r := range s.pending {
		select {
		case s.o.Reports <- r:
		case <-patience.C:
			s.o.Logger.Warn("transitions were not reported, nobody reads them", "count", len(s.pending))
			return nil
		}
	}
	return nil
}

func (s *supervisor) stopActive() {
	patience := time.NewTimer(stopPatience(s.wanted))
	defer patience.Stop()
	for {
		message, more := s.next()
		report, reports := s.nextReport()
		select {
		case m, ok := <-s.active.in():
			if ok {
				s.received(m)
				continue
			}
			s.stopped()
			return
		case <-s.active.givenUp():
			s.stopped()
			return
		case s.active.out(more) <- message:
			s.sent(message)
		case reports <- report:
			s.pending = s.pending[1:]
		case <-patience.C:
			s.active.kill("did not stop in time, killed")
		}
	}
}

// stopped takes in the end of the active child.
func (s *supervisor) stopped() {
	if err := s.active.reap(); err != nil {
		s.o.Logger.Warn("vrrp process did not end in order, taking away what it left", "err", err)
	}
	// Also what it was to adopt, or to look after, and was not told of in time.
	s.o.Release(nil)
	s.reportEnds()
}
