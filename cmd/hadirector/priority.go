package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// niceness is the daemon's. A director that does not answer its virtual routers' process
// is taken for hung, and one that checks late takes real servers out late.
const niceness = -15

// raisePriority gives the whole process the daemon's niceness. Linux keeps niceness per
// thread and a new thread has that of its maker, so every thread that the runtime has
// made so far is told. It needs CAP_SYS_NICE; without it everything works on a machine
// that is not busy.
func raisePriority() error {
	if err := eachThread(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) }); err != nil {
		return fmt.Errorf("raise the priority to %d: %w", niceness, err)
	}
	return nil
}
