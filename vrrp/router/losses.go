package router

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// restoreAfter is how long a lost address is waited for: where the whole link goes, its
// addresses do first.
const restoreAfter = 20 * time.Millisecond

// losses is what a Master knows of addresses that somebody else has taken from its
// interface.
type losses struct {
	seen  bool           // all addresses have been on the interface since they were written
	due   time.Time      // when what is missing is added again; zero: nothing is known to be missing
	at    time.Time      // when addresses were last added again
	said  time.Time      // when the log last told
	addrs []netip.Prefix // what it told of
	count int            // added again since then
}

// missing returns the virtual addresses of a Master that its interface has lost.
func (m *member) missing() []netip.Prefix {
	if m.state != vrrp.Master {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.params.Held()), func(v netip.Prefix) bool {
		return slices.ContainsFunc(m.port.link.Addrs, func(a netip.Prefix) bool { return a.Addr() == v.Addr() })
	})
}

// guardAddrs sees to addresses that somebody else has taken away. They are added again
// after restoreAfter if they have been seen on the interface, and at most every
// retryInterval, because whoever takes them away may do it each time. If they have not
// been seen, this may be a report from before our own acquisition, and is looked at
// again first.
func (m *member) guardAddrs(now time.Time) {
	l := &m.losses
	switch {
	case m.state != vrrp.Master:
		return
	case len(m.missing()) == 0:
		l.seen, l.due = true, time.Time{}
		return
	case !l.due.IsZero():
	case l.seen:
		l.due = later(now.Add(restoreAfter), l.at.Add(retryInterval))
	default:
		l.due = now.Add(retryInterval)
	}
	m.wakeBy(l.due)
}

// lost returns the missing addresses that are to be added again now. It is asked whenever
// something else is tried again too, and then the last report of the interface may be from
// before our own acquisition.
func (m *member) lost(now time.Time) []netip.Prefix {
	if m.losses.due.IsZero() || now.Before(m.losses.due) {
		return nil
	}
	return without(m.missing(), m.unacquired)
}

// restored notes that lost addresses are added again: each time in the counter, and at
// most once a minute in the log for the same ones.
func (l *losses) restored(m *member, now time.Time, lost []netip.Prefix) {
	m.counters.Restored += uint64(len(lost))
	l.at = now
	l.count += len(lost)
	if slices.Equal(lost, l.addrs) && now.Sub(l.said) < time.Minute {
		return
	}
	m.log.Warn("virtual addresses were removed from the interface, adding them again", "addresses", lost, "count", l.count)
	l.said, l.addrs, l.count = now, lost, 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
