package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockPatience is how long the daemon's lock is waited for: a killed predecessor
	// holds it until the kernel has taken its memory back.
	lockPatience = time.Second
	// orphanPatience is how long the virtual routers' process of a daemon that is gone
	// may take to end when it is killed.
	orphanPatience = 5 * time.Second
	// lockPause is between two looks at a lock.
	lockPause = 50 * time.Millisecond
)

// lock keeps a second daemon with the same runtime directory from running: it would
// take the first one's services for leftovers. The kernel gives the lock up with the
// process.
func (o runOptions) lock() (unlock func(), err error) {
	f, err := openLock(filepath.Join(o.runtime, "lock"))
	if err != nil {
		return nil, err
	}
	if err := waitLock(f, lockPatience); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another hadirector is running with %s", o.runtime)
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}

// openVRRPLock opens the lock of the virtual routers' process, which inherits it and so holds
// it for as long as it lives, if need be longer than the daemon. Who does is written in the
// file.
func (o runOptions) openVRRPLock() (*os.File, error) {
	return openLock(filepath.Join(o.runtime, "vrrp.lock"))
}

// takeVRRPLock takes that lock. A process that has outlived its daemon is killed: an orderly
// end would take its addresses away, and if no other director has taken over they are to
// stay where they are. So it comes last, when the daemon can go on with them.
func takeVRRPLock(f *os.File, logger *slog.Logger) error {
	err := waitLock(f, 0)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if pid, kerr := killHolder(f); kerr != nil {
			logger.Warn("vrrp process of an earlier run cannot be killed", "err", kerr)
		} else {
			logger.Info("vrrp process of an earlier run killed, its addresses stay for the moment", "pid", pid)
		}
		err = waitLock(f, orphanPatience)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("the vrrp process of an earlier run holds %s and does not end", f.Name())
	}
	return err
}

// noteHolder writes into a lock's file which process holds it.
func noteHolder(f *os.File, pid int) error {
	text := strconv.Itoa(pid) + "\n"
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("note who holds %s: %w", f.Name(), err)
	}
	return f.Truncate(int64(len(text)))
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the runtime directory: %w", err)
	}
	return f, nil
}

// waitLock takes a lock. If another process still holds it when patience has run out, the
// error is EWOULDBLOCK.
func waitLock(f *os.File, patience time.Duration) error {
	for until := time.Now().Add(patience); ; time.Sleep(lockPause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || !time.Now().Before(until) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// killHolder kills the process that a lock's file names, if it has that file open. A
// process that got the same number since is not touched.
func killHolder(f *os.File) (pid int, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0, fmt.Errorf("read who holds %s: %w", f.Name(), err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("read who holds %s: %q is no process", f.Name(), b)
	}
	// From here on the descriptor is the process, whatever becomes of the number.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return pid, fmt.Errorf("find process %d, which holds %s: %w", pid, f.Name(), err)
	}
	defer unix.Close(fd)
	has, err := hasOpen(pid, f)
	if err != nil {
		return pid, fmt.Errorf("look at process %d: %w", pid, err)
	}
	if !has {
		return pid, fmt.Errorf("process %d does not hold %s", pid, f.Name())
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return pid, fmt.Errorf("kill process %d: %w", pid, err)
	}
	return pid, nil
}

// hasOpen tells whether a process has a file open.
func hasOpen(pid int, f *os.File) (bool, error) {
	want, err := f.Stat()
	if err != nil {
		return false, err
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if have, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && os.SameFile(want, have) {
			return true, nil
		}
	}
	return false, nil
}
