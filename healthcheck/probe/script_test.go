package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// ordinary is a user that the tests may run scripts as.
func ordinary(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return "nobody"
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// scriptSpec runs a program with its arguments.
func scriptSpec(t *testing.T, args ...string) healthcheck.Spec {
	return healthcheck.Spec{
		Name: "c", Type: healthcheck.Script, Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 1, Fall: 1,
		Script: healthcheck.ScriptSpec{Command: strings.Join(args, "\x00"), User: ordinary(t)},
	}
}

func newChecker(t *testing.T, sp healthcheck.Spec) healthcheck.Checker {
	t.Helper()
	c, err := New(sp, healthcheck.Target{Check: sp.Name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shell is a script in the shell's language.
func shell(t *testing.T, text string) healthcheck.Checker {
	t.Helper()
	return newChecker(t, scriptSpec(t, "/bin/sh", "-c", text))
}

// checkCause compares the text of a cause; empty: healthy.
func checkCause(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
}

var scriptTests = []struct{ name, script, want string }{
	{"healthy", "exit 0", ""},
	{"healthy, whatever it says", "echo no; echo no >&2; exit 0", ""},
	{"a status", "exit 1", "exit status 1"},
	{"a status and a reason", "echo the gateway is gone; echo and more; exit 3", "exit status 3: the gateway is gone"},
	{"a reason on standard error", "echo the gateway is gone >&2; exit 3", "exit status 3: the gateway is gone"},
	{"the first line that is not blank", `printf '\n \t\n  why  \nnot this\n'; exit 1`, "exit status 1: why"},
	{"a reason without an end of line", "printf why; exit 1", "exit status 1: why"},
	{"a reason that does not print", `printf 'a\033[31mb\tc\377\n'; exit 1`, "exit status 1: a?[31mb c?"},
	{"a reason in another language", "echo 'kein Weg über eth0'; exit 1", "exit status 1: kein Weg über eth0"},
	{"a long reason", "printf '%0300d' 0; exit 1", "exit status 1: " + strings.Repeat("0", 200) + "..."},
	{"a signal", "kill -SEGV $$", "ended by SIGSEGV"},
	{"a signal and a reason", "echo why; kill -TERM $$", "ended by SIGTERM: why"},
	{"no input", "read x || exit 4", "exit status 4"},
	{"the environment", "tr '\\0' ' ' </proc/$$/environ; exit 1", "exit status 1: PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C"},
	{"the directory", "pwd; exit 1", "exit status 1: /"},
}

func TestScript(t *testing.T) {
	for _, tt := range scriptTests {
		t.Run(tt.name, func(t *testing.T) {
			checkCause(t, shell(t, tt.script).Check(t.Context()), tt.want)
		})
	}
}

func TestScriptGetsItsArgumentsAsTheyAre(t *testing.T) {
	c := newChecker(t, scriptSpec(t, "/bin/sh", "-c", `echo "$#:$1:$2"; exit 1`, "name", "a b; exit 0", "$HOME"))
	checkCause(t, c.Check(t.Context()), "exit status 1: 2:a b; exit 0:$HOME")
}

func TestScriptThatCannotRun(t *testing.T) {
	as := ordinary(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("exit 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path, user, want string
	}{
		{"no file", "/nonexistent/check", as, "cannot run /nonexistent/check as " + as + ": no such file or directory"},
		{"a directory", "/", as, "cannot run / as " + as + ": permission denied"},
		{"not executable", plain, as, "cannot run " + plain + " as " + as + ": permission denied"},
		{"no user", "/bin/true", "nosuchuser", "no such user: nosuchuser"},
		{"no user of that number", "/bin/true", "4294967290", "no such user: 4294967290"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sp := scriptSpec(t, tt.path)
			sp.Script.User = tt.user
			err := newChecker(t, sp).Check(t.Context())
			checkCause(t, err, tt.want)
			if errors.Is(err, healthcheck.ErrNotAsked) {
				t.Error("no verdict, want a failure")
			}
		})
	}
}

func TestForkTroubleIsNoVerdict(t *testing.T) {
	c := Command{Args: []string{"/bin/true"}}
	for errno, want := range map[syscall.Errno]string{
		syscall.EAGAIN: "not asked: too many processes on this director",
		syscall.ENOMEM: "not asked: no memory for a process on this director",
		syscall.EMFILE: "not asked: too many open files on this director",
	} {
		err := c.notRun(&os.PathError{Op: "fork/exec", Path: "/bin/true", Err: errno})
		checkCause(t, err, want)
		if !errors.Is(err, healthcheck.ErrNotAsked) || !errors.Is(err, errno) {
			t.Errorf("%#v wraps not both of ErrNotAsked and %v", err, errno)
		}
	}
}

// Without a file descriptor for the list of users nobody knows who is in it.
func TestUserThatCannotBeLookedUpIsNoVerdict(t *testing.T) {
	err := noUser("www", &os.PathError{Op: "open", Path: "/etc/passwd", Err: syscall.EMFILE})
	checkCause(t, err, "not asked: too many open files on this director")
	if !errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("a verdict, want none")
	}
	err = noUser("www", user.UnknownUserError("www"))
	checkCause(t, err, "no such user: www")
	if errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("no verdict, want a failure")
	}
}

// briefly is a context whose deadline passes soon.
func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// After the timeout the whole group is dead: children that hold the output open, and
// those that ignore every signal that can be ignored.
func TestScriptTimeoutKillsTheGroup(t *testing.T) {
	err := shell(t, "trap '' TERM INT HUP; echo $$; sleep 1000 & sleep 1000 & (sleep 1000 &); sleep 1000").Check(briefly(t))
	before, group, _ := strings.Cut(fmt.Sprint(err), ": ")
	if before != "timeout after 2s, killed" {
		t.Fatalf("cause %q", err)
	}
	untilDead(t, group)
}

// A script that has ended leaves nothing of its group behind, and what it leaves does
// not hold up the verdict.
func TestScriptLeavesNothingBehind(t *testing.T) {
	err := shell(t, "echo $$; sleep 1000 & exit 7").Check(t.Context())
	group, ok := strings.CutPrefix(fmt.Sprint(err), "exit status 7: ")
	if !ok {
		t.Fatalf("cause %q", err)
	}
	untilDead(t, group)
}

// A process that has left the group is not killed, and does not hold up the verdict
// although it holds the output open.
func TestScriptWithADaemon(t *testing.T) {
	err := shell(t, "setsid sh -c 'echo $$; exec sleep 1000' & while ! ps -o comm= -g $! | grep -q sleep; do :; done; exit 1").Check(t.Context())
	text, ok := strings.CutPrefix(fmt.Sprint(err), "exit status 1: ")
	pid, convErr := strconv.Atoi(text)
	if !ok || convErr != nil {
		t.Fatalf("cause %q", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("kill the daemon %d: %v", pid, err)
	}
}

func TestScriptCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(50*time.Millisecond, cancel).Stop()
	err := shell(t, "sleep 1000").Check(ctx)
	checkCause(t, err, "canceled while the script ran")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%#v does not wrap context.Canceled", err)
	}
}

// A script that says too much is read to its end, in bounded memory.
func TestScriptThatSaysTooMuch(t *testing.T) {
	for _, flood := range []string{"head -c 1000000000 /dev/zero", `head -c 20000000 /dev/zero | tr '\0' '\n'`} {
		c := shell(t, flood)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		checkCause(t, c.Check(t.Context()), "")
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", flood, grown)
		}
	}
	t.Run("for ever", func(t *testing.T) {
		checkCause(t, shell(t, "yes").Check(briefly(t)), "timeout after 2s, killed: y")
	})
}

