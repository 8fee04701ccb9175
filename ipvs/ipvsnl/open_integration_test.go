//go:build integration

package ipvsnl

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// Open tells whether the kernel has IPVS; moby/ipvs alone would report success.
func TestOpenTellsWhetherThereIsIPVS(t *testing.T) {
	_, lookupErr := lookupFamily()
	c, err := Open(Options{})
	if lookupErr == nil {
		if err != nil {
			t.Fatalf("the kernel has IPVS, and Open says %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	if _, stillErr := lookupFamily(); stillErr != nil && !errors.Is(err, ErrNoIPVS) {
		t.Errorf("got %v, want ErrNoIPVS", err)
	}
	t.Log(err)
}

// moby/ipvs waits for ever when an answer is lost. A socket filter loses it here.
func TestMobyHangIsCutOff(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := netlinkSockets(t)
	h, err := moby.New("")
	if err != nil {
		t.Fatal(err)
	}
	for fd := range netlinkSockets(t) {
		if before[fd] {
			continue
		}
		drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}); err != nil {
			t.Fatal(err)
		}
		before[fd] = true
	}
	f := newFake()
	c := newClient(100*time.Millisecond, &conn{exchanger: f, services: h, closeOwn: func() {}},
		func() (*conn, error) { return &conn{exchanger: f, services: f, closeOwn: func() {}}, nil }, func() error { return nil })
	defer c.Close()
	if err := c.Apply(t.Context(), ipvs.AddService{Service: web}); !errors.Is(err, ErrTimeout) {
		t.Fatalf("got %v, want ErrTimeout", err)
	}
	if err := c.Apply(t.Context(), ipvs.AddService{Service: web}); err != nil {
		t.Errorf("the next call, on new sockets: %v", err)
	}
}

// netlinkSockets are the process's open sockets. moby/ipvs does not tell its own.
func netlinkSockets(t *testing.T) map[int]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fds := map[int]bool{}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(link, "socket:") {
			fd := 0
			for _, c := range e.Name() {
				fd = fd*10 + int(c-'0')
			}
			fds[fd] = true
		}
	}
	return fds
}
