//go:build integration

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestRaisePriority runs itself again in a process of its own, because niceness would
// stay with the other tests.
func TestRaisePriority(t *testing.T) {
	if os.Getenv("RAISE_PRIORITY") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRaisePriority$")
		cmd.Env = append(os.Environ(), "RAISE_PRIORITY=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := raisePriority(); err != nil {
		t.Fatal(err)
	}
	later := make(chan struct{})
	go func() {
		runtime.LockOSThread() // a thread that did not exist before, at the latest the second
		close(later)
	}()
	<-later
	stats, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(stats) < 2 {
		t.Fatalf("threads %v, %v", stats, err)
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		// Niceness is the 19th field (proc(5)); the second, in brackets, may hold spaces.
		_, rest, _ := strings.Cut(string(b), ") ")
		if ni := strings.Fields(rest)[16]; ni != "-15" {
			t.Errorf("%s: niceness %s, want -15", name, ni)
		}
	}
}
