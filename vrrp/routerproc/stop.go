package routerproc

import (
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// reportPatience is how long reports wait for a reader at the end.
const reportPatience = time.Second

// stop ends the child in order, or, if that takes too long, at once, and takes away what
// it left.
func (s *supervisor) stop() error {
	if s.child != nil {
		s.unstopped = true
		s.stopChild()
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

func (s *supervisor) stopChild() {
	patience := time.NewTimer(stopPatience(s.wanted))
	defer patience.Stop()
	for {
		var out chan<- toChild
		message, more := s.next()
		if more {
			out = s.pipe.out
		}
		var reports chan<- vrrp.Report
		var report vrrp.Report
		if len(s.pending) > 0 {
			reports, report = s.o.Reports, s.pending[0]
		}
		select {
		case m, ok := <-s.pipe.in:
			if ok {
				s.received(m)
				continue
			}
			if err := s.reap(); err != nil {
				s.o.Logger.Warn("vrrp process did not end in order, taking away what it left", "err", err)
				s.o.Release(nil)
				s.reportEnds()
			}
			return
		case out <- message:
			s.sent(message)
		case reports <- report:
			s.pending = s.pending[1:]
		case <-patience.C:
			s.killed = "did not stop in time, killed"
			s.child.Kill()
		}
	}
}
