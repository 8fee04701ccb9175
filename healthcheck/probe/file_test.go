package probe

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func fileSpec(path string) healthcheck.Spec {
	return healthcheck.Spec{Name: "c", Type: healthcheck.File, File: healthcheck.FileSpec{Path: path}}
}

// content makes a file of that content.
func content(text string) func(*testing.T, string) error {
	return func(_ *testing.T, path string) error { return os.WriteFile(path, []byte(text), 0o644) }
}

var fileTests = []struct {
	name  string
	make  func(t *testing.T, path string) error
	value int
	want  string
}{
	{"a number", content("5\n"), 5, ""},
	{"without an end of line", content("5"), 5, ""},
	{"negative", content("-40\n"), -40, ""},
	{"a sign and white space", content(" \t+7 \n\n"), 7, ""},
	{"no octal", content("010"), 10, ""},
	{"the largest", content("2147483647"), 2147483647, ""},
	{"the smallest", content("-2147483648"), -2147483648, ""},
	{"too large", content("2147483648"), 0, "number in the file is too large: 2147483648"},
	{"too large, and then no number", content("7000000000\r0"), 0, `file holds no number: "7000000000\r0"`},
	{"empty", content(""), 0, "file is empty"},
	{"white space", content("  \n"), 0, "file is empty"},
	{"two numbers", content("1 2\n"), 0, `file holds no number: "1 2"`},
	{"a word", content("böse\x00"), 0, `file holds no number: "b\u00f6se\x00"`},
	{"a comment after it", content("5\n" + strings.Repeat("#", 100)), 0, "file holds more than a number"},
	{"huge", func(_ *testing.T, path string) error {
		return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<34))
	}, 0, "file holds more than a number"},
	{"missing", func(*testing.T, string) error { return nil }, 0, "file does not exist"},
	{"in no directory", func(_ *testing.T, path string) error { return os.Symlink(path+"x/5", path) }, 0, "file does not exist"},
	{"a directory", func(_ *testing.T, path string) error { return os.Mkdir(path, 0o755) }, 0, "not a regular file"},
	{"a pipe that nobody writes", func(_ *testing.T, path string) error { return syscall.Mkfifo(path, 0o644) }, 0, "not a regular file"},
	{"a device", func(_ *testing.T, path string) error { return os.Symlink("/dev/zero", path) }, 0, "not a regular file"},
	{"a circle", func(_ *testing.T, path string) error { return os.Symlink(path, path) }, 0, "file not readable: too many levels of symbolic links"},
	{"of the kernel", func(_ *testing.T, path string) error { return os.Symlink("/proc/sys/kernel/pid_max", path) }, pidMax(), ""},
}

func pidMax() int {
	text, _ := os.ReadFile("/proc/sys/kernel/pid_max")
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func TestFile(t *testing.T) {
	for _, tt := range fileTests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := tt.make(t, path); err != nil {
				t.Fatal(err)
			}
			c, ok := newChecker(t, fileSpec(path)).(healthcheck.Measurer)
			if !ok {
				t.Fatal("it has no number to tell")
			}
			value, err := c.Measure(t.Context())
			checkCause(t, err, tt.want)
			if value.N != tt.value || value.Unit != healthcheck.Number {
				t.Errorf("value %v, want %d", value, tt.value)
			}
			checkCause(t, c.Check(t.Context()), tt.want)
		})
	}
}

// A file that is written while it is read is no failure.
func TestFileThatIsBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := &fileCheck{path: path, pause: func(context.Context) {
		if err := os.WriteFile(path, []byte("5\n"), 0o644); err != nil {
			t.Error(err)
		}
	}}
	n, err := c.Measure(t.Context())
	if n.N != 5 || err != nil {
		t.Errorf("%v, %v, want 5", n, err)
	}
}

func TestFileThatTheDirectorCannotOpen(t *testing.T) {
	err := unreadable(&fs.PathError{Op: "open", Path: "/x", Err: syscall.EMFILE})
	checkCause(t, err, "not asked: too many open files on this director")
	if !errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("a verdict, want none")
	}
	checkCause(t, unreadable(&fs.PathError{Op: "read", Path: "/x", Err: syscall.EIO}), "file not readable: input/output error")
}

func FuzzFile(f *testing.F) {
	for _, tt := range []string{"5\n", "-40", " +7 ", "", "2147483648", "0x10", "1_000", "५", "5\n5"} {
		f.Add([]byte(tt))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseNumber(text)
		if err != nil {
			if n != 0 || len(err.Error()) > 400 || printable(err.Error()) != err.Error() {
				t.Errorf("%q: %d, cause %q", text, n, err)
			}
			return
		}
		if int(int32(n)) != n {
			t.Errorf("%q: %d has more than 32 bits", text, n)
		}
		again, err := parseNumber([]byte(strconv.Itoa(n) + "\n"))
		if diff := cmp.Diff(n, again); diff != "" || err != nil {
			t.Errorf("%q: %d is read back as %d, %v", text, n, again, err)
		}
	})
}
