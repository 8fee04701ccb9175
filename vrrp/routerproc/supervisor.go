package routerproc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// maxPending bounds the reports that wait for a reader.
const maxPending = 1 << 14

// supervisor is what Run's goroutine knows.
type supervisor struct {
	p *Process
	o Options

	wanted  map[string]vrrp.Instance // nil: nothing has been applied yet
	states  map[string]vrrp.State    // by the reports
	pending []vrrp.Report            // not yet taken by the reader
	alive   bool                     // the director loop has given a sign of life since the last ping

	crashes crashes
	starts  uint64
	retry   <-chan time.Time // the next start, while it is put off

	// The child that runs; nil: none does.
	child   Child
	pipe    *pipe[fromChild, toChild]
	started time.Time
	talks   bool // it has said something
	killed  string
	// What it is still to be told.
	unstarted, unsent, unpinged, unstopped bool
	orders                                 []order
	// silence counts the ticks since the last ping was due, -1 if that one has been
	// answered; pings counts all.
	silence, pings int
	// gone is when virtual routers ended together with their child, until the next one
	// has reported them or they are given up; adopt are those of them that the child was
	// told to go on with, and undecided says that it has not been told anything yet.
	gone      map[string]time.Time
	adopt     map[string]vrrp.ID
	undecided bool
	died      time.Time // the end of the last child
}

// spawn starts a child, or puts it off.
func (s *supervisor) spawn() {
	s.retry = nil
	now := time.Now()
	s.p.tell(func() { s.p.status = Status{Restarts: s.starts} })
	s.starts++
	c, err := s.o.Spawn()
	if err != nil {
		s.failed(End{At: now, Why: err.Error()}, max(s.crashes.ended(0), firstPause))
		return
	}
	s.child, s.pipe, s.started = c, newPipe[fromChild, toChild](c.Conn()), now
	s.talks, s.killed = false, ""
	s.unstarted, s.unsent, s.orders = true, s.wanted != nil, nil
	s.silence, s.unpinged = -1, false
	s.p.tell(func() { s.p.status.PID, s.p.status.Since = c.PID(), now })
}

// apply takes in what the director wants. A virtual router that gets another name keeps
// its state.
func (s *supervisor) apply(in map[string]vrrp.Instance) {
	names := make(map[vrrp.ID]string, len(s.wanted))
	for name, i := range s.wanted {
		names[i.ID] = name
	}
	renamed := make(map[string]string)
	for name, i := range in {
		if before, ok := names[i.ID]; ok && before != name {
			renamed[before] = name
		}
	}
	s.states, s.gone, s.adopt = rename(s.states, renamed), rename(s.gone, renamed), rename(s.adopt, renamed)
	s.wanted, s.unsent = in, true
}

// rename gives entries other names, which may be those that others had.
func rename[T any](m map[string]T, renamed map[string]string) map[string]T {
	out := make(map[string]T, len(m))
	for name, v := range m {
		if _, ok := renamed[name]; !ok {
			out[name] = v
		}
	}
	for before, name := range renamed {
		if v, ok := m[before]; ok {
			out[name] = v
		}
	}
	return out
}

// next is what the child is told next.
func (s *supervisor) next() (toChild, bool) {
	switch {
	case s.unstarted:
		return toChild{Start: &Start{LogFormat: s.o.LogFormat, LogLevel: s.o.LogLevel.Level()}}, true
	case s.unstopped:
		return toChild{Stop: &stop{}}, true
	case s.unsent:
		return toChild{Apply: &apply{s.instances(), s.died}}, true
	case len(s.orders) > 0:
		return toChild{Order: &s.orders[0]}, true
	case s.unpinged:
		return toChild{Ping: &ping{Alive: s.alive, LogLevel: s.o.LogLevel.Level(), Snapshots: s.pings%2 == 1}}, true
	}
	return toChild{}, false
}

// sent notes that the child has been told.
func (s *supervisor) sent(m toChild) {
	switch {
	case m.Start != nil:
		s.unstarted = false
	case m.Stop != nil:
		s.unstopped = false
	case m.Apply != nil:
		s.unsent = false
		s.applied(m.Apply.Instances)
	case m.Order != nil:
		s.orders = s.orders[1:]
	case m.Ping != nil:
		s.unpinged = false
		// What came while the ping waited is told with the next one.
		s.alive = s.alive && !m.Ping.Alive
	}
}

// instances are the wanted ones, with what is to be adopted. A virtual router is named
// for adoption in everything that is sent until it has reported itself: the child may
// look at the newest alone.
func (s *supervisor) instances() map[string]vrrp.Instance {
	in := maps.Clone(s.wanted)
	for name, i := range in {
		id, adopted := s.adopt[name]
		i.Adopt = adopted && id == i.ID || s.undecided && adoptable(i, s.states[name], time.Since(s.gone[name]))
		in[name] = i
	}
	return in
}

