package vrrpconn

import (
	"log/slog"
	"maps"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// complaintInterval is the least time between two lines about the same thing.
	complaintInterval = time.Minute
	// maxComplaints bounds what is told apart. Whoever is on the segment can invent
	// senders.
	maxComplaints = 64
	// complaintMemory is how long something that has ended is told apart.
	complaintMemory = time.Hour
)

// complaints says which datagrams are discarded without a line for each: others
// cause them, and could with every packet. Of each virtual router, reason and sender
// the first is said, and then once a minute how many there were since. Beyond
// maxComplaints it goes by the reason alone.
type complaints struct {
	logger *slog.Logger
	told   map[complaint]*tally
}

// complaint is what is told apart. The VRID is 0 if there is no virtual router to
// name; without one and without a peer it stands for everybody beyond maxComplaints.
type complaint struct {
	vrid   vrrp.VRID
	reason string
	peer   netip.Addr
}

type tally struct {
	said, seen time.Time
	count      uint64 // since said
}

func newComplaints(logger *slog.Logger) *complaints {
	return &complaints{logger: logger, told: map[complaint]*tally{}}
}

// add counts one case, and says so if it is time to.
func (cs *complaints) add(msg string, c complaint, err error) {
	now := time.Now()
	c, t := cs.find(now, c)
	t.seen = now
	t.count++
	if !t.said.IsZero() && now.Sub(t.said) < complaintInterval {
		return
	}
	attrs := []any{"reason", c.reason, "count", t.count, "err", err}
	if c.peer.IsValid() {
		attrs = append(attrs, "peer", c.peer)
	}
	if c.vrid != 0 {
		attrs = append(attrs, "vrid", uint8(c.vrid))
	}
	cs.logger.Warn(msg, attrs...)
	t.said, t.count = now, 0
}

// find returns what the case is counted under.
func (cs *complaints) find(now time.Time, c complaint) (complaint, *tally) {
	if t, ok := cs.told[c]; ok {
		return c, t
	}
	if len(cs.told) >= maxComplaints {
		maps.DeleteFunc(cs.told, func(_ complaint, t *tally) bool { return now.Sub(t.seen) >= complaintMemory })
	}
	if len(cs.told) >= maxComplaints {
		c = complaint{reason: c.reason}
	}
	t, ok := cs.told[c]
	if !ok {
		t = &tally{}
		cs.told[c] = t
	}
	return c, t
}
