package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

// scriptCheck runs a program and looks at its exit status.
//
// The program runs without a shell, in a process group of its own, as the given user
// with that one's group alone, in the root directory, with [scriptEnvironment], no
// input, normal priority, and nothing of the daemon's protection when memory runs out.
// Nothing that it started in its group outlives it: what is left when it ends, or when the
// probe's time is over, is killed.
type scriptCheck struct {
	args    []string
	user    string
	dynamic bool          // the exit status brings a weight
	timeout time.Duration // for the cause's text
}

// scriptEnvironment is all that a script finds in its environment.
var scriptEnvironment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C",
}

// outputGrace is how long the output of a script that has ended is waited for. Its end
// has usually come: only a process that has left the group can still hold it open.
const outputGrace = 100 * time.Millisecond

func newScript(sp healthcheck.Spec, t healthcheck.Target) (*scriptCheck, error) {
	args := strings.Split(sp.Script.Command, "\x00")
	if !filepath.IsAbs(args[0]) {
		return nil, fmt.Errorf("script %q is not an absolute path", args[0])
	}
	for i := range args[1:] {
		args[1+i] = t.Fill(args[1+i])
	}
	return &scriptCheck{args: args, user: sp.Script.User, dynamic: sp.Script.DynamicWeight, timeout: sp.Timeout}, nil
}

// Check succeeds when the script's exit status is 0, or one that brings a weight.
func (c *scriptCheck) Check(ctx context.Context) error {
	_, err := c.Measure(ctx)
	return err
}

// Measure returns the weight that the exit status brings, if it is to bring one.
func (c *scriptCheck) Measure(ctx context.Context) (healthcheck.Value, error) {
	status, err := c.run(ctx)
	if err != nil || status < 2 {
		return healthcheck.Value{}, err
	}
	return healthcheck.Value{Unit: healthcheck.Number, N: status - 2}, nil
}

// run runs the script and returns its exit status if that is a success.
func (c *scriptCheck) run(ctx context.Context) (int, error) {
	cmd, err := c.command()
	if err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, c.notRun(err)
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
		return 0, c.notRun(err)
	}
	makeExpendable(cmd)
	output := make(chan string, 1)
	go func() { output <- firstLine(r) }()
	ended := waitGroup(ctx, cmd)
	_ = r.SetReadDeadline(time.Now().Add(outputGrace))
	return c.judge(ctx, ended, cmd.ProcessState, <-output)
}

// command is what to run, with what has to be known at the time of running.
func (c *scriptCheck) command() (*exec.Cmd, error) {
	id, err := lookUp(c.user)
	if err != nil {
		return nil, err
	}
	path := c.args[0]
	if id.Uid == 0 {
		// Whoever can write the file is root an interval later.
		if path, err = secure(path); err != nil {
			return nil, err
		}
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.args, Env: scriptEnvironment, Dir: "/",
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

// judge turns the end of a script into a verdict, with the exit status of a success.
func (c *scriptCheck) judge(ctx context.Context, byItself bool, state *os.ProcessState, output string) (int, error) {
	text := "ended without a status"
	switch status, ok := state.Sys().(syscall.WaitStatus); {
	case !byItself && errors.Is(ctx.Err(), context.Canceled):
		return 0, &cause{text: "canceled while the script ran", errs: []error{ctx.Err()}}
	case !byItself:
		text = fmt.Sprintf("timeout after %v, killed", c.timeout)
	case ok && status.Exited() && (status.ExitStatus() == 0 || c.dynamic && status.ExitStatus() >= 2):
		return status.ExitStatus(), nil
	case ok && status.Exited():
		text = fmt.Sprintf("exit status %d", status.ExitStatus())
	case ok && status.Signaled():
		text = "ended by " + unix.SignalName(status.Signal())
	}
	if output != "" {
		text += ": " + output
	}
	return 0, &cause{text: text}
}

// forkTrouble are the kernel's errors that tell about the director and nothing about
// the script.
var forkTrouble = map[syscall.Errno]string{
	syscall.EAGAIN: "not asked: too many processes on this director",
	syscall.ENOMEM: "not asked: no memory for a process on this director",
	syscall.EMFILE: ownTrouble[syscall.EMFILE],
	syscall.ENFILE: ownTrouble[syscall.ENFILE],
}

// notRun is the cause when the script could not be started.
func (c *scriptCheck) notRun(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return &cause{text: fmt.Sprintf("cannot run %s: %v", c.args[0], err), errs: []error{err}}
	}
	if text, ok := forkTrouble[errno]; ok {
		return &cause{text: text, errs: []error{healthcheck.ErrNotAsked, err}}
	}
	as := c.user
	if as == "" {
		as = "nobody"
	}
	return &cause{text: fmt.Sprintf("cannot run %s as %s: %v", c.args[0], as, errno), errs: []error{err}}
}
