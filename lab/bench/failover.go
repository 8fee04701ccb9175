package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

const (
	// meterInterval is between two requests of the client.
	meterInterval = time.Millisecond
	// steadyTime is how long a Master has been Master when something happens to it. Linux
	// neighbours take some announcements for nothing within a second of the last.
	steadyTime = 1500 * time.Millisecond
	// roundLimit ends a round that does not come to an end.
	roundLimit = time.Minute
)

// FailoverOptions are the choices of [Failover].
type FailoverOptions struct {
	Binary    string          // the daemon's path
	Intervals []time.Duration // between advertisements
	Rounds    int             // of each event; see rounds
	Events    []string        // of EventNames; empty: all
	Out       io.Writer       // gets the table
	Progress  io.Writer       // gets a line per round
}

// rounds are fewer with advertisements every second: each takes a quarter of a minute.
func (o FailoverOptions) rounds(interval time.Duration) int {
	if interval >= time.Second {
		return min(o.Rounds, 3)
	}
	return o.Rounds
}

// event is what happens to the Master, and how it is undone.
type event struct {
	name string
	do   func(p *pair) error
	undo func(ctx context.Context, p *pair) error
}

var events = []event{
	{
		// The machine is gone, from one moment to the next, with all that ran on it.
		name: "crash",
		do: func(p *pair) error {
			err := p.Cut(cluster.LBA)
			p.lb[cluster.LBA].Kill()
			return err
		},
		undo: func(ctx context.Context, p *pair) error {
			// A machine that has booted has no virtual address.
			if held, err := p.Holds(cluster.LBA); err != nil {
				return err
			} else if held {
				if _, err := p.Run(cluster.LBA, "ip", "addr", "del", cluster.VIP.String()+"/24", "dev", "eth0"); err != nil {
					return err
				}
			}
			if err := p.Mend(cluster.LBA); err != nil {
				return err
			}
			return p.start(ctx, cluster.LBA, p.subject.toMaster())
		},
	},
	{
		name: "clean stop",
		do:   func(p *pair) error { return p.lb[cluster.LBA].Stop() },
		undo: func(ctx context.Context, p *pair) error {
			return p.start(ctx, cluster.LBA, p.subject.toMaster())
		},
	},
	{
		name: "link cut",
		do:   func(p *pair) error { return p.Cut(cluster.LBA) },
		undo: func(ctx context.Context, p *pair) error {
			mark := len(p.lb[cluster.LBA].Lines())
			if err := p.Mend(cluster.LBA); err != nil {
				return err
			}
			_, _, err := p.lb[cluster.LBA].Wait(ctx, mark, p.subject.toMaster()...)
			return err
		},
	},
}

// EventNames are what can happen to a Master.
func EventNames() []string {
	var names []string
	for _, e := range events {
		names = append(names, e.name)
	}
	return names
}

// round is what one round measured.
type round struct {
	gap    time.Duration // client-visible
	advert time.Duration // from the event to the Backup's first advertisement
}

// phase is when in the time between two advertisements a round happens. The rounds are
// spread evenly.
func phase(i, rounds int, interval time.Duration) time.Duration {
	return interval * time.Duration(2*i+1) / time.Duration(2*rounds)
}

// Failover measures and prints the table. It reports whether hadirector was nowhere slower
// than keepalived by more than the noise.
func Failover(ctx context.Context, o FailoverOptions) (ok bool, err error) {
	subjects := []subject{&hadirector{daemon: cluster.Hadirector{Binary: o.Binary}}, keepalived{}}
	ok = true
	fmt.Fprint(o.Out, failoverHeader)
	for _, interval := range o.Intervals {
		results := make([]map[string][]round, len(subjects))
		for i, s := range subjects {
			if results[i], err = failovers(ctx, o, s, interval); err != nil {
				return false, fmt.Errorf("%s, advertisements every %v: %w", s, interval, err)
			}
		}
		for _, e := range o.events() {
			if !printFailover(o.Out, e.name, interval, results[0][e.name], results[1][e.name]) {
				ok = false
			}
		}
	}
	return ok, nil
}

func (o FailoverOptions) events() []event {
	return slices.DeleteFunc(slices.Clone(events), func(e event) bool {
		return len(o.Events) > 0 && !slices.Contains(o.Events, e.name)
	})
}

