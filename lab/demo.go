package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

const (
	// demoConns connections are open when the Master is cut off.
	demoConns = 100
	// demoGap is the bound of the client-visible gap. With adverts every 100 ms a Backup of
	// priority 100 waits 361 ms (RFC 9568 section 6.1, Active_Down_Interval).
	demoGap = 500 * time.Millisecond
	// demoInterval is between two requests, and so the meter's resolution.
	demoInterval = 20 * time.Millisecond
)

// demonstration is what the parts of the demo hand on to each other.
type demonstration struct {
	*laboratory
	screen   *screen
	requests *load.Requests
	begin    time.Time // of the requests
	conns    *load.Conns
	result   result
}

// result is what the client saw.
type result struct {
	left, returned time.Duration // how long the real server's leaving and return took
	failover       load.Summary  // the requests around the cut
	kept           int           // connections
	lost           map[string]int
	total          load.Summary // all requests
	master         []string     // who holds the virtual address
}

// demo shows what a client sees of a failover, and ends with a verdict: exitCode(1) if not
// everything held.
func demo(ctx context.Context, s settings) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("two minutes have passed"))
	defer cancel()
	screen := &screen{out: os.Stdout, colour: s.colour, start: time.Now()}
	c, err := cluster.New(cluster.Options{Prefix: prefix(), Log: func(l cluster.Line) {
		if l.Process == "hadirector" {
			screen.log(l)
		}
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	screen.step("a client, two directors, two real servers, in network namespaces")
	screen.say("client 10.0.0.1  --+--- VIP 10.0.0.100 ---+-- lb-a 10.0.0.11  priority 150")
	screen.say("rs-1   10.0.0.21 --+                      +-- lb-b 10.0.0.12  priority 100")
	screen.say("rs-2   10.0.0.22 --+")
	lab, err := start(ctx, c, s.binary)
	if err != nil {
		return err
	}
	d := &demonstration{laboratory: lab, screen: screen, requests: &load.Requests{
		Target: netip.AddrPortFrom(cluster.VIP, 80), Interval: demoInterval, Timeout: 250 * time.Millisecond,
		Enter: func() error { return c.Enter(cluster.Client) },
	}}
	d.begin = time.Now()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.requests.Run(running) }()
	for _, part := range []func(context.Context) error{d.balance, d.realServer, d.connect, d.failover} {
		if err := part(ctx); err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	d.conns.Close()
	d.result.total = load.Summarise(d.requests.Between(d.begin, time.Now()))
	return d.verdict()
}

// balance shows how requests are spread.
func (d *demonstration) balance(ctx context.Context) error {
	d.screen.step("a new connection every %d ms, balanced by weight", demoInterval.Milliseconds())
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		if _, err := d.requests.WaitFor(ctx, d.begin, rs); err != nil {
			return err
		}
	}
	return d.count(ctx, 2*time.Second)
}

// count shows who answered in the next while.
func (d *demonstration) count(ctx context.Context, while time.Duration) error {
	from := time.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(while):
	}
	s := load.Summarise(d.requests.Between(from, time.Now()))
	d.screen.say("%.0f s: rs-1 answered %d, rs-2 answered %d, lost %d",
		while.Seconds(), s.ByServer[cluster.RS1], s.ByServer[cluster.RS2], s.Lost)
	return nil
}

