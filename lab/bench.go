package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/bench"
)

// benchFailover is "lab bench-failover".
func benchFailover(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bench-failover", flag.ExitOnError)
	o := bench.FailoverOptions{Out: os.Stdout, Progress: os.Stderr}
	binary := flags.String("binary", "bin/hadirector", "the daemon's `path`")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds of each event, at most 3 with advertisements every second")
	intervals := flags.String("intervals", "1s,100ms,10ms", "the `times` between two advertisements")
	events := flags.String("events", strings.Join(bench.EventNames(), ","), "what happens to the Master")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*intervals, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		o.Intervals = append(o.Intervals, d)
	}
	o.Events = strings.Split(*events, ",")
	if o.Rounds < 1 {
		return errors.New("there is nothing to measure without a round")
	}
	var err error
	if o.Binary, err = benched(*binary); err != nil {
		return err
	}
	ok, err := bench.Failover(ctx, o)
	if err == nil && !ok {
		return exitCode(1)
	}
	return err
}

// benched is a daemon that can be measured here: in this machine's kernel, as root.
func benched(binary string) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("this needs root, for network namespaces")
	}
	return daemonPath(binary)
}

// benchVRRP is "lab bench-vrrp".
func benchVRRP(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bench-vrrp", flag.ExitOnError)
	// After six seconds each new Master has announced its address for the last time.
	o := bench.VRRPOptions{Settle: 6 * time.Second, Out: os.Stdout, Progress: os.Stderr}
	binary := flags.String("binary", "bin/hadirector", "the daemon's `path`")
	flags.IntVar(&o.Instances, "instances", 255, "virtual routers")
	flags.DurationVar(&o.Interval, "interval", 100*time.Millisecond, "the `time` between two advertisements")
	flags.DurationVar(&o.Quiet, "quiet", 30*time.Second, "for how long the cost is measured")
	flags.DurationVar(&o.Busy, "busy", time.Minute, "for how long all processors are kept busy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.Instances < 1 || o.Instances > 255 {
		return errors.New("there are 1 to 255 VRIDs on an interface")
	}
	var err error
	if o.Binary, err = benched(*binary); err != nil {
		return err
	}
	ok, err := bench.VRRP(ctx, o)
	if err == nil && !ok {
		return exitCode(1)
	}
	return err
}
