package routerproc

import "time"

// startSpare starts a child that waits for the end of the active one. To load a program
// takes time, and on a machine in trouble it may not be possible at all; the spare child
// has that behind it, with the memory and the scheduling that it needs.
func (s *supervisor) startSpare() {
	now := time.Now()
	c, err := s.o.Spawn()
	if err != nil {
		s.noSpare(err, s.putOff(0))
		return
	}
	s.spare = newKid(c, now)
}

// nextSpare is what the spare child is told next.
func (s *supervisor) nextSpare() (toChild, bool) {
	switch {
	case s.spare == nil:
		return toChild{}, false
	case !s.spare.told:
		return s.begin(), true
	case s.spare.pinging:
		return toChild{Ping: &ping{LogLevel: s.o.LogLevel.Level()}}, true
	}
	return toChild{}, false
}

func (s *supervisor) sentSpare(m toChild) {
	if m.Start != nil {
		s.spare.told = true
	} else {
		s.spare.pinging = false
	}
}

// spareHeard takes in what the spare child says.
func (s *supervisor) spareHeard(m fromChild) {
	s.spare.heard(m)
	if m.Facts != nil {
		s.p.tell(func() { s.p.status.Spare = s.spare.PID() })
	}
}

// spareEnded takes in the end of the spare child.
func (s *supervisor) spareEnded() {
	k := s.spare
	s.spare = nil
	s.p.tell(func() { s.p.status.Spare = 0 })
	pause := s.putOff(time.Since(k.begun))
	go func() { s.noSpare(k.reap(), pause) }()
}

// putOff puts the next spare child off, after one that ran for some time.
func (s *supervisor) putOff(ran time.Duration) time.Duration {
	pause := max(s.spareCrashes.ended(ran), firstPause)
	s.spareAt = time.Now().Add(pause)
	return pause
}

func (s *supervisor) noSpare(why error, pause time.Duration) {
	s.o.Logger.Warn("spare vrrp process ended", "err", why, "duration", pause)
}

// stopSpare ends the spare child, which has done nothing yet.
func (s *supervisor) stopSpare() {
	if s.spare != nil {
		s.spare.Kill()
		_ = s.spare.reap()
		s.spare = nil
	}
}
