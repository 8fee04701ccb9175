package routerproc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// connFD is the file descriptor that a child finds its end of the connection at, and
// further files after it.
const connFD = 3

// process is a child that is a process.
type process struct {
	cmd     *exec.Cmd
	conn    net.Conn
	stopped chan struct{}
}

// Command returns a function that starts the program at path as a child. It writes its
// log to stderr, finds the connection with [Inherited], and holds the files open under
// the numbers from 4 on.
//
// The child stays in the parent's process group and session, and nothing ties its life to
// the parent's but the connection.
func Command(path string, args []string, stderr *os.File, files ...*os.File) func() (Child, error) {
	return func() (Child, error) {
		ours, theirs, err := socketPair()
		if err != nil {
			return nil, fmt.Errorf("start the vrrp process: %w", err)
		}
		defer theirs.Close()
		cmd := exec.Command(path)
		cmd.Args = args
		cmd.Stderr = stderr
		cmd.ExtraFiles = append([]*os.File{theirs}, files...)
		if err := cmd.Start(); err != nil {
			ours.Close()
			return nil, fmt.Errorf("start the vrrp process: %w", err)
		}
		p := &process{cmd, ours, make(chan struct{}, 1)}
		go p.watch()
		return p, nil
	}
}

// socketPair returns a connection: our end, and the child's as a file.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "parent"), os.NewFile(uintptr(fds[1]), "child")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("use a socket pair: %w", err)
	}
	return conn, theirs, nil
}

// lastFD is a number above those of all other files of a child. When a process is killed,
// Linux closes its files from the highest number down, and waits some milliseconds with
// each raw socket until no processor can be using it: the connection has to come first,
// for the parent to know at once. (exit_files hands each file to task_work_add, from the
// lowest on, and task_work_run takes the newest first.)
const lastFD = 4096

// Inherited returns the child's end of the connection.
func Inherited() (io.ReadWriteCloser, error) {
	fd, err := unix.FcntlInt(connFD, unix.F_DUPFD_CLOEXEC, lastFD)
	if errors.Is(err, unix.EINVAL) { // more than this process may have
		fd, err = unix.FcntlInt(connFD, unix.F_DUPFD_CLOEXEC, connFD)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("use the connection to the daemon, which starts this command itself: %w", err)
	}
	unix.Close(connFD)
	return os.NewFile(uintptr(fd), "daemon"), nil
}

func (p *process) Conn() io.ReadWriteCloser { return p.conn }

func (p *process) PID() int { return p.cmd.Process.Pid }

func (p *process) Kill() {
	// One that has ended is no error, and there is no other.
	_ = p.cmd.Process.Kill()
}

func (p *process) Stopped() <-chan struct{} { return p.stopped }

// cldStopped is si_code of a child that a signal has stopped (CLD_STOPPED, signal.h).
const cldStopped = 5

// watch tells of each time that a signal stops the process, until it ends.
func (p *process) watch() {
	for {
		var info unix.Siginfo
		// WNOWAIT leaves the end to Wait.
		err := unix.Waitid(unix.P_PID, p.PID(), &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || info.Code != cldStopped:
			return
		}
		select {
		case p.stopped <- struct{}{}:
		default:
		}
		// Without WNOWAIT, so that the next one is another. It may go on by now.
		_ = unix.Waitid(unix.P_PID, p.PID(), nil, unix.WSTOPPED|unix.WNOHANG, nil)
	}
}

func (p *process) Wait() error {
	err := p.cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return errors.New(exit.String()) // "signal: killed"
	}
	return err
}
