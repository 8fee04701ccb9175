package routerproc

import (
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
	given   bool                     // a child has been told of some
	states  map[string]vrrp.State    // by the reports
	pending []vrrp.Report            // not yet taken by the reader
	alive   bool                     // the director loop has given a sign of life since the last ping

	// active is the child that runs the virtual routers, spare the one that would be
	// next. nil: there is none.
	active, spare *kid
	crashes       crashes
	starts        uint64           // of active ones
	retry         <-chan time.Time // the next, while it is put off
	giveWayUntil  time.Time        // zero: the active one is trusted
	spareCrashes  crashes
	spareAt       time.Time // not before that

	// What the active child is still to be told.
	unsent, unstopped bool
	orders            []order
	// reaped delivers the ends of children that have been replaced already, reaping of
	// them.
	reaped  chan End
	reaping int
	// gone is when virtual routers ended together with their child, until the next one
	// has reported them or they are given up; adopt are those of them that the child was
	// told to go on with, and undecided says that it has not been told anything yet.
	gone      map[string]time.Time
	adopt     map[string]vrrp.ID
	undecided bool
	died      time.Time // the end of the last child
	attention attention
}

// start gives the virtual routers to the spare child, or starts one for them, or puts
// that off.
func (s *supervisor) start() {
	s.retry = nil
	now := time.Now()
	k := s.spare
	s.spare = nil
	if k != nil && (k.silence > 0 || k.killed != "") { // it hangs, or may
		k.kill("does not answer, killed")
		go k.reap()
		k = nil
	}
	s.starts++
	s.down()
	if k == nil {
		c, err := s.o.Spawn()
		if err != nil {
			pause := max(s.crashes.ended(0), firstPause)
			s.failed(pause)
			s.o.Ended(End{At: now, Why: err.Error(), Pause: pause})
			return
		}
		k = newKid(c, now)
	}
	k.begun = now
	s.active, s.unsent, s.orders = k, s.wanted != nil, nil
	s.o.Runs(k.PID())
	s.p.tell(func() {
		s.p.status.PID, s.p.status.Since, s.p.status.Facts = k.PID(), k.begun, k.facts
	})
}

// down shows that no child is active.
func (s *supervisor) down() {
	status := Status{Restarts: max(s.starts, 1) - 1}
	if s.spare != nil && s.spare.talks {
		status.Spare = s.spare.PID()
	}
	s.p.tell(func() { s.p.status = status })
}

// next is what the active child is told next.
func (s *supervisor) next() (toChild, bool) {
	switch {
	case s.active == nil:
		return toChild{}, false
	case !s.active.told:
		return s.begin(), true
	case s.unstopped:
		return toChild{Stop: &stop{}}, true
	case s.unsent:
		return toChild{Apply: &apply{s.instances(), s.died, !s.giveWayUntil.IsZero()}}, true
	case len(s.orders) > 0:
		return toChild{Order: &s.orders[0]}, true
	case s.active.pinging:
		return toChild{Ping: &ping{Alive: s.alive, LogLevel: s.o.LogLevel.Level(), Snapshots: s.active.pings%2 == 1}}, true
	}
	return toChild{}, false
}

// begin is the first that a child is told.
func (s *supervisor) begin() toChild {
	return toChild{Start: &Start{LogFormat: s.o.LogFormat, LogLevel: s.o.LogLevel.Level()}}
}

// sent notes that the active child has been told.
func (s *supervisor) sent(m toChild) {
	switch {
	case m.Start != nil:
		s.active.told = true
	case m.Stop != nil:
		s.unstopped = false
	case m.Apply != nil:
		s.unsent, s.given = false, true
		s.applied(m.Apply.Instances)
	case m.Order != nil:
		s.orders = s.orders[1:]
	case m.Ping != nil:
		s.active.pinging = false
		// What came while the ping waited is told with the next one.
		s.alive = s.alive && !m.Ping.Alive
	}
}

// received takes in what the active child says.
func (s *supervisor) received(m fromChild) {
	s.active.heard(m)
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
		s.p.tell(func() {
			s.p.status.Answered = time.Now()
			if m.Pong.Snapshots != nil {
				s.p.snapshots = m.Pong.Snapshots
			}
		})
	}
}

func (s *supervisor) report(r vrrp.Report) {
	s.states[r.Instance] = r.To
	if len(s.pending) == maxPending {
		s.pending = s.pending[1:]
	}
	s.pending = append(s.pending, r)
}

// pulse is the channel that takes the director loop's next sign of life, as long as one
// is wanted.
func (s *supervisor) pulse() chan<- struct{} {
	if s.alive {
		return nil
	}
	return s.o.Pulse
}

// tick makes sure of the children, and that there is a spare one.
func (s *supervisor) tick() {
	s.active.tick()
	s.spare.tick()
	if !s.giveWayUntil.IsZero() && !time.Now().Before(s.giveWayUntil) {
		s.giveWayUntil, s.unsent = time.Time{}, s.active != nil
	}
	// Not while the active one is busy with its own start.
	if s.spare == nil && s.active != nil && s.active.talks && !time.Now().Before(s.spareAt) {
		s.startSpare()
	}
}

// ended takes in the end of an active child that nobody asked for, and starts the next. A
// child's connection closes when nothing of it runs any more, so there is no need to wait
// until the kernel has taken all of it apart.
func (s *supervisor) ended() {
	now := time.Now()
	k := s.active
	s.active = nil
	hung := k.silence > 0 || s.attention.missed(now)
	pause := s.crashes.ended(now.Sub(k.begun))
	if pause > 0 && !s.mayGiveWay(hung) {
		s.failed(pause)
		s.reap(k, End{At: now, Pause: pause})
		return
	}
	if s.giveWayUntil = (time.Time{}); pause > 0 {
		s.giveWayUntil = now.Add(pause)
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
	s.adopt, s.undecided, s.died = nil, true, now
	s.start()
	s.reap(k, End{At: now, Pause: pause, GivesWay: pause > 0})
	switch {
	case s.active == nil: // all is released
	case s.wanted == nil: // and what an earlier run left is not ours yet
	case hung && !k.talks:
		// It has not done anything for a long time, and the next one may not either.
		s.o.Release(nil)
	default:
		// What the instances of today do not name, the new child would not know of. It
		// has not been given any yet.
		s.o.Release(s.wanted)
	}
}

// reap has the end of a child reported, with why it ended, as soon as it has.
func (s *supervisor) reap(k *kid, end End) {
	s.reaping++
	go func() {
		end.PID, end.Why = k.PID(), k.why()
		s.reaped <- end
	}()
}

// mayGiveWay tells whether a child that follows one that ended again and again is started
// at once all the same: to hand mastership to another director, so that nobody misses it.
// If there is none the child goes on. One that ends once more did not get that far.
func (s *supervisor) mayGiveWay(hung bool) bool {
	if hung || !s.giveWayUntil.IsZero() {
		return false
	}
	for _, state := range s.states {
		if state == vrrp.Master {
			return true
		}
	}
	return false
}

// failed puts the next start off. What the last child left would stay on this director
// while another one is Master, so it is taken away first.
func (s *supervisor) failed(pause time.Duration) {
	s.down()
	s.o.Release(nil)
	s.reportEnds()
	s.undecided, s.giveWayUntil = false, time.Time{}
	s.retry = time.After(pause)
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
