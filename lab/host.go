package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitCode is an error that has been explained already and ends the program.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

// boot runs the same command in the virtual machine.
func boot(name string, s settings) error {
	vm := []string{"-t", "240"}
	if name == "shell" {
		vm = []string{"-i"}
	}
	return inVM(vm, name, "-where", "here", "-binary", s.binary, fmt.Sprintf("-colour=%t", s.colour))
}

// inVM runs a command of this program in the virtual machine.
func inVM(vm []string, name string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("lab/vm", slices.Concat(vm, []string{self, name}, args)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A Ctrl-C reaches lab/vm too, which ends the machine; killing this process does so.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitCode(exit.ExitCode())
	}
	return err
}

// terminal reports whether a person reads f and likes colours; see no-color.org.
func terminal(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hasIPVS reports whether the cluster can run in this machine's kernel. IPVS is not loaded
// for the purpose: a demonstration leaves the machine as it was.
func hasIPVS() bool {
	_, err := os.Stat("/proc/net/ip_vs")
	return err == nil && os.Geteuid() == 0
}

// prefix is what the namespaces' names begin with: nothing in the virtual machine, which
// holds nothing else, and the run's own name on a machine that is somebody's.
func prefix() string {
	if os.Getenv("HADIRECTOR_VM") != "" {
		return "-"
	}
	return ""
}
