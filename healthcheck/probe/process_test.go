package probe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/healthcheck"
)

func processSpec(name string, full bool, quorum int) healthcheck.Spec {
	return healthcheck.Spec{Name: "c", Type: healthcheck.Process, Process: healthcheck.ProcessSpec{Name: name, Full: full, Quorum: quorum}}
}

// procTree makes a /proc. A process is "comm|state|command line" with spaces for NUL.
func procTree(t *testing.T, processes map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for pid, p := range processes {
		if err := os.Mkdir(filepath.Join(dir, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		f := strings.SplitN(p, "|", 3)
		if len(f) < 3 {
			continue // it ends while it is looked at
		}
		for name, text := range map[string]string{
			"comm":    f[0] + "\n",
			"stat":    pid + " (" + f[0] + ") " + f[1] + " 1 1 1 0 -1 4194304\n",
			"cmdline": strings.ReplaceAll(f[2], " ", "\x00"),
		} {
			if err := os.WriteFile(filepath.Join(dir, pid, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

var processes = map[string]string{
	"1":    "init|S|/sbin/init ",
	"2":    "kthreadd|S|",
	"10":   "nginx|S|nginx: master process /usr/sbin/nginx      ",
	"11":   "nginx|S|nginx: worker process ",
	"12":   "nginx|R|nginx: worker process ",
	"13":   "nginx|Z|",
	"14":   "nginx|X|",
	"20":   "a) R 1 (b|D|/opt/a) ",
	"21":   "a) R 1 (c|Z|",
	"30":   "fifteen-letters|S|/usr/bin/fifteen-letters-and-more --flag ",
	"40":   "", // vanishes
	"self": "nginx|S|nginx ",
}

var processTests = []struct {
	name, process string
	full          bool
	quorum        int
	want          string
}{
	{"one", "init", false, 1, ""},
	{"a quorum of 0 is 1", "gone", false, 0, "no process gone runs"},
	{"zombies do not count", "nginx", false, 3, ""},
	{"too few", "nginx", false, 4, "3 of 4 processes nginx run"},
	{"none", "nginy", false, 1, "no process nginy runs"},
	{"no part of a name", "ngin", false, 1, "no process ngin runs"},
	{"a name with brackets", "a) R 1 (b", false, 1, ""},
	{"a zombie with brackets", "a) R 1 (c", false, 1, "no process a) R 1 (c runs"},
	{"longer than the kernel keeps", "fifteen-letters-and-more", false, 1, ""},
	{"a name is no command line", "/sbin/init", false, 1, "no process /sbin/init runs"},
	{"a command line", "/usr/bin/fifteen-letters-and-more --flag", true, 1, ""},
	{"no part of a command line", "/usr/bin/fifteen-letters-and-more", true, 1, "no process /usr/bin/fifteen-letters-and-more runs"},
	{"nor a longer one", "/sbin/init x", true, 1, "no process /sbin/init x runs"},
	{"a title with room behind it", "nginx: master process /usr/sbin/nginx", true, 1, ""},
	{"command lines", "nginx: worker process", true, 3, "2 of 3 processes nginx: worker process run"},
	{"a name that does not print", "a\x1bb", false, 1, "no process a?b runs"},
}

func TestProcess(t *testing.T) {
	proc := procTree(t, processes)
	for _, tt := range processTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newProcess(processSpec(tt.process, tt.full, tt.quorum))
			if err != nil {
				t.Fatal(err)
			}
			c.proc = proc
			checkCause(t, c.Check(t.Context()), tt.want)
		})
	}
}

// The test finds itself in the real list.
func TestProcessIsThisOne(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, sp := range []healthcheck.Spec{
		processSpec(strings.TrimSpace(string(comm)), false, 1),
		processSpec(strings.Join(os.Args, " "), true, 1),
	} {
		checkCause(t, newChecker(t, sp).Check(t.Context()), "")
	}
}

func TestProcessListThatCannotBeReadIsNoVerdict(t *testing.T) {
	c, err := newProcess(processSpec("init", false, 1))
	if err != nil {
		t.Fatal(err)
	}
	c.proc = "/nonexistent"
	err = c.Check(t.Context())
	checkCause(t, err, "not asked: /nonexistent cannot be read: no such file or directory")
	if !errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("a verdict, want none")
	}
}

// The last file descriptor is for the list, and none is left for what stands in it.
func TestProcessWithoutFileDescriptorsIsNoVerdict(t *testing.T) {
	proc := procTree(t, processes)
	for _, full := range []bool{false, true} {
		c, err := newProcess(processSpec("init", full, 1))
		if err != nil {
			t.Fatal(err)
		}
		c.proc = proc
		err = withOneDescriptor(t, func() error { return c.Check(t.Context()) })
		checkCause(t, err, "not asked: "+proc+" cannot be read: too many open files")
		if !errors.Is(err, healthcheck.ErrNotAsked) {
			t.Error("a verdict, want none")
		}
	}
}

// withOneDescriptor calls f when this process can open one file more.
func withOneDescriptor(t *testing.T, f func() error) error {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = min(was.Cur, 256)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	if len(fds) == 0 {
		t.Fatal("no descriptor is free")
	}
	_ = unix.Close(fds[0])
	fds = fds[1:]
	return f()
}

func BenchmarkProcess(b *testing.B) {
	c, err := New(processSpec("not there", false, 1), healthcheck.Target{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Check(b.Context())
	}
}
