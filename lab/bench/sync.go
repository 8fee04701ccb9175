package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// SyncOptions are the choices of [Sync].
type SyncOptions struct {
	Binary   string        // the daemon's path
	Programs []string      // of SyncPrograms
	Events   []string      // of SyncEvents
	Interval time.Duration // between advertisements
	// Connections are open, and idle, when a Master goes; Bulk are told to a director that
	// starts; Ages are opened one by one.
	Connections, Bulk, Ages int
	// Rates are how many connections a second are opened, for a time, if the machine can.
	Rates []int
	Burst time.Duration
	Quiet time.Duration // for which nothing happens, and the cost of that is measured
	// Rest is how long connections have been idle when a director starts.
	Rest time.Duration
	// Blind is the least time that a program is given which cannot tell that it is in sync,
	// and Limit the most that one gets which can. Arrive is how long what was told may be on
	// its way, and Never for how long one connection is waited for.
	Blind, Limit, Arrive, Never time.Duration
	Out                         io.Writer // gets the tables
	Progress                    io.Writer // gets a line per step
}

// SyncPrograms are the programs that [Sync] can compare, in their order.
func SyncPrograms() []string { return []string{"hadirector", "keepalived"} }

// closedPort is that of the virtual server on whose real servers nothing listens.
const closedPort = 80

// syncEvent is one scenario.
type syncEvent struct {
	name  string
	title func(SyncOptions) string
	// measure runs it for one program. It returns how long the program took to be in sync;
	// 0: that was not to be known.
	measure func(ctx context.Context, o SyncOptions, s syncer) ([]figure, time.Duration, error)
}

var syncEvents = []syncEvent{
	{"standby", crashTitle("then the standby starts"), crash{}.measure},
	{"both", crashTitle("both directors up"), crash{both: true}.measure},
	{"loss-1", crashTitle("the standby starts; 1 % loss, 50 ms"), crash{netem: "delay 50ms loss 1%"}.measure},
	{"loss-10", crashTitle("the standby starts; 10 % loss, 50 ms"), crash{netem: "delay 50ms loss 10%"}.measure},
	{"cut", crashTitle("half of them opened in a cut of 10 s"), crash{both: true, cut: 10 * time.Second}.measure},
	{"full", func(o SyncOptions) string { return fmt.Sprintf("%d connections, then the standby starts", o.Bulk) }, fullSync},
	{"steady", func(SyncOptions) string { return "both directors up" }, steady},
}

func crashTitle(text string) func(SyncOptions) string {
	return func(o SyncOptions) string { return fmt.Sprintf("%d idle connections, %s", o.Connections, text) }
}

// SyncEvents are the names of the scenarios.
func SyncEvents() (names []string) {
	for _, e := range syncEvents {
		names = append(names, e.name)
	}
	return names
}

// Sync measures and prints a table for each scenario. It reports whether hadirector kept
// all that it says it keeps: every connection, in every scenario.
func Sync(ctx context.Context, o SyncOptions) (ok bool, err error) {
	ok = true
	for _, e := range syncEvents {
		if !slices.Contains(o.Events, e.name) {
			continue
		}
		var programs []string
		var results [][]figure
		blind := o.Blind
		for _, name := range SyncPrograms() {
			if !slices.Contains(o.Programs, name) {
				continue
			}
			var s syncer = syncKeepalived{blind: blind}
			if name == "hadirector" {
				s = &syncHadirector{hadirector{daemon: cluster.Hadirector{Binary: o.Binary}}}
			}
			begin := time.Now()
			figures, synced, err := e.measure(ctx, o, s)
			if err != nil {
				return false, fmt.Errorf("%s, %s: %w", s, e.name, err)
			}
			fmt.Fprintf(o.Progress, "%s, %s: measured in %v\n", s, e.name, time.Since(begin).Round(100*time.Millisecond))
			blind = max(blind, synced)
			programs, results = append(programs, name), append(results, figures)
			ok = ok && (name != "hadirector" || !slices.ContainsFunc(figures, func(f figure) bool { return f.short }))
		}
		printFigures(o.Out, e.title(o), programs, results)
	}
	return ok, nil
}

// syncBed is a cluster on which a program synchronises.
type syncBed struct {
	*pair
	o     SyncOptions
	s     syncer
	netem string // what happens to packets on the sync network, in tc-netem's words
	conns []*load.Conns
}

// newSyncBed makes a cluster with real servers and clients. Its directors have not started.
func newSyncBed(o SyncOptions, s syncer, netem string) (*syncBed, error) {
	c, err := cluster.New(cluster.Options{})
	if err != nil {
		return nil, err
	}
	set := setup{interval: o.Interval}
	b := &syncBed{pair: &pair{Cluster: c, subject: s, setup: set, lb: make(map[string]*cluster.Process)}, o: o, s: s, netem: netem}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return b, nil
}

func (b *syncBed) prepare() error {
	// What one director does must not cost the other one's clients time.
	if runtime.NumCPU() > 1 {
		b.Pin(cluster.LBA, 0)
		b.Pin(cluster.LBB, 1)
	}
	// Loading a module takes an emulated machine seconds, which are neither program's.
	if _, err := b.Run(cluster.LBA, "modprobe", "-a", "ip_vs_rr", "sch_netem", "dummy"); err != nil {
		return err
	}
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		if err := errors.Join(b.AddVIP(rs), b.StartEcho(rs)); err != nil {
			return err
		}
	}
	return errors.Join(b.wire(cluster.LBA), b.wire(cluster.LBB), b.s.prepare(b.Cluster, b.setup))
}

// wire sets up a director's network.
func (b *syncBed) wire(machine string) error {
	// Clients that are not there have to come from somewhere.
	if err := b.IP(machine, "route add 10.200.0.0/13 via "+cluster.Addr(cluster.Client).String()+"\n"); err != nil {
		return err
	}
	if b.netem == "" {
		return nil
	}
	return b.impair(machine, b.netem)
}

func (b *syncBed) close() error {
	for _, c := range b.conns {
		c.Close()
	}
	return b.Close()
}

// client leads to where the clients are.
func (b *syncBed) client() error { return b.Enter(cluster.Client) }

// inSync waits until the directors are in sync, and returns how long that took. One that does
// not get there in time is no error: known is false.
func (b *syncBed) inSync(ctx context.Context, n int, since time.Time) (took time.Duration, known bool, err error) {
	waiting := ctx
	if b.tellsSync() {
		var cancel func()
		waiting, cancel = context.WithTimeout(ctx, b.o.Limit)
		defer cancel()
	}
	switch err = b.s.synced(waiting, b.Cluster, n); {
	case err == nil:
		return time.Since(since), true, nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		fmt.Fprintf(b.o.Progress, "%s: %v\n", b.s, err)
		return time.Since(since), false, nil
	}
	return 0, false, err
}

// tellsSync is whether a program says when it is in sync.
func (b *syncBed) tellsSync() bool {
	_, blind := b.s.(syncKeepalived)
	return !blind
}

// syncedFigure is how long a program took to be in sync.
func (b *syncBed) syncedFigure(name string, d time.Duration, known bool) figure {
	switch {
	case !b.tellsSync():
		return none(name, "unknown")
	case !known:
		f := none(name, "> "+b.o.Limit.String())
		f.short = true
		return f
	}
	return took(name, d)
}