// realServer kills a real server's nginx and brings it back.
func (d *demonstration) realServer(ctx context.Context) error {
	lb := d.lb[cluster.LBA]
	d.screen.step("kill -9 the nginx of rs-1: it leaves")
	mark, killed := len(lb.Lines()), time.Now()
	d.web[cluster.RS1].Kill()
	line, mark, err := lb.Wait(ctx, mark, "real server removed", "real_server=rs-1", "virtual_server=web")
	if err != nil {
		return err
	}
	d.result.left = line.At.Sub(killed)
	if err := d.count(ctx, 2*time.Second); err != nil {
		return err
	}

	d.screen.step("start it again: it returns")
	started := time.Now()
	if d.web[cluster.RS1], err = d.StartWeb(ctx, cluster.RS1); err != nil {
		return err
	}
	if _, _, err = lb.Wait(ctx, mark, "real server added", "real_server=rs-1", "virtual_server=web"); err != nil {
		return err
	}
	answer, err := d.requests.WaitFor(ctx, started, cluster.RS1)
	if err != nil {
		return err
	}
	d.result.returned = answer.End().Sub(started)
	return d.count(ctx, 2*time.Second)
}

// connect opens the connections that are to survive, and waits until the Backup's kernel
// has been told of them.
func (d *demonstration) connect(ctx context.Context) error {
	d.screen.step("open %d long-lived connections; the backup learns of them", demoConns)
	var err error
	d.conns, err = load.Open(ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), demoConns, time.Second,
		func() error { return d.Enter(cluster.Client) })
	if err != nil {
		return err
	}
	for ticker := time.Tick(250 * time.Millisecond); ; {
		n, err := d.Connections(cluster.LBB, cluster.EchoPort)
		if err != nil {
			return err
		}
		if n >= demoConns {
			d.screen.say("lb-b's kernel holds %d of them", n)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lb-b knows %d of %d connections: %w", n, demoConns, context.Cause(ctx))
		case <-ticker:
		}
	}
}

// failover cuts the Master off the network.
func (d *demonstration) failover(ctx context.Context) error {
	d.screen.step("cut the Master, lb-a, off the network")
	lb := d.lb[cluster.LBB]
	mark, cut := len(lb.Lines()), time.Now()
	if err := d.Cut(cluster.LBA); err != nil {
		return err
	}
	if _, _, err := lb.Wait(ctx, mark, "virtual router changed state", "to=master"); err != nil {
		return err
	}
	over, err := d.requests.WaitFor(ctx, time.Now(), "")
	if err != nil {
		return err
	}
	// A connection that is alive has brought a line back by then: the first
	// retransmission after the gap comes within a second or two.
	waiting, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	d.result.kept, d.result.lost = d.conns.Kept(waiting, over.End())
	if err := d.count(ctx, time.Second); err != nil {
		return err
	}
	d.result.failover = load.Summarise(d.requests.Between(cut.Add(-time.Second), time.Now()))
	for _, lb := range []string{cluster.LBA, cluster.LBB} {
		holds, err := d.Holds(lb)
		if err != nil {
			return err
		}
		if holds {
			d.result.master = append(d.result.master, lb)
		}
	}
	return nil
}

// verdict prints the table.
func (d *demonstration) verdict() error {
	r := d.result
	d.screen.step("what the client saw")
	connections := fmt.Sprintf("%d of %d", r.kept, demoConns)
	for why, n := range r.lost {
		connections += fmt.Sprintf(", %d %s", n, why)
	}
	held := true
	row := func(ok bool, name, value, bound string) {
		word, style := "ok", green
		if !ok {
			word, style, held = "FAILED", red, false
		}
		d.screen.say("%-26s %-22s %-18s %s", name, value, bound, d.screen.paint(style, word))
	}
	row(r.failover.Gap <= demoGap, "client-visible gap", milliseconds(r.failover.Gap), "at most "+milliseconds(demoGap))
	row(r.kept == demoConns, "connections kept", connections, "all")
	row(slices.Equal(r.master, []string{cluster.LBB}), "holds the VIP now", strings.Join(r.master, ", "), cluster.LBB)
	row(r.left > 0, "real server left after", milliseconds(r.left), "")
	row(r.returned > 0, "real server back after", milliseconds(r.returned), "")
	d.screen.say("%-26s %d of %d, %d of them in the failover", "requests lost", r.total.Lost, r.total.Sent, r.failover.Lost)
	if !held {
		return exitCode(1)
	}
	return nil
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
