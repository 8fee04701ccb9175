package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// holder starts a program that goes on until it is told to end, and inherits files.
func holder(t *testing.T, script string, files ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // it says when it is ready
		t.Fatal(err)
	}
	return cmd
}

// stubborn ends only when it is killed, and bystander has nothing to do with it.
const (
	stubborn  = `trap "" TERM; echo ready; exec sleep 60`
	bystander = `echo ready; exec sleep 60`
)

func lockVRRP(t *testing.T, o runOptions) *os.File {
	t.Helper()
	f, err := o.openVRRPLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := takeVRRPLock(f, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return f
}

// takeVRRP takes the lock as a daemon does that is then gone, and leaves it to a process
// with that script.
func takeVRRP(t *testing.T, o runOptions, script string) *exec.Cmd {
	t.Helper()
	f := lockVRRP(t, o)
	defer f.Close()
	cmd := holder(t, script, f)
	if err := noteHolder(f, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestStartKillsAnOrphan(t *testing.T) {
	o := runOptions{runtime: t.TempDir()}
	orphan := takeVRRP(t, o, stubborn)
	f := lockVRRP(t, o)
	f.Close()
	if err := orphan.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the orphan ended with %v", err)
	}
}

// TestOnlyTheHolderIsKilled: a number that another process has since is not enough.
func TestOnlyTheHolderIsKilled(t *testing.T) {
	o := runOptions{runtime: t.TempDir()}
	f, err := openLock(filepath.Join(o.runtime, "vrrp.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other := holder(t, bystander)
	if err := noteHolder(f, 1234567); err != nil { // a longer number before it
		t.Fatal(err)
	}
	if err := noteHolder(f, other.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pid, err := killHolder(f); err == nil || pid != other.Process.Pid {
		t.Errorf("process %d: %v", pid, err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other process: %v", err)
	}
	for _, text := range []string{"", "\n", "0\n", "1\n", "-1\n", "nonsense\n", strings.Repeat("9", 100)} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := killHolder(f); err == nil {
			t.Errorf("with %q in the file somebody was killed", text)
		}
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	o := runOptions{runtime: t.TempDir()}
	unlock, err := o.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.lock(); err == nil || err.Error() != "another hadirector is running with "+o.runtime {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	again, err := o.lock()
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	again()
}
