// Command lab shows hadirector at work on one machine: a client, two directors and two real
// servers in network namespaces (package cluster).
//
//	lab demo     a failover from the client's side, in two minutes, with a verdict
//	lab shell    a shell on the running cluster
//
// and measures it beside keepalived (package bench):
//
//	lab bench-failover    what clients see when a Master goes
//	lab bench-vrrp        what 255 virtual routers cost, and whether they stay put
//	lab bench-reload      what a start, a reload and a dead real server cost with a long table
//	lab bench-check       what checks of many real servers cost, and how soon a dead one is out
//	lab bench-sync        what becomes of connections when a Master goes and comes back
//
// Run it in the repository's root, by "make demo", "make lab", "make bench-failover" and so
// on. Where the kernel has IPVS loaded and the caller is root, demo, shell, bench-reload,
// bench-check and bench-sync work right here; otherwise they boot the virtual machine of
// lab/vm and run themselves in there. The other benches need root and no IPVS, and always run here.
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
	benches := map[string]func(context.Context, []string) error{"bench-failover": benchFailover, "bench-vrrp": benchVRRP, "bench-reload": benchReload, "bench-check": benchCheck, "bench-sync": benchSync}
	if len(args) > 0 && benches[args[0]] != nil {
		return benches[args[0]](ctx, args[1:])
	}
	commands := map[string]func(context.Context, settings) error{"demo": demo, "shell": shell}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: lab demo|shell|bench-failover|bench-vrrp|bench-reload|bench-check|bench-sync [flags]")
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
	var err error
	if s.binary, err = daemonPath(s.binary); err != nil {
		return err
	}
	if s.where == "vm" || s.where == "auto" && !hasIPVS() {
		return boot(name, s)
	}
	return commands[name](ctx, s)
}

// daemonPath is the path of the daemon, which must be there.
func daemonPath(binary string) (string, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no daemon to run, make build makes it: %w", err)
	}
	return path, nil
}
