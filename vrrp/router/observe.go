package router

import (
	"maps"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// published is what readers see of a virtual router.
type published struct {
	name      string
	snap      vrrp.Snapshot
	conn      Conn              // counts its own discards
	discarded map[string]uint64 // the others
}

// publish hands readers a new snapshot.
func (m *member) publish() {
	p := &published{name: m.in.Name, snap: m.vr.Snapshot(), conn: m.socket.conn, discarded: m.discarded}
	p.snap.Counters = m.counters
	p.snap.Mismatch = m.mismatch
	p.snap.Unguarded = m.unguarded
	p.snap.AddressError = m.addrError
	p.snap.Failures = m.failures()
	m.pub.Store(p)
	m.dirty = false
}

// snapshot returns the virtual router's name and state. It may be called from any
// goroutine.
func (m *member) snapshot() (name string, s vrrp.Snapshot) {
	p := m.pub.Load()
	s = p.snap
	s.Counters.Discarded = make(map[string]uint64)
	maps.Copy(s.Counters.Discarded, p.discarded)
	if p.conn != nil {
		for reason, n := range p.conn.Discarded() {
			s.Counters.Discarded[reason] += n
		}
	}
	return p.name, s
}

// notes remember what was logged, so that a failure that lasts is one line.
type notes struct {
	failed map[string]string    // the last error, by operation
	warned map[string]time.Time // when, by token
}

// note logs the outcome of an operation of ours when it differs from the last one.
func (m *member) note(op string, err error) {
	last, failing := m.notes.failed[op]
	switch {
	case err == nil && failing:
		delete(m.notes.failed, op)
		m.log.Info("operation works again", "op", op)
	case err != nil && (!failing || last != err.Error()):
		if m.notes.failed == nil {
			m.notes.failed = make(map[string]string)
		}
		m.notes.failed[op] = err.Error()
		m.log.Error("operation failed", "op", op, "err", err)
	}
}

// failures are the operations that fail just now and that nothing else tells of:
// addresses have their own error, and without a socket or a link the state is Fault.
func (m *member) failures() []string {
	var list []string
	for op, err := range m.notes.failed {
		switch op {
		case "acquire", "release", "open", "make link":
			continue
		case "send", "announce", "acquire routes", "refuse packets":
			if m.state != vrrp.Master {
				continue // not tried any more
			}
		}
		list = append(list, err)
	}
	slices.Sort(list)
	return list
}

// warn logs something that others cause, at most once a minute for each token,
// because they could cause it with every packet.
func (m *member) warn(token, msg string, err error) {
	now := time.Now()
	if last, ok := m.notes.warned[token]; ok && now.Sub(last) < time.Minute {
		return
	}
	if m.notes.warned == nil {
		m.notes.warned = make(map[string]time.Time)
	}
	m.notes.warned[token] = now
	m.log.Warn(msg, "reason", token, "err", err)
}

// discard counts an advertisement that the virtual router does not take.
func (m *member) discard(err error) {
	reason := vrrp.DiscardReason(err)
	m.addDiscarded(reason, 1)
	m.warn(reason, "advertisement discarded", err)
}

func (m *member) addDiscarded(reason string, n uint64) {
	d := maps.Clone(m.discarded)
	if d == nil {
		d = make(map[string]uint64)
	}
	d[reason] += n
	m.discarded = d
}

// compare notes what an accepted advertisement has otherwise than we have.
func (m *member) compare(rx Received) {
	err := m.params.Mismatch(rx.From, rx.Advert)
	if err == nil {
		m.mismatch = ""
		return
	}
	m.mismatch = err.Error()
	m.warn("mismatch", "the other router is configured otherwise", err)
}
