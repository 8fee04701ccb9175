package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
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

// benchReload is "lab bench-reload". It needs IPVS: where this kernel has none it runs
// itself in the virtual machine.
func benchReload(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bench-reload", flag.ExitOnError)
	o := bench.ReloadOptions{Quiet: 3 * time.Second, Out: os.Stdout, Progress: os.Stderr}
	binary := flags.String("binary", "bin/hadirector", "the daemon's `path`")
	sizes := flags.String("sizes", "100x10,500x10,1000x10", "`virtual servers x real servers` of each")
	where := flags.String("where", "auto", "auto, here or vm")
	flags.BoolVar(&o.Unchecked, "unchecked", false, "check the watched virtual server alone")
	flags.BoolVar(&o.Alone, "alone", false, "without keepalived")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		var s bench.Size
		if n, err := fmt.Sscanf(text, "%dx%d", &s.Services, &s.Servers); n != 2 || s.Services < 1 || s.Services > 50_000 || s.Servers < 1 || s.Servers > 200 {
			return fmt.Errorf("%q is no size such as 500x10: %w", text, err)
		}
		o.Sizes = append(o.Sizes, s)
	}
	var err error
	if o.Binary, err = daemonPath(*binary); err != nil {
		return err
	}
	if *where == "vm" || *where == "auto" && !hasIPVS() {
		return inVM([]string{"-m", "3G", "-t", "3600"}, "bench-reload", append(args, "-where", "here", "-binary", o.Binary)...)
	}
	ok, err := bench.Reload(ctx, o)
	if err == nil && !ok {
		return exitCode(1)
	}
	return err
}

// benchCheck is "lab bench-check". It needs IPVS, as bench-reload.
func benchCheck(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bench-check", flag.ExitOnError)
	o := bench.CheckOptions{Settle: 3 * time.Second, Out: os.Stdout, Progress: os.Stderr}
	binary := flags.String("binary", "bin/hadirector", "the daemon's `path`")
	servers := flags.String("servers", "1000,10000", "how many `real servers` are checked")
	intervals := flags.String("intervals", "1s,5s", "the `times` between two checks of one")
	types := flags.String("types", "tcp,http", "the `types` of checks")
	where := flags.String("where", "auto", "auto, here or vm")
	flags.DurationVar(&o.Quiet, "quiet", 15*time.Second, "for how long the cost is measured")
	flags.IntVar(&o.Deaths, "deaths", 25, "how many real servers die in a round, at most 200")
	flags.IntVar(&o.Rounds, "rounds", 3, "how often either program is measured, in turns")
	flags.BoolVar(&o.Alone, "alone", false, "without keepalived")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*servers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 10 || n > 100_000 || n%10 != 0 {
			return fmt.Errorf("%q is no number of real servers, a multiple of 10", text)
		}
		o.Servers = append(o.Servers, n)
	}
	for text := range strings.SplitSeq(*intervals, ",") {
		d, err := time.ParseDuration(text)
		if err != nil || d < 100*time.Millisecond {
			return fmt.Errorf("%q is no interval of 100ms or more", text)
		}
		o.Intervals = append(o.Intervals, d)
	}
	for text := range strings.SplitSeq(*types, ",") {
		if text != string(bench.CheckTCP) && text != string(bench.CheckHTTP) {
			return fmt.Errorf("%q is neither tcp nor http", text)
		}
		o.Types = append(o.Types, bench.CheckType(text))
	}
	if o.Deaths < 1 || o.Deaths > 200 {
		return errors.New("there are 1 to 200 deaths")
	}
	if o.Rounds < 1 {
		return errors.New("there is at least 1 round")
	}
	var err error
	if o.Binary, err = daemonPath(*binary); err != nil {
		return err
	}
	if *where == "vm" || *where == "auto" && !hasIPVS() {
		return inVM([]string{"-m", "3G", "-t", "3600"}, "bench-check", append(args, "-where", "here", "-binary", o.Binary)...)
	}
	ok, err := bench.Check(ctx, o)
	if err == nil && !ok {
		return exitCode(1)
	}
	return err
}