// failovers runs all rounds of all events for one subject.
func failovers(ctx context.Context, o FailoverOptions, s subject, interval time.Duration) (results map[string][]round, err error) {
	c, err := cluster.New(cluster.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	client := func() error { return c.Enter(cluster.Client) }
	pings := &load.Pings{Target: cluster.VIP, Interval: meterInterval, Enter: client}
	ear := newWire()
	ended := make(chan error, 2)
	go func() { ended <- pings.Run(ctx) }()
	go func() { ended <- load.HearAdverts(ctx, "eth0", client, ear.heard) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended, <-ended)
	}()

	p, err := startPair(ctx, c, s, setup{interval: interval})
	if err != nil {
		return nil, err
	}
	results = make(map[string][]round)
	for _, e := range o.events() {
		rounds := o.rounds(interval)
		for i := range rounds {
			r, err := failover(ctx, p, e, pings, ear, phase(i, rounds, interval))
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", e.name, i+1, err)
			}
			fmt.Fprintf(o.Progress, "%s, adverts every %v, %s, round %d of %d: gap %s\n", s, interval, e.name, i+1, rounds, milliseconds(r.gap))
			results[e.name] = append(results[e.name], r)
		}
	}
	return results, p.stop()
}

// failover is one round: wait for the point of time, let the event happen, wait until
// clients are served again, and undo it.
func failover(ctx context.Context, p *pair, e event, pings *load.Pings, ear *wire, phase time.Duration) (round, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, fmt.Errorf("the round took longer than %v", roundLimit))
	defer cancel()
	lba, lbb := cluster.Addr(cluster.LBA), cluster.Addr(cluster.LBB)
	if err := sleep(ctx, time.Now().Add(steadyTime)); err != nil {
		return round{}, err
	}
	if _, err := pings.WaitFor(ctx, time.Now(), 10); err != nil {
		return round{}, err
	}
	last, err := ear.wait(ctx, lba, time.Now(), 1)
	if err != nil {
		return round{}, err
	}
	if err := sleep(ctx, last.At.Add(phase)); err != nil {
		return round{}, err
	}

	mark, begin := len(p.lb[cluster.LBB].Lines()), time.Now()
	if err := e.do(p); err != nil {
		return round{}, err
	}
	first, err := ear.wait(ctx, lbb, begin, 1)
	if err != nil {
		return round{}, err
	}
	end, err := pings.WaitFor(ctx, first.At, 50)
	if err != nil {
		return round{}, err
	}
	r := round{gap: pings.Gap(begin, end), advert: first.At.Sub(begin)}

	if err := e.undo(ctx, p); err != nil {
		return round{}, err
	}
	_, _, err = p.lb[cluster.LBB].Wait(ctx, mark, p.subject.toBackup()...)
	return r, err
}

// sleep returns at a time.
func sleep(ctx context.Context, until time.Time) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(until)):
		return nil
	}
}

// printFailover prints the two lines of one event at one interval, and reports whether ours
// is not slower.
func printFailover(out io.Writer, event string, interval time.Duration, ours, theirs []round) bool {
	gaps := func(rounds []round) (d []time.Duration) {
		for _, r := range rounds {
			d = append(d, r.gap)
		}
		return d
	}
	adverts := func(rounds []round) (d []time.Duration) {
		for _, r := range rounds {
			d = append(d, r.advert)
		}
		return d
	}
	line := func(what, interval, who string, rounds []round) {
		fmt.Fprintf(out, "%-10s  %6s  %-10s  %9s  %9s  %12s", what, interval, who,
			milliseconds(median(gaps(rounds))), milliseconds(slices.Max(gaps(rounds))), milliseconds(median(adverts(rounds))))
	}
	c := compare(gaps(ours), gaps(theirs))
	line(event, interval.String(), "hadirector", ours)
	fmt.Fprintf(out, "  %5.2f  %s\n", c.ratio, c.verdict)
	line("", "", "keepalived", theirs)
	fmt.Fprintf(out, "  %5s  differ by %s, noise %s\n", "", milliseconds(c.differ), milliseconds(c.noise))
	return c.verdict != slower
}

const failoverHeader = "event       adverts program    gap median      worst  first advert  ratio  verdict\n"

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
