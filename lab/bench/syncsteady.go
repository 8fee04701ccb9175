package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// agePoll is the time between two looks at the standby's table.
const agePoll = time.Millisecond

// steady are both directors at work: what nothing costs, how soon a new connection is at the
// standby, and how many new ones a second arrive there.
func steady(ctx context.Context, o SyncOptions, s syncer) (figures []figure, synced time.Duration, err error) {
	b, err := newSyncBed(o, s, "")
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, cluster.LBA, s.toMaster()); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	if err := b.start(ctx, cluster.LBB, s.toBackup()); err != nil {
		return nil, 0, err
	}
	synced, known, err := b.inSync(ctx, 0, begin)
	if err != nil {
		return nil, 0, err
	}
	figures = []figure{b.syncedFigure("in sync after the standby's start", synced, known)}
	flows, err := load.NewFlows(netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), b.client)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, flows.Close()) }()
	for _, measure := range []func(context.Context, *load.Flows) ([]figure, error){b.idle, b.ages, b.rates} {
		more, err := measure(ctx, flows)
		if err != nil {
			return nil, 0, err
		}
		figures = append(figures, more...)
	}
	return figures, synced, nil
}

// idle is what is used while nothing happens.
func (b *syncBed) idle(ctx context.Context, _ *load.Flows) (figures []figure, err error) {
	begin := time.Now()
	before, err := b.costs()
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, time.Now().Add(b.o.Quiet)); err != nil {
		return nil, err
	}
	elapsed := time.Since(begin) // from one reading to the other: they take a while themselves
	after, err := b.costs()
	if err != nil {
		return nil, err
	}
	used := after.since(before)
	perMinute := func(name string, d time.Duration) figure {
		return took(name, time.Duration(float64(d)*float64(time.Minute)/float64(elapsed)))
	}
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		who := map[string]string{cluster.LBA: "Master", cluster.LBB: "standby"}[machine]
		var resident int64
		for _, u := range after.processes[machine] {
			resident += u.resident
		}
		figures = append(figures,
			perMinute("idle "+who+"'s processor time a minute", spent(used.processes[machine])),
			memory("idle "+who+"'s memory", resident))
	}
	return append(figures, perMinute("idle kernel daemons' processor time a minute", spent(used.kernel))), nil
}

// ages is how long a new connection is not at the standby yet.
func (b *syncBed) ages(ctx context.Context, flows *load.Flows) (figures []figure, err error) {
	there, err := newTally(b.Cluster, cluster.LBB)
	if err != nil {
		return nil, err
	}
	defer there.close()
	for _, kind := range []struct {
		name string
		life load.Life
		n    int
	}{
		{"that sends", load.Spoken, b.o.Ages},
		// A program that never tells of one keeps the bench waiting for each.
		{"that is silent", load.Opened, max(1, b.o.Ages/10)},
	} {
		var ages []time.Duration
		for range kind.n {
			// The kernel's daemon has a clock of its own.
			if err := sleep(ctx, time.Now().Add(rand.N(time.Second))); err != nil {
				return nil, err
			}
			age, err := b.age(ctx, flows, there, kind.life)
			if err != nil {
				return nil, err
			}
			ages = append(ages, age)
		}
		figures = append(figures, protectedAges("a connection "+kind.name, ages, b.o.Never)...)
	}
	return figures, nil
}

// age opens one connection and returns when it was at the standby; at the latest Never.
func (b *syncBed) age(ctx context.Context, flows *load.Flows, there *tally, life load.Life) (time.Duration, error) {
	known, err := there.read(cluster.EchoPort)
	if err != nil {
		return 0, err
	}
	if _, err := flows.Run(ctx, 1, 0, life); err != nil {
		return 0, err
	}
	begin := time.Now()
	for time.Since(begin) < b.o.Never {
		n, err := there.read(cluster.EchoPort)
		if err != nil {
			return 0, err
		}
		if n.all() > known.all() {
			return time.Since(begin), nil
		}
		if err := sleep(ctx, time.Now().Add(agePoll)); err != nil {
			return 0, err
		}
	}
	return b.o.Never, nil
}

// protectedAges are the median and the worst, where an age of never is one that was not to
// be known.
func protectedAges(name string, ages []time.Duration, never time.Duration) []figure {
	one := func(what string, age time.Duration) figure {
		if age >= never {
			return none(what, "> "+never.String())
		}
		return took(what, age)
	}
	return []figure{
		one(name+" is safe after, median", median(ages)),
		one(fmt.Sprintf("%s, the worst of %d", name, len(ages)), slices.Max(ages)),
	}
}

// rates is which part of short connections arrives at the standby. Those do not count of
// which a busy machine has lost all packets after the first.
func (b *syncBed) rates(ctx context.Context, flows *load.Flows) (figures []figure, err error) {
	best := none("most new ones a second without a loss", "-")
	for _, rate := range b.o.Rates {
		before, err := b.made()
		if err != nil {
			return nil, err
		}
		n := max(1, int(float64(rate)*b.o.Burst.Seconds()))
		name := fmt.Sprintf("%d new ones a second", rate)
		elapsed, err := flows.Run(ctx, n, rate, load.Closed)
		if err != nil {
			return nil, err
		}
		if err := sleep(ctx, time.Now().Add(b.o.Arrive)); err != nil {
			return nil, err
		}
		after, err := b.made()
		if err != nil {
			return nil, err
		}
		made, arrived := after[0]-before[0], after[1]-before[1]
		really := perSecond("", made, elapsed)
		fmt.Fprintf(b.o.Progress, "%s: %s: %d sent, %d made at %s, %d arrived\n", b.s, name, n, made, really.text, arrived)
		really.name = name + ", really"
		figures = append(figures, really, part(name+" arrive", arrived, made))
		if arrived >= made && really.value > best.value {
			best.text, best.value = really.text, really.value
		}
	}
	return append(figures, best), nil
}

// made are the connections of both directors' kernels, the Master's first.
func (b *syncBed) made() (n [2]int, err error) {
	for i, machine := range []string{cluster.LBA, cluster.LBB} {
		all, err := connections(b.Cluster, machine, cluster.EchoPort)
		if err != nil {
			return n, err
		}
		tried, err := attempts(b.Cluster, machine, cluster.EchoPort)
		if err != nil {
			return n, err
		}
		n[i] = all.all() - tried
	}
	return n, nil
}