// applied notes what a child has been given. What its predecessor ran and it does not
// adopt has ended with that one.
func (s *supervisor) applied(in map[string]vrrp.Instance) {
	if !s.undecided {
		return
	}
	s.undecided = false
	s.adopt = make(map[string]vrrp.ID)
	for name, i := range in {
		if i.Adopt {
			s.adopt[name] = i.ID
		}
	}
	for name := range s.gone {
		if _, adopted := s.adopt[name]; !adopted {
			s.reportEnd(name)
		}
	}
}

// reportEnd reports the end of a virtual router that ended without a word.
func (s *supervisor) reportEnd(name string) {
	delete(s.gone, name)
	delete(s.adopt, name)
	from := s.states[name]
	if from == vrrp.Initialize {
		return
	}
	r := vrrp.Report{Instance: name, At: time.Now(), Transition: vrrp.Transition{
		From: from, To: vrrp.Initialize, Reason: vrrp.ReasonFailed, Detail: "the vrrp process ended",
	}}
	s.report(r)
	s.p.tell(func() {
		snap := s.p.snapshots[name]
		snap.State, snap.Reason, snap.Detail, snap.Since = r.To, r.Reason, r.Detail, r.At
		s.p.snapshots[name] = snap
	})
}

// reportEnds reports the end of all that run.
func (s *supervisor) reportEnds() {
	for _, name := range slices.Sorted(maps.Keys(s.states)) {
		s.reportEnd(name)
	}
}

func (s *supervisor) report(r vrrp.Report) {
	s.states[r.Instance] = r.To
	if len(s.pending) == maxPending {
		s.pending = s.pending[1:]
	}
	s.pending = append(s.pending, r)
}

// received takes in what the child says.
func (s *supervisor) received(m fromChild) {
	s.talks = true
	switch {
	case m.Facts != nil:
		s.p.tell(func() { s.p.status.Facts = *m.Facts })
	case m.Event != nil:
		r := m.Event.Report
		delete(s.adopt, r.Instance)
		delete(s.gone, r.Instance)
		s.report(r)
		if m.Event.Snapshot != nil {
			s.p.tell(func() { s.p.snapshots[r.Instance] = *m.Event.Snapshot })
		}
	case m.Pong != nil:
		s.silence = -1
		s.p.tell(func() {
			s.p.status.Answered = time.Now()
			if m.Pong.Snapshots != nil {
				s.p.snapshots = m.Pong.Snapshots
			}
		})
	}
}

// pulse is the channel that takes the director loop's next sign of life, as long as one
// is wanted.
func (s *supervisor) pulse() chan<- struct{} {
	if s.alive {
		return nil
	}
	return s.o.Pulse
}

// tick pings the child, and kills one that does not answer.
func (s *supervisor) tick() {
	if s.child == nil || s.killed != "" {
		return
	}
	if s.silence < 0 {
		s.silence, s.unpinged = 0, true
		s.pings++
		return
	}
	s.silence++
	limit := maxSilence
	if !s.talks {
		limit = maxStartSilence
	}
	if s.silence >= limit {
		s.killed = fmt.Sprintf("no answer for %v, killed", time.Duration(s.silence)*pingInterval)
		s.child.Kill()
	}
}

// reapPatience is how long a child may take to end after it has closed its connection.
const reapPatience = 2 * time.Second

// reap waits for a child whose connection is closed.
func (s *supervisor) reap() error {
	ended := make(chan error, 1)
	go func() { ended <- s.child.Wait() }()
	timer := time.NewTimer(reapPatience)
	defer timer.Stop()
	var err error
	select {
	case err = <-ended:
	case <-timer.C:
		s.child.Kill()
		err = <-ended
	}
	s.pipe.close()
	s.child, s.pipe = nil, nil
	if s.killed != "" {
		err = errors.New(s.killed)
	}
	return err
}

// ended takes in the end of a child that nobody asked for, and starts the next.
func (s *supervisor) ended() {
	now := time.Now()
	pid, hung := s.child.PID(), s.silence > 0
	why := "exit status 0"
	if err := s.reap(); err != nil {
		why = err.Error()
	}
	end := End{At: now, PID: pid, Why: why}
	if pause := s.crashes.ended(now.Sub(s.started)); pause > 0 {
		s.failed(end, pause)
		return
	}
	for name := range s.states {
		switch _, already := s.gone[name]; {
		case already: // it did not come back yet, so it has been silent since then
		case hung:
			s.gone[name] = time.Time{}
		default:
			s.gone[name] = now
		}
	}
	s.o.Ended(end)
	s.adopt, s.undecided, s.died = nil, true, now
	s.spawn()
	if s.child != nil {
		// What the instances of today do not name, the new child would not know of. It
		// has not been given any yet.
		s.o.Release(s.wanted)
	}
}

// failed puts the next start off. What the last child left would stay on this director
// while another one is Master, so it is taken away first.
func (s *supervisor) failed(end End, pause time.Duration) {
	s.p.tell(func() { s.p.status = Status{Restarts: s.p.status.Restarts} })
	s.o.Release(nil)
	s.reportEnds()
	s.undecided = false
	end.Pause = pause
	s.retry = time.After(pause)
	s.o.Ended(end)
}
