package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/bench"
)

// benchSync is "lab bench-sync". It needs IPVS, as bench-reload.
func benchSync(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("lab bench-sync", flag.ExitOnError)
	o := bench.SyncOptions{Out: os.Stdout, Progress: os.Stderr}
	binary := flags.String("binary", "bin/hadirector", "the daemon's `path`")
	where := flags.String("where", "auto", "auto, here or vm")
	events := flags.String("scenarios", strings.Join(bench.SyncEvents(), ","), "what is measured")
	programs := flags.String("programs", strings.Join(bench.SyncPrograms(), ","), "what is measured of")
	rates := flags.String("rates", "500,1000,2000,5000", "new connections a `second`")
	flags.DurationVar(&o.Interval, "interval", time.Second, "the `time` between two advertisements")
	flags.IntVar(&o.Connections, "connections", 1000, "idle connections when the Master goes, at most 1500")
	flags.IntVar(&o.Bulk, "bulk", 50_000, "connections when the standby starts, at most 1000000")
	flags.IntVar(&o.Ages, "ages", 50, "new connections, one by one")
	flags.DurationVar(&o.Burst, "burst", 3*time.Second, "for how long connections are opened at a rate")
	flags.DurationVar(&o.Quiet, "quiet", 15*time.Second, "for how long nothing happens")
	flags.DurationVar(&o.Rest, "rest", 5*time.Second, "for how long connections have been idle when a director starts")
	flags.DurationVar(&o.Blind, "blind", 5*time.Second, "the least `time` that keepalived gets to be in sync")
	flags.DurationVar(&o.Limit, "limit", 3*time.Minute, "the most `time` that hadirector gets")
	flags.DurationVar(&o.Arrive, "arrive", 5*time.Second, "within what `time` a connection has to be at the standby")
	flags.DurationVar(&o.Never, "never", 5*time.Second, "for how long one new connection is waited for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*rates, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100_000 {
			return fmt.Errorf("%q is no rate", text)
		}
		o.Rates = append(o.Rates, n)
	}
	var err error
	if o.Events, err = chosen(*events, bench.SyncEvents()); err != nil {
		return err
	}
	if o.Programs, err = chosen(*programs, bench.SyncPrograms()); err != nil {
		return err
	}
	if o.Connections < 2 || o.Connections > 1500 || o.Bulk < 1 || o.Bulk > 1_000_000 || o.Ages < 1 {
		return errors.New("there are 2 to 1500 idle connections, 1 to 1000000 when the standby starts, and at least one that is new")
	}
	if o.Binary, err = daemonPath(*binary); err != nil {
		return err
	}
	if *where == "vm" || *where == "auto" && !hasIPVS() {
		return inVM([]string{"-m", "3G", "-t", "3600"}, "bench-sync", append(args, "-where", "here", "-binary", o.Binary)...)
	}
	ok, err := bench.Sync(ctx, o)
	if err == nil && !ok {
		return exitCode(1)
	}
	return err
}

// chosen splits a list of names, each of which must be known.
func chosen(list string, known []string) ([]string, error) {
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}
