package director

import (
	"fmt"
	"log/slog"
	"time"
)

// VRRPProcess is the process that the virtual routers run in. The zero value says that
// they run in this one.
type VRRPProcess struct {
	// Pulse is what the loop shows itself alive by: it takes whatever is offered.
	Pulse <-chan struct{}
	// Ends tells of ends of the process that nobody asked for.
	Ends <-chan ProcessEnd
	// Status tells how the process is. It does not block.
	Status func() ProcessStatus
}

// ProcessEnd is an end of the virtual routers' process that nobody asked for.
type ProcessEnd struct {
	At  time.Time
	PID int // 0: it could not be started
	Why string
	// Pause is how long the next start is put off, with the virtual addresses taken
	// away; 0: it is started again at once.
	Pause time.Duration
	// GivesWay says that it is started at once, and leaves mastership to every other
	// director for Pause.
	GivesWay bool
}

// ProcessStatus is the virtual routers' process.
type ProcessStatus struct {
	Up    bool      `json:"up"`
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since,omitzero"` // since when it runs the virtual routers
	// SparePID is the process that is ready to go on when this one ends.
	SparePID int `json:"spare_pid,omitempty"`
	// Scheduling is "rr" for SCHED_RR and "nice" for the ordinary policy, Locked says
	// that the process's memory is never paged out.
	Scheduling string `json:"scheduling,omitempty"`
	Locked     bool   `json:"locked"`
	// Answered is when the process last gave a sign of life.
	Answered time.Time `json:"answered,omitzero"`
	Restarts uint64    `json:"restarts"`
}

// processEnded says that the virtual routers' process ended. What became of each of
// them is a transition of its own.
func (d *Director) processEnded(e ProcessEnd) {
	level, msg := slog.LevelWarn, "vrrp process ended, started again"
	text := "ended, started again: " + e.Why
	switch {
	case e.GivesWay:
		level, msg = slog.LevelError, "vrrp process ended again, started again and giving way to other directors"
		text = fmt.Sprintf("ended again, started again and giving way to other directors for %v: %s", e.Pause, e.Why)
	case e.Pause > 0:
		level, msg = slog.LevelError, "vrrp process ended, its addresses are released, trying again later"
		text = fmt.Sprintf("ended, its addresses are released, trying again in %v: %s", e.Pause, e.Why)
	}
	attrs := []any{"err", e.Why}
	if e.PID != 0 {
		attrs = append(attrs, "pid", e.PID)
	}
	if e.Pause > 0 {
		attrs = append(attrs, "duration", e.Pause)
	}
	d.log(level, msg, attrs...)
	d.record(Event{At: e.At, Kind: EventVRRPProcess, Object: "vrrp", Text: text})
}

// processStatus is nil if the virtual routers run in this process.
func (d *Director) processStatus() *ProcessStatus {
	if d.o.Process.Status == nil {
		return nil
	}
	s := d.o.Process.Status()
	return &s
}
