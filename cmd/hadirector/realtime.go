package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/vrrp/routerproc"
)

// realtimePriority is the lowest of SCHED_RR. It goes before everything that is not
// real-time, and after everything that is.
const realtimePriority = 1

// becomeRealtime makes the process one that nothing on the machine delays: all its
// threads run before those of ordinary programs, and its memory is never paged out.
// Without the privileges it says so once, and the process is as the daemon.
func becomeRealtime(logger *slog.Logger) routerproc.Facts {
	locked, rr := lockMemory(), scheduleRR()
	facts := routerproc.Facts{Realtime: rr == nil, Locked: locked == nil}
	var nice error
	if rr != nil {
		nice = raisePriority()
	}
	if err := errors.Join(rr, locked, nice); err != nil {
		logger.Warn("vrrp process is not real-time: on a busy machine the peer may take over without need",
			"err", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return facts
}

// scheduleRR gives every thread SCHED_RR. Linux keeps the policy per thread and a new
// thread has that of its maker, so it is done when a round over all threads finds none
// that was missed. It needs CAP_SYS_NICE or RLIMIT_RTPRIO, and, where the kernel shares
// out real time between control groups, a group that has some.
func scheduleRR() error {
	want := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realtimePriority}
	for missed := true; missed; {
		missed = false
		err := eachThread(func(tid int) error {
			have, err := unix.SchedGetAttr(tid, 0)
			if err != nil || have.Policy == want.Policy {
				return err
			}
			missed = true
			return unix.SchedSetAttr(tid, &want, 0)
		})
		if err != nil {
			return fmt.Errorf("schedule as SCHED_RR: %w", err)
		}
	}
	return nil
}

// eachThread calls f for every thread of this process until one fails. A thread that has
// ended meanwhile is no failure.
func eachThread(f func(tid int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := f(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// lockMemory keeps what the process has in memory there, and reads its program in full:
// the way to Master must not wait for a disk. Only what is used is locked (MCL_ONFAULT),
// because Go reserves far more than it uses. It needs CAP_IPC_LOCK or an unlimited
// RLIMIT_MEMLOCK: under any other limit a later allocation would fail, and the process
// with it.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return fmt.Errorf("lock the memory: read its limit: %w", err)
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("lock the memory: %w", err)
	}
	missing, err := missingOf(string(b), capability{unix.CAP_IPC_LOCK, "CAP_IPC_LOCK"})
	if err != nil {
		return fmt.Errorf("lock the memory: %w", err)
	}
	if limit.Cur != unix.RLIM_INFINITY && len(missing) > 0 {
		return errors.New("lock the memory: needs CAP_IPC_LOCK or no limit on locked memory")
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock the memory: %w", err)
	}
	return lockProgram()
}

// lockProgram reads and locks the mappings of the program's own file.
func lockProgram() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("lock the program: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("lock the program: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 00400000-00c3e000 r-xp 00000000 fe:00 1234   /usr/bin/hadirector
		line := lines.Text()
		if !strings.HasSuffix(line, " "+exe) {
			continue
		}
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		begin, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("lock the program: %w", err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MLOCK, uintptr(begin), uintptr(end-begin), 0); errno != 0 {
			return fmt.Errorf("lock the program: %w", errno)
		}
	}
	return nil
}
