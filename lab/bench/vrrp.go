package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// VRRPOptions are the choices of [VRRP].
type VRRPOptions struct {
	Binary    string        // the daemon's path
	Instances int           // virtual routers, at most 255
	Interval  time.Duration // between advertisements
	Settle    time.Duration // before anything is measured
	Quiet     time.Duration // for which the cost is measured
	Busy      time.Duration // for which all processors are kept busy
	Out       io.Writer     // gets the table
	Progress  io.Writer     // gets a line per step
}

// cost is what one subject did.
type cost struct {
	used  map[string][]usage // by director, in the quiet time
	quiet count
	busy  count
}

// count is what the client heard in a while.
type count struct {
	adverts int
	// transitions are advertisements of another director than the one before it. In both
	// whiles nothing happens to the Master, so each is a false one.
	transitions int
}

// census counts what is heard on the wire.
type census struct {
	mu     sync.Mutex // guards the rest
	count  count
	master map[uint8]netip.Addr
}

func (c *census) heard(a load.Advert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.master[a.VRID]; ok && last != a.From {
		c.count.transitions++
	}
	c.master[a.VRID] = a.From
	c.count.adverts++
}

// take returns what was counted since the last time.
func (c *census) take() count {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.count
	c.count = count{}
	return was
}

// VRRP measures and prints the tables. It reports whether no virtual router of hadirector
// changed its Master without a cause.
func VRRP(ctx context.Context, o VRRPOptions) (ok bool, err error) {
	subjects := []subject{
		&hadirector{daemon: cluster.Hadirector{Binary: o.Binary}}, keepalived{}, keepalived{realtime: true},
	}
	costs := make([]cost, len(subjects))
	for i, s := range subjects {
		if costs[i], err = o.measure(ctx, s); err != nil {
			return false, fmt.Errorf("%s: %w", s, err)
		}
	}
	fmt.Fprintf(o.Out, "%d virtual routers, adverts every %v, %v without other load\n", o.Instances, o.Interval, o.Quiet)
	fmt.Fprintf(o.Out, "%-22s %-9s %-16s %9s %9s %9s\n", "program", "director", "process", "CPU", "RSS", "PSS")
	for i, s := range subjects {
		for _, machine := range []string{cluster.LBA, cluster.LBB} {
			for _, u := range costs[i].used[machine] {
				fmt.Fprintf(o.Out, "%-22s %-9s %-16s %7.2f s %6.1f MB %6.1f MB\n",
					s, machine, u.name, u.cpu.Seconds(), float64(u.resident)/1e6, float64(u.share)/1e6)
			}
		}
	}
	fmt.Fprintf(o.Out, "\n%d processes that want all of the %d processors, for %v\n", hogs(), runtime.NumCPU(), o.Busy)
	fmt.Fprintf(o.Out, "%-22s %18s %24s\n", "program", "false transitions", "adverts heard, expected")
	for i, s := range subjects {
		b := costs[i].busy
		fmt.Fprintf(o.Out, "%-22s %18d %13d %10d\n", s, b.transitions, b.adverts, o.expected(o.Busy))
	}
	return costs[0].quiet.transitions+costs[0].busy.transitions == 0, nil
}

// expected is how many advertisements one Master of each virtual router sends in a while.
func (o VRRPOptions) expected(d time.Duration) int { return o.Instances * int(d/o.Interval) }

// hogs is how many processes keep all processors busy.
func hogs() int { return 2 * runtime.NumCPU() }

// measure runs one subject.
func (o VRRPOptions) measure(ctx context.Context, s subject) (result cost, err error) {
	c, err := cluster.New(cluster.Options{})
	if err != nil {
		return cost{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p, err := startPair(ctx, c, s, setup{interval: o.Interval, instances: o.Instances})
	if err != nil {
		return cost{}, err
	}
	heard := &census{master: make(map[uint8]netip.Addr)}
	listening, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- load.HearAdverts(listening, "eth0", func() error { return c.Enter(cluster.Client) }, heard.heard)
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	fmt.Fprintf(o.Progress, "%s: started\n", s)
	if err := sleep(ctx, time.Now().Add(o.Settle)); err != nil {
		return cost{}, err
	}

	before, err := p.usages()
	if err != nil {
		return cost{}, err
	}
	heard.take()
	if err := sleep(ctx, time.Now().Add(o.Quiet)); err != nil {
		return cost{}, err
	}
	result.quiet = heard.take()
	after, err := p.usages()
	if err != nil {
		return cost{}, err
	}
	result.used = make(map[string][]usage)
	for machine, later := range after {
		result.used[machine] = since(before[machine], later)
	}
	fmt.Fprintf(o.Progress, "%s: %d adverts and %d false transitions in %v\n", s, result.quiet.adverts, result.quiet.transitions, o.Quiet)

	var busy []*cluster.Process
	for range hogs() {
		hog, err := c.Start(cluster.Client, "hog", "sh", "-c", "while :; do :; done")
		if err != nil {
			return cost{}, err
		}
		busy = append(busy, hog)
	}
	heard.take()
	if err := sleep(ctx, time.Now().Add(o.Busy)); err != nil {
		return cost{}, err
	}
	result.busy = heard.take()
	for _, hog := range busy {
		hog.Kill()
	}
	fmt.Fprintf(o.Progress, "%s: %d adverts and %d false transitions in %v with all processors busy\n", s, result.busy.adverts, result.busy.transitions, o.Busy)
	return result, p.stop()
}

// usages is what the processes of both directors have used so far.
func (p *pair) usages() (map[string][]usage, error) {
	all := make(map[string][]usage)
	for machine, process := range p.lb {
		used, err := usages(process.PID())
		if err != nil {
			return nil, err
		}
		all[machine] = used
	}
	return all, nil
}
