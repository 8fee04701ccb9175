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
	// strangerInterval is that about the same unknown sender: it may be another
	// cluster's, whose VRID is ours by mistake, and go on for years.
	strangerInterval = time.Hour
	// maxComplaints bounds what is told apart of each reason. Whoever is on the segment
	// can invent senders, and must not hide what else is wrong.
	maxComplaints = 64
	// complaintMemory is how long something that has ended is told apart.
	complaintMemory = time.Hour
)

// complaints says which datagrams are discarded without a line for each: others
// cause them, and could with every packet. Of each virtual router, reason and sender
// the first is said, and then once a minute how many there were since; of a sender
// that is no known director once an hour. Beyond maxComplaints it goes by the reason
// alone, once a minute.
type complaints struct {
	logger *slog.Logger
	told   map[string]map[complaint]*tally // by reason
}

// complaint is what is told apart. The VRID is 0 if there is no virtual router to
// name; without one and without a peer it stands for everybody beyond maxComplaints.
type complaint struct {
	vrid   vrrp.VRID
	reason string
	peer   netip.Addr
}

// interval is the least time between two lines.
func (c complaint) interval() time.Duration {
	if c.reason == "peer" && c.peer.IsValid() {
		return strangerInterval
	}
	return complaintInterval
}

type tally struct {
	said, seen time.Time
	count      uint64 // since said
}

func newComplaints(logger *slog.Logger) *complaints {
	return &complaints{logger: logger, told: map[string]map[complaint]*tally{}}
}

// add counts one case, and says so if it is time to.
func (cs *complaints) add(msg string, c complaint, err error) {
	now := time.Now()
	c, t := cs.find(now, c)
	t.seen = now
	t.count++
	if !t.said.IsZero() && now.Sub(t.said) < c.interval() {
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
	told := cs.told[c.reason]
	if told == nil {
		told = map[complaint]*tally{}
		cs.told[c.reason] = told
	}
	if t, ok := told[c]; ok {
		return c, t
	}
	if len(told) >= maxComplaints {
		maps.DeleteFunc(told, func(_ complaint, t *tally) bool { return now.Sub(t.seen) >= complaintMemory })
	}
	if len(told) >= maxComplaints {
		c = complaint{reason: c.reason}
	}
	t, ok := told[c]
	if !ok {
		t = &tally{}
		told[c] = t
	}
	return c, t
}
