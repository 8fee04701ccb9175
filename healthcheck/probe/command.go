package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// Command is a program that an operator has the daemon run: a script that is a check or a
// track, and a hook.
//
// It runs without a shell, in a process group of its own, as the given user with that
// one's group alone, in the root directory, with no input, normal priority, a small
// environment, and nothing of the daemon's protection when memory runs out. As root it
// runs only if nobody else can write it. Nothing that it started in its group outlives
// it: what is left when it ends, or when its context does, is killed.
type Command struct {
	// Args are the program's absolute path and its arguments.
	Args []string
	// User is whom it runs as, a name or a numeric id; empty: nobody.
	User string
	// Env is what it finds in its environment beside PATH and LANG, as "NAME=value".
	Env []string
	// Timeout is what the text of an error says; the context ends the command.
	Timeout time.Duration
}

// scriptEnvironment is what every command finds in its environment, and a script nothing else.
var scriptEnvironment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C",
}

// outputGrace is how long the output of a command that has ended is waited for. Its end
// has usually come: only a process that has left the group can still hold it open.
const outputGrace = 100 * time.Millisecond

// end is how a command ended.
type end struct {
	byItself bool // else it was killed because its context had ended
	state    *os.ProcessState
	output   string // the first line of it, printable and short
}

// Run runs the command until it ends or ctx does. The error says in one short line why it
// was no success, with the first line that the command has said.
func (c Command) Run(ctx context.Context) error {
	e, err := c.run(ctx)
	if err != nil {
		return err
	}
	if status, ok := e.state.Sys().(syscall.WaitStatus); e.byItself && ok && status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return c.failure(ctx, e)
}

// run runs the command, whatever comes of it. The error says why it could not be started.
func (c Command) run(ctx context.Context) (end, error) {
	cmd, err := c.command()
	if err != nil {
		return end{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return end{}, c.notRun(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w

	// Pdeathsig is sent when the thread that started the child ends, not the process.
	// Locked, this thread lives until the child has been waited for. It also is the
	// thread whose niceness the child gets.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = startNice(cmd)
	w.Close()
	if err != nil {
		return end{}, c.notRun(err)
	}
	makeExpendable(cmd)
	output := make(chan string, 1)
	go func() { output <- firstLine(r) }()
	ended := waitGroup(ctx, cmd)
	_ = r.SetReadDeadline(time.Now().Add(outputGrace))
	return end{ended, cmd.ProcessState, <-output}, nil
}

// command is what to run, with what has to be known at the time of running.
func (c Command) command() (*exec.Cmd, error) {
	id, err := lookUp(c.User)
	if err != nil {
		return nil, err
	}
	path := c.Args[0]
	if id.Uid == 0 {
		// Whoever can write the file is root an interval later.
		if path, err = secure(path); err != nil {
			return nil, err
		}
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.Args, Env: slices.Concat(scriptEnvironment, c.Env), Dir: "/",
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if os.Geteuid() == 0 || int(id.Uid) != os.Geteuid() {
		cmd.SysProcAttr.Credential = id // no supplementary groups
	}
	return cmd, nil
}

// lookUp finds a user by name or number; an empty name is nobody's.
func lookUp(name string) (*syscall.Credential, error) {
	if name == "" {
		name = "nobody"
	}
	u, err := user.Lookup(name)
	if _, numeric := strconv.Atoi(name); err != nil && numeric == nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return nil, noUser(name, err)
	}
	uid, errUser := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGroup := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUser, errGroup); err != nil {
		return nil, &cause{text: fmt.Sprintf("user %s has no numeric id", name), errs: []error{err}}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// noUser is the cause when a user was not found.
func noUser(name string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	if text, own := ownTrouble[errno]; own {
		return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
	}
	return &cause{text: fmt.Sprintf("no such user: %s", name), errs: []error{err}}
}

// startNice starts the command at normal priority: the daemon's own is higher, so that
// advertisements are on time. The caller has locked its thread.
func startNice(cmd *exec.Cmd) error {
	const self = 0
	// The system call returns 20 less the niceness.
	if raw, err := unix.Getpriority(unix.PRIO_PROCESS, self); err == nil && raw > 20 {
		if unix.Setpriority(unix.PRIO_PROCESS, self, 0) == nil {
			defer func() { _ = unix.Setpriority(unix.PRIO_PROCESS, self, 20-raw) }()
		}
	}
	return cmd.Start()
}

// makeExpendable has the kernel, when memory runs out, treat a command that has just been
// started as any program: the unit file has the daemon go last, and what it starts inherits
// that. The command works either way. The caller has locked its thread.
func makeExpendable(cmd *exec.Cmd) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil || !strings.HasPrefix(string(own), "-") {
		return
	}
	score := fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid)
	err = os.WriteFile(score, []byte("0"), 0)
	if id := cmd.SysProcAttr.Credential; errors.Is(err, fs.ErrPermission) && id != nil {
		// The file belongs to the command's user, and the unit file gives no
		// CAP_DAC_OVERRIDE: this thread, and no other, opens it as that user.
		self, serr := unix.SetfsuidRetUid(int(id.Uid))
		if serr != nil {
			return
		}
		defer func() { _ = unix.Setfsuid(self) }()
		_ = os.WriteFile(score, []byte("0"), 0)
	}
}

// waitGroup waits until the process has ended, or kills it with its group when ctx
// ends. It returns whether the process ended by itself.
func waitGroup(ctx context.Context, cmd *exec.Cmd) bool {
	pid := cmd.Process.Pid
	kill := func() { _ = unix.Kill(-pid, unix.SIGKILL) }
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		kill()
		close(killed)
	})
	// The process stays a zombie until Wait below, so its number cannot have become
	// another group's when the group is killed.
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	byItself := stop()
	if !byItself {
		<-killed
	}
	kill()
	_ = cmd.Wait() // ProcessState says how it ended
	return byItself
}

// failure is the cause when a command that was started has not succeeded.
func (c Command) failure(ctx context.Context, e end) error {
	text := "ended without a status"
	switch status, ok := e.state.Sys().(syscall.WaitStatus); {
	case !e.byItself && errors.Is(ctx.Err(), context.Canceled):
		return &cause{text: "canceled while the script ran", errs: []error{ctx.Err()}}
	case !e.byItself:
		text = fmt.Sprintf("timeout after %v, killed", c.Timeout)
	case ok && status.Exited():
		text = fmt.Sprintf("exit status %d", status.ExitStatus())
	case ok && status.Signaled():
		text = "ended by " + unix.SignalName(status.Signal())
	}
	if e.output != "" {
		text += ": " + e.output
	}
	return &cause{text: text}
}

// forkTrouble are the kernel's errors that tell about the director and nothing about
// the command.
var forkTrouble = map[syscall.Errno]string{
	syscall.EAGAIN: "not asked: too many processes on this director",
	syscall.ENOMEM: "not asked: no memory for a process on this director",
	syscall.EMFILE: ownTrouble[syscall.EMFILE],
	syscall.ENFILE: ownTrouble[syscall.ENFILE],
}

// notRun is the cause when the command could not be started.
func (c Command) notRun(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return &cause{text: fmt.Sprintf("cannot run %s: %v", c.Args[0], err), errs: []error{err}}
	}
	if text, ok := forkTrouble[errno]; ok {
		return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
	}
	as := c.User
	if as == "" {
		as = "nobody"
	}
	return &cause{text: fmt.Sprintf("cannot run %s as %s: %v", c.Args[0], as, errno), errs: []error{err}}
}
