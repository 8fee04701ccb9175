//go:build integration

package journal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace marks the process that runs a test in a mount namespace of its own.
const inNamespace = "HADIRECTOR_TEST_IN_MOUNT_NAMESPACE"

// TestFullFileSystem fills a real file system of 64 KiB. It runs in a second process,
// because the mount must be seen by all of its threads and by nobody else.
func TestFullFileSystem(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		if os.Geteuid() != 0 {
			t.Fatal("needs root, to mount a small file system in a namespace of its own")
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullFileSystem$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}

	dir := t.TempDir()
	if err := unix.Mount("journal", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a file system of 64 KiB: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}

	said := notes{line: make(chan struct{})}
	j := Open(Options{Dir: dir, Logger: said.logger()})
	stop := run(t, j)
	const n = 200 // records of about 300 bytes: three times the room
	for range n {
		j.Append(Record{Kind: "x", Text: strings.Repeat("y", 230)})
	}
	select {
	case <-said.line:
	case <-time.After(20 * time.Second):
		t.Fatal("the journal does not say that the disk is full")
	}
	if !errors.Is(j.Status().Err, syscall.ENOSPC) {
		t.Errorf("the journal fails with %v, want no space left", j.Status().Err)
	}
	if records, err := j.Read(time.Time{}); err != nil || len(records) != n {
		t.Errorf("%d records can be read, %v; want %d", len(records), err, n)
	}
	stored, err := ReadDir(dir, time.Time{})
	if err != nil || len(stored) == 0 || len(stored) >= n {
		t.Errorf("%d records fitted, %v", len(stored), err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	stop()
	// A new process finds whole records, and goes on after them.
	j = Open(Options{Dir: dir, Logger: said.logger()})
	again := j.Last()
	stop = run(t, j)
	j.Append(Record{Kind: "after"})
	stop()
	stored, err = ReadDir(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if last := stored[len(stored)-1]; last.Kind != "after" || last.Seq != again+1 || uint64(len(stored)) != last.Seq {
		t.Errorf("%d records are stored, the last is %+v", len(stored), last)
	}
	if s := said.take(); strings.Count(s, "cannot be written") != 1 {
		t.Errorf("logged\n%s", s)
	}
}