// A script that goes and comes back is found again.
func TestScriptVanishes(t *testing.T) {
	dir, err := os.MkdirTemp("", "script-") // t.TempDir is for its owner alone
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "check")
	c := newChecker(t, scriptSpec(t, path))
	for range 2 {
		if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		checkCause(t, c.Check(t.Context()), "")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		checkCause(t, c.Check(t.Context()), "cannot run "+path+" as "+ordinary(t)+": no such file or directory")
	}
}

const asDirector = "HADIRECTOR_TEST_RUNS_A_SCRIPT"

// TestScriptEndsWithTheDirector kills a process that is running a script, and the
// script ends too.
func TestScriptEndsWithTheDirector(t *testing.T) {
	if os.Getenv(asDirector) != "" {
		_ = shell(t, "exec sleep 1000").Check(t.Context())
		return
	}
	director := exec.Command(os.Args[0], "-test.run", "^TestScriptEndsWithTheDirector$")
	director.Env = append(os.Environ(), asDirector+"=1")
	if err := director.Start(); err != nil {
		t.Fatal(err)
	}
	var script string
	for script == "" {
		script = find(t, func(p processStat) bool { return p.parent == strconv.Itoa(director.Process.Pid) && p.comm == "sleep" })
	}
	if err := director.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = director.Wait()
	untilDead(t, script)
}

// untilDead waits until no process of the group is alive.
func untilDead(t *testing.T, group string) {
	t.Helper()
	for find(t, func(p processStat) bool { return p.group == group && p.state != "Z" && p.state != "X" }) != "" {
		runtime.Gosched()
	}
}

// processStat is the beginning of a line of /proc/PID/stat.
type processStat struct{ comm, state, parent, group string }

// find returns the pid of a process, empty if there is none.
func find(t *testing.T, want func(processStat) bool) string {
	t.Helper()
	if t.Context().Err() != nil {
		t.FailNow()
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		line, _ := os.ReadFile(path) // it may have ended
		pid, rest, _ := strings.Cut(string(line), " (")
		comm, rest, _ := strings.Cut(rest, ") ")
		if f := strings.Fields(rest); len(f) > 2 && want(processStat{comm, f[0], f[1], f[2]}) {
			return pid
		}
	}
	return ""
}

func TestFirstLine(t *testing.T) {
	tests := []struct {
		name string
		r    io.Reader
		want string
	}{
		{"nothing", strings.NewReader(""), ""},
		{"blank lines alone", strings.NewReader("\n \n\n"), ""},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("\n\n why \nmore")), "why"},
		{"an error after it", io.MultiReader(strings.NewReader("why"), iotest.ErrReader(os.ErrDeadlineExceeded)), "why"},
		{"the longest", strings.NewReader(strings.Repeat("x", maxLine) + "\n"), strings.Repeat("x", maxLine)},
		{"one byte longer", strings.NewReader(strings.Repeat("x", maxLine+1)), strings.Repeat("x", maxLine) + "..."},
		{"cut inside a character", strings.NewReader(strings.Repeat("x", maxLine-1) + "ü"), strings.Repeat("x", maxLine-1) + "?..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, firstLine(tt.r)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
