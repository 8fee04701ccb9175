// Package netnstest gives integration tests network namespaces of their own, so
// that a test can send VRRP and ARP, take links down and write addresses without
// the machine noticing.
//
// Two kinds of namespace work together:
//
//   - [Enter], called first in TestMain, moves the whole test process into a fresh
//     namespace. The code under test runs there, on whatever goroutines it starts.
//   - [New] makes a further one, for the other end of a cable. A locked thread holds
//     it, and [NS.Do] runs a function on that thread.
//
// Namespaces have no name in the file system. One lives as long as a thread, a
// process or a descriptor refers to it, so a test that crashes leaves nothing
// behind, and any number of test processes run side by side.
//
// The helpers need root and iproute2, and fail the test when either is missing.
package netnstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// entered marks the process that Enter started.
const entered = "HADIRECTOR_NETNSTEST_ENTERED"

// The main thread stays with the main goroutine, so that no namespace of New ever
// lives on it: /proc/self and /proc/PID show the main thread's namespace, which
// therefore remains the process's own.
func init() { runtime.LockOSThread() }

// Enter moves the test process into a network namespace of its own with only a
// loopback interface, which is up. It is the first call in TestMain:
//
//	func TestMain(m *testing.M) {
//		netnstest.Enter()
//		os.Exit(m.Run())
//	}
//
// A process whose threads already run cannot be moved as a whole, so Enter runs
// the test binary again inside the namespace and exits with its exit code. It
// returns only in that second process.
func Enter() {
	if os.Getenv(entered) != "" {
		os.Unsetenv(entered)
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "netnstest: set lo up: %v\n%s", err, out)
			os.Exit(1)
		}
		return
	}
	// Pdeathsig follows the thread that forks. It is the main thread (see init),
	// which lives as long as the process.
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), entered+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintf(os.Stderr, "netnstest: run the tests in a network namespace of their own (this needs root): %v\n", err)
	os.Exit(1)
}

// NS is a network namespace.
type NS struct {
	name string
	path string      // names the namespace to other processes
	run  chan func() // nil for the process's own
}

// Self returns the namespace of the test process, the one that Enter made.
func Self() *NS {
	return &NS{name: "self", path: fmt.Sprintf("/proc/%d/ns/net", os.Getpid())}
}

// New makes a network namespace that lives until the end of the test. Its
// loopback interface is up. The name is for messages only.
func New(t testing.TB, name string) *NS {
	t.Helper()
	ns := &NS{name: name, run: make(chan func())}
	ready := make(chan error)
	var handle *os.File
	go func() {
		// Never unlocked: the thread belongs to the namespace and ends with it.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			handle, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		ready <- err
		for f := range ns.run {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(ns.run)
		t.Fatalf("make network namespace %s (this needs root): %v", name, err)
	}
	ns.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), handle.Fd())
	t.Cleanup(func() {
		close(ns.run)
		handle.Close()
	})
	ns.IP(t, "link set lo up")
	return ns
}

// String returns the name given to New.
func (ns *NS) String() string { return ns.name }

// Path is a file that names the namespace to other programs while the test runs:
// nsenter --net=PATH.
func (ns *NS) Path() string { return ns.path }

// Do runs f in the namespace and waits for it. A socket that f opens stays in the
// namespace wherever it is used later; a goroutine that f starts does not. When f
// ends the test with t.Fatal, Do does not return either, and the namespace takes no
// further calls.
func (ns *NS) Do(f func()) {
	if ns.run == nil {
		f()
		return
	}
	returned := make(chan bool, 1)
	ns.run <- func() {
		ok := false
		defer func() { returned <- ok }()
		f()
		ok = true
	}
	if !<-returned {
		runtime.Goexit()
	}
}

// IP runs iproute2's ip in the namespace, with the arguments as typed, and returns
// what it printed. A failure ends the test.
func (ns *NS) IP(t testing.TB, args string) string {
	t.Helper()
	return ns.Run(t, "ip", strings.Fields(args)...)
}

// Run runs a command in the namespace and returns its combined output. A failure
// ends the test.
func (ns *NS) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	ns.Do(func() { out, err = exec.Command(name, args...).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %s %s: %v\n%s", ns.name, name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start starts a command in the namespace. At the end of the test it is told to
// terminate, if it still runs, and waited for.
func (ns *NS) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var err error
	ns.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatalf("%s: start %s: %v", ns.name, strings.Join(cmd.Args, " "), err)
	}
	t.Cleanup(func() { Stop(cmd) })
}

// Stop tells a command that Start started to terminate and waits until it has. It
// may be called more than once.
func Stop(cmd *exec.Cmd) {
	if cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait() // the exit status of a terminated program says nothing
}

// Sysctl writes a kernel parameter of the namespace, named with slashes:
// "net/ipv4/ip_forward".
func (ns *NS) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	var err error
	ns.Do(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatalf("%s: set %s to %s: %v", ns.name, name, value, err)
	}
}
