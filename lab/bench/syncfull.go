package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

const (
	// probeInterval is between two packets of the client whose wait is measured.
	probeInterval = 10 * time.Millisecond
	// settled is for how long a count does not change that is final.
	settled = time.Second
	// fullLimit ends the scenario; the connections live for a quarter of an hour.
	fullLimit = 14 * time.Minute
)

// fullSync is a standby that starts while the Master has many connections, and a client whose
// packets the Master has to forward meanwhile.
func fullSync(ctx context.Context, o SyncOptions, s syncer) (figures []figure, synced time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fullLimit, fmt.Errorf("it took longer than %v", fullLimit))
	defer cancel()
	b, err := newSyncBed(o, s, "")
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, cluster.LBA, s.toMaster()); err != nil {
		return nil, 0, err
	}
	stop, pings, err := b.probe(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	n, err := b.fill(ctx)
	if err != nil {
		return nil, 0, err
	}
	quiet := time.Now()
	if err := sleep(ctx, quiet.Add(o.Quiet)); err != nil {
		return nil, 0, err
	}
	before, err := b.costs()
	if err != nil {
		return nil, 0, err
	}

	begin := time.Now()
	if err := b.start(ctx, cluster.LBB, s.toBackup()); err != nil {
		return nil, 0, err
	}
	synced, known, err := b.inSync(ctx, n+1, begin) // and the probe's
	if err != nil {
		return nil, 0, err
	}
	end := time.Now()
	after, err := b.costs()
	if err != nil {
		return nil, 0, err
	}
	arrived, err := connections(b.Cluster, cluster.LBB, cluster.EchoPort)
	if err != nil {
		return nil, 0, err
	}
	if err := sleep(ctx, end.Add(o.Arrive)); err != nil {
		return nil, 0, err
	}
	later, err := connections(b.Cluster, cluster.LBB, cluster.EchoPort)
	if err != nil {
		return nil, 0, err
	}
	there := part("established connections at the standby then", arrived.active, n)
	inTheEnd := part(fmt.Sprintf("and %v later", o.Arrive), later.active, n)
	there.short, inTheEnd.short = arrived.active < n, later.active < n
	if b.tellsSync() && later.active < n {
		b.explain(ctx)
	}
	figures = []figure{b.syncedFigure("in sync after its start", synced, known), there, inTheEnd}
	used := after.since(before)
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		who := map[string]string{cluster.LBA: "Master", cluster.LBB: "standby"}[machine]
		most, err := peak(after.processes[machine])
		if err != nil {
			return nil, 0, err
		}
		figures = append(figures,
			took(who+"'s processor time", spent(used.processes[machine])),
			memory(who+"'s memory, the most", most))
	}
	return append(figures,
		took("the kernel daemons' processor time", spent(used.kernel)),
		took("a client waits at most, before", pings.Gap(quiet, begin)),
		took("a client waits at most, meanwhile", pings.Gap(begin, end))), synced, nil
}

// explain prints what both directors say of their synchronisation, for whoever looks for what
// is missing.
func (b *syncBed) explain(ctx context.Context) {
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		text, err := readStatus(ctx, b.SocketPath(machine))
		fmt.Fprintf(b.o.Progress, "%s: %s says %s, %v\n", b.s, machine, text, err)
	}
}

// fill gives the Master connections, and returns how many of them its kernel has as
// established: a busy machine loses a packet now and then.
func (b *syncBed) fill(ctx context.Context) (int, error) {
	flows, err := load.NewFlows(netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), b.client)
	if err != nil {
		return 0, err
	}
	took, err := flows.Run(ctx, b.o.Bulk, 0, load.Spoken)
	if err := errors.Join(err, flows.Close()); err != nil {
		return 0, err
	}
	// A busy kernel has the last packets in a queue.
	var n numbers
	for last := (numbers{-1, -1}); err == nil && n != last; {
		last = n
		if err = sleep(ctx, time.Now().Add(settled)); err == nil {
			n, err = connections(b.Cluster, cluster.LBA, cluster.EchoPort)
		}
	}
	fmt.Fprintf(b.o.Progress, "%s: %d connections in %v, %d attempts\n", b.s, n.active, took.Round(100*time.Millisecond), n.inactive)
	return n.active, err
}

// probe starts a client that asks the real servers' kernels through the director.
func (b *syncBed) probe(ctx context.Context) (stop func() error, pings *load.Pings, err error) {
	running, cancel := context.WithCancel(ctx)
	pings = &load.Pings{Target: cluster.VIP, Closed: closedPort, From: cluster.Addr(cluster.Client), Interval: probeInterval, Enter: b.client}
	ended := make(chan error, 1)
	go func() { ended <- pings.Run(running) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	if _, err := pings.WaitFor(ctx, time.Now(), 10); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return stop, pings, nil
}

// costs is what has been used so far.
type costs struct {
	processes map[string][]usage // by director
	kernel    []usage
}

func (b *syncBed) costs() (c costs, err error) {
	if c.processes, err = b.usages(); err != nil {
		return c, err
	}
	c.kernel, err = kernelDaemons()
	return c, err
}

func (c costs) since(earlier costs) costs {
	used := costs{processes: make(map[string][]usage), kernel: since(earlier.kernel, c.kernel)}
	for machine, later := range c.processes {
		used.processes[machine] = since(earlier.processes[machine], later)
	}
	return used
}
