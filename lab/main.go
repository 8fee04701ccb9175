// Command lab shows hadirector at work on one machine: a client, two directors and two real
// servers in network namespaces (package cluster).
//
//	lab demo     a failover from the client's side, in two minutes, with a verdict
//	lab shell    a shell on the running cluster
//
// Run it in the repository's root, by "make demo" and "make lab". Where the kernel has IPVS
// loaded and the caller is root it works right here; otherwise it boots the virtual machine
// of lab/vm and runs itself in there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// settings are the command line.
type settings struct {
	binary string // the daemon
	where  string // "auto", "here", "vm"
	colour bool
}

func main() {
	// The main thread forks the virtual machine, which is to end with it (see boot).
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case interrupted:
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, settings) error{"demo": demo, "shell": shell}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: lab demo|shell [flags]")
		return exitCode(2)
	}
	name := args[0]
	var s settings
	flags := flag.NewFlagSet("lab "+name, flag.ExitOnError)
	flags.StringVar(&s.binary, "binary", "bin/hadirector", "the daemon's `path`")
	flags.StringVar(&s.where, "where", "auto", "auto, here or vm")
	flags.BoolVar(&s.colour, "colour", terminal(os.Stdout), "print in colour")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	binary, err := filepath.Abs(s.binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("no daemon to show, run make build: %w", err)
	}
	s.binary = binary
	if s.where == "vm" || s.where == "auto" && !hasIPVS() {
		return boot(name, s)
	}
	return commands[name](ctx, s)
}
