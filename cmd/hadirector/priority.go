package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// niceness is the daemon's. A director that gets the processor late is taken for dead
// by its peer: at the default interval it has a third of a second.
const niceness = -15

// raisePriority gives the whole process the daemon's niceness. Linux keeps niceness per
// thread and a new thread has that of its maker, so every thread that the runtime has
// made so far is told. It needs CAP_SYS_NICE; without it everything works on a machine
// that is not busy.
func raisePriority() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("raise the priority: %w", err)
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, niceness); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("raise the priority to %d: %w", niceness, err)
		}
	}
	return nil
}
