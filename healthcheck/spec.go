package healthcheck

import (
	"net/netip"
	"time"
)

// Type is the kind of a check: "tcp" or "http".
type Type string

// The kinds of checks.
const (
	TCP  Type = "tcp"
	HTTP Type = "http"
)

// Spec is one configured check, [check.NAME]: what to ask and when to believe the
// answer. It is a comparable value, so that an unchanged check can be recognised.
type Spec struct {
	Name string
	Type Type
	// Interval is the time from the start of one probe to the start of the next.
	Interval time.Duration
	// Timeout bounds a whole probe, from connect to verdict.
	Timeout time.Duration
	// Rise and Fall are how many successes bring a real server up, and how many
	// failures take it down. The first verdict after a start needs only one.
	Rise, Fall int
	HTTP       HTTPSpec // for Type HTTP
}

// HTTPSpec is what an HTTP check asks for and accepts.
type HTTPSpec struct {
	Method string // GET or HEAD
	Path   string // the request target, from the slash on
	Host   string // the Host header; empty: the target's address
	// StatusMin and StatusMax are the accepted range, both included.
	StatusMin, StatusMax int
}

// Target is what is asked: an address and the check to make there. Virtual servers
// that name the same target share one probe.
type Target struct {
	Addr  netip.AddrPort
	Check string // name of the Spec
}

// Status is a target's health.
type Status uint8

// The statuses. Unknown is that of a target without a first verdict.
const (
	Unknown Status = iota
	Up
	Down
)

func (s Status) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// Event is a change of a target's status. Err is the cause when it went down.
type Event struct {
	Target Target
	Status Status
	Err    error
	At     time.Time
}
