package router

import (
	"fmt"
	"time"
)

// port is what a virtual router sends and receives on: its interface, or a link of its
// own above it.
type port struct {
	base Link // the interface
	link Link // the link that addresses and sockets are on; base itself without a VMAC
	// trouble is why the port counts as unusable, empty if it counts as usable.
	trouble string
	// changingAt is since when it is the other way round; zero: it is not.
	changingAt time.Time
	known      bool // trouble has been decided at least once
	// madeAt is when the device was made for the last time, and has to be deleted;
	// zero: it was not.
	madeAt time.Time
}

// usePort takes in the newest state of the links and returns why they cannot be used,
// in words for the operator, if they cannot.
func (m *member) usePort(now time.Time) string {
	p := &m.port
	p.base = m.links[m.id.Interface]
	trouble := p.base.trouble()
	if m.in.VMAC == nil {
		p.link = p.base
	} else {
		if trouble == "" {
			trouble = m.makeDevice(now)
		}
		p.link = m.links[m.in.Link()]
		if trouble == "" && !m.awaitsDevice(now) {
			trouble = p.link.trouble()
		}
	}
	p.trouble = m.settled(now, trouble)
	return p.trouble
}

// makeDevice makes the link of a virtual router that has one of its own, or mends it.
func (m *member) makeDevice(now time.Time) (trouble string) {
	if !m.port.madeAt.IsZero() && (m.links[m.in.Link()].Up || m.awaitsDevice(now)) {
		return ""
	}
	err := m.opts.devices().Make(m.in)
	m.note("make link", err)
	if err != nil {
		m.wakeBy(now.Add(retryInterval))
		return fmt.Sprintf("cannot make the link %s: %v", m.in.Link(), err)
	}
	m.port.madeAt = now
	m.wakeBy(now.Add(retryInterval))
	return ""
}

// mendDevice makes the link of a virtual router that has one of its own anew if somebody
// has changed it.
func (m *member) mendDevice(now time.Time) {
	if m.in.VMAC == nil || m.port.trouble != "" {
		return
	}
	err := m.opts.devices().Make(m.in)
	m.note("make link", err)
	m.lookAgain(now, err)
}

// awaitsDevice tells whether the kernel has yet to tell of a link that was made. It is
// no fault meanwhile.
func (m *member) awaitsDevice(now time.Time) bool {
	return !m.links[m.in.Link()].Up && !m.port.madeAt.IsZero() && now.Sub(m.port.madeAt) < retryInterval
}

func (m *member) deleteDevice() {
	if !m.port.madeAt.IsZero() {
		m.note("delete link", m.opts.devices().Delete(m.in))
		m.port.madeAt = time.Time{}
	}
}

// settled gives a change of the link's state time to last: LinkDownDelay and
// LinkUpDelay. A link that no longer exists is not waited for.
func (m *member) settled(now time.Time, trouble string) string {
	p := &m.port
	delay := m.in.LinkUpDelay
	if trouble != "" {
		delay = m.in.LinkDownDelay
	}
	same := (trouble == "") == (p.trouble == "")
	if same || !p.known || p.link.Index == 0 || delay == 0 {
		p.known, p.changingAt = true, time.Time{}
		return trouble
	}
	if p.changingAt.IsZero() {
		p.changingAt = now
	}
	if until := p.changingAt.Add(delay); now.Before(until) {
		m.wakeBy(until)
		if p.trouble != "" {
			return p.trouble
		}
		return ""
	}
	p.changingAt = time.Time{}
	return trouble
}

// trouble says in words for the operator why a link cannot be used, if it cannot.
func (l Link) trouble() string {
	switch {
	case l.Up:
		return ""
	case l.Why != "":
		return l.Why
	}
	return "link " + l.Name + " is down"
}
