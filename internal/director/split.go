package director

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// blockedAfter, splitAfter and equalAfter are how long something has to last before
	// it is said: a hand-over takes its time on both ways. overAfter is how long it has
	// to be gone.
	blockedAfter = 1500 * time.Millisecond
	splitAfter   = 2 * time.Second
	equalAfter   = 3 * time.Second
	overAfter    = time.Second
)

// splitView is one virtual router at one moment.
type splitView struct {
	self  string
	state vrrp.State
	// held says that this Backup would take over if it were not told to hold.
	held bool
	// masters are the peers that were heard of a moment ago and say that they are Master.
	masters []string
	// received counts the advertisements that were accepted, and discarded those that
	// were not, by reason.
	received  uint64
	discarded map[string]uint64
	// priority is this director's, effective is what it uses now.
	priority, effective vrrp.Priority
	// heard is the Master that is heard, and its priority; empty: none.
	heard         string
	heardPriority vrrp.Priority
	// same are the directors with the same priority in the configuration.
	same []string
}

// split finds what is wrong between the directors of one virtual router: a Master whose
// advertisements do not arrive, two Masters, equal priorities. It is a value; time comes
// in as an argument.
type split struct {
	blocked, brain, equal condition
	// received and discarded are the counts when the two views began to differ.
	received  uint64
	discarded map[string]uint64
	differ    bool
}

// splitProblem is one thing that is wrong.
type splitProblem struct {
	kind splitKind
	text string // in words for the operator
}

type splitKind uint8

// The kinds of problems.
const (
	advertsBlocked splitKind = iota
	splitBrain
	equalPriorities
)

// splitChange is the beginning or the end of a problem.
type splitChange struct {
	splitProblem
	over bool
}

// observe takes in the state of things and returns what has begun and ended.
func (s *split) observe(now time.Time, v splitView) []splitChange {
	two := v.state == vrrp.Master && len(v.masters) > 0
	silent := v.held && len(v.masters) > 0
	if differ := two || silent; differ != s.differ {
		s.differ, s.received, s.discarded = differ, v.received, v.discarded
	}
	arrived := v.received != s.received
	who, refused := strings.Join(v.masters, " and "), s.refused(v)
	alive, its := "it is", "its"
	if len(v.masters) > 1 {
		alive, its = "they are", "their"
	}
	tie := v.same
	if v.state == vrrp.Backup && v.heard != "" && v.heardPriority == v.effective && v.effective == v.priority {
		tie = []string{v.heard}
	}

	var changes []splitChange
	note := func(c *condition, kind splitKind, is bool, after time.Duration, text, over string) {
		switch c.observe(now, is, after) {
		case begun:
			c.text = text
			changes = append(changes, splitChange{splitProblem{kind, text}, false})
		case ended:
			c.text = ""
			changes = append(changes, splitChange{splitProblem{kind, over}, true})
		}
	}
	blocked := "adverts of " + who + " do not arrive although " + alive + " alive: a firewall, IGMP snooping or a VLAN blocks protocol 112"
	if refused != "" {
		blocked = "adverts of " + who + " are discarded here although " + alive + " alive: " + refused
	}
	note(&s.blocked, advertsBlocked, s.differ && !arrived, blockedAfter, blocked, overText(v, arrived))
	cause := its + " adverts do not arrive here"
	switch {
	case arrived:
		cause = its + " adverts arrive here, so those of " + v.self + " do not arrive there, or are discarded"
	case refused != "":
		cause = its + " adverts are discarded here: " + refused
	}
	note(&s.brain, splitBrain, two, splitAfter, fmt.Sprintf("%s are Master at the same time: %s", strings.Join(append([]string{v.self}, v.masters...), " and "), cause), "one Master again")
	note(&s.equal, equalPriorities, len(tie) > 0, equalAfter,
		fmt.Sprintf("%s and %s have the same priority %d, so the higher address decides who is Master: give each its own",
			v.self, strings.Join(tie, " and "), v.priority), "the priorities differ")
	return changes
}

// refused names the reasons for which advertisements have been discarded since the two
// views began to differ.
func (s *split) refused(v splitView) string {
	var reasons []string
	for _, r := range slices.Sorted(maps.Keys(v.discarded)) {
		if v.discarded[r] > s.discarded[r] {
			reasons = append(reasons, r)
		}
	}
	return strings.Join(reasons, ", ")
}

// overText says why advertisements are no longer called blocked.
func overText(v splitView, arrived bool) string {
	switch {
	case len(v.masters) == 0:
		return "no other director says that it is Master any more"
	case arrived || v.state == vrrp.Backup:
		return "adverts of " + strings.Join(v.masters, " and ") + " arrive again"
	}
	return "over"
}

// problems are what is wrong now.
func (s *split) problems() []string {
	var list []string
	for _, c := range []condition{s.blocked, s.brain, s.equal} {
		if c.text != "" {
			list = append(list, c.text)
		}
	}
	return list
}

// condition is something that has to last before it counts, and to be gone for a while
// before it no longer does.
type condition struct {
	on    bool
	since time.Time // of the opposite of on; zero: it is as on says
	text  string    // while it is on
}

type edge uint8

const (
	noEdge edge = iota
	begun
	ended
)

func (c *condition) observe(now time.Time, is bool, after time.Duration) edge {
	if is == c.on {
		c.since = time.Time{}
		return noEdge
	}
	if c.since.IsZero() {
		c.since = now
	}
	if c.on {
		after = overAfter
	}
	if now.Sub(c.since) < after {
		return noEdge
	}
	c.on, c.since = is, time.Time{}
	if is {
		return begun
	}
	return ended
}
