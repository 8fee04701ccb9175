package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// CheckOptions are the choices of [Check].
type CheckOptions struct {
	Binary    string          // the daemon's path
	Servers   []int           // how many real servers are checked, beside the mortal ones
	Intervals []time.Duration // between two checks of one
	Types     []CheckType
	Alone     bool // without keepalived
	Rounds    int  // of either program, in turns
	// Settle is for how long the programs run before anything is measured, beside two
	// intervals: a table that has been long in the making has left many checks late.
	Settle   time.Duration
	Quiet    time.Duration // for which the cost is measured
	Deaths   int           // of mortal real servers, one after the other
	Out      io.Writer     // gets the table
	Progress io.Writer     // gets a line per step
}

// CheckType is how real servers are asked.
type CheckType string

// The types of checks that both programs know.
const (
	CheckTCP  CheckType = "tcp"
	CheckHTTP CheckType = "http"
)

const (
	// advertInterval is that of the director's virtual router, whose advertisements are to
	// leave on time whatever the checks do.
	advertInterval = 100 * time.Millisecond
	// perService is how many of the real servers share a virtual server.
	perService = 10
)

// scenario is one line of the table, for either program.
type scenario struct {
	servers  int
	interval time.Duration
	kind     CheckType
	mortal   int
}

func (s scenario) String() string { return fmt.Sprintf("%d %s %v", s.servers, s.kind, s.interval) }

// size is the table without the mortal real servers.
func (s scenario) size() Size { return Size{Services: s.servers / perService, Servers: perService} }

// perSecond is how many checks a second the configuration asks for.
func (s scenario) perSecond() float64 {
	return float64(s.size().Services*perService+2*s.mortal) / s.interval.Seconds()
}

// Each mortal real server has a virtual server of its own, with one beside it that stays.
func mortalService(i int) netip.AddrPort {
	return netip.AddrPortFrom(cluster.VIP, uint16(1000+i))
}

func checkedService(i int) netip.AddrPort {
	return netip.AddrPortFrom(cluster.VIP, uint16(2000+i))
}

func mortalServer(i int) netip.AddrPort {
	return netip.AddrPortFrom(cluster.Addr(cluster.RS2), uint16(9000+i))
}

func immortalServer(i int) netip.AddrPort {
	return netip.AddrPortFrom(cluster.Addr(cluster.RS1), uint16(9000+i))
}

// services calls f for each virtual server of a scenario.
func (s scenario) services(f func(at netip.AddrPort, servers []netip.AddrPort)) {
	for i := range s.mortal {
		f(mortalService(i), []netip.AddrPort{immortalServer(i), mortalServer(i)})
	}
	for i := range s.size().Services {
		servers := make([]netip.AddrPort, perService)
		for j := range servers {
			servers[j] = server(i, j)
		}
		f(checkedService(i), servers)
	}
}

// checkCost is what one program needed for one scenario.
type checkCost struct {
	asked    int // checks in the quiet time
	cpu      time.Duration
	share    int64 // bytes of memory, of all processes
	timeWait int   // sockets, on the director
	removals []time.Duration
	late     []time.Duration // of each advertisement after the one before it
}

// Check measures and prints the table. It reports whether hadirector was nowhere later to
// take out a dead real server than keepalived, by more than one tenth of an interval.
func Check(ctx context.Context, o CheckOptions) (ok bool, err error) {
	fmt.Fprintf(o.Out, "%-14s %-11s | %6s %10s %7s %9s | %8s %8s | %8s %8s\n%-26s | %35s | %17s | %17s\n",
		"checks", "program", "asked", "CPU/check", "memory", "TIME_WAIT", "median", "p99", "p99", "worst",
		"", "", "death to removal", "advert late by")
	ok = true
	for _, n := range o.Servers {
		for _, kind := range o.Types {
			for _, interval := range o.Intervals {
				s := scenario{servers: n, interval: interval, kind: kind, mortal: o.Deaths}
				better, err := o.compare(ctx, s)
				if err != nil {
					return false, err
				}
				ok = ok && better
			}
		}
	}
	return ok, nil
}

// compare runs one scenario with both programs, in turns: the machine is not always as
// fast as it was.
func (o CheckOptions) compare(ctx context.Context, s scenario) (ok bool, err error) {
	programs := []checker{&hadirectorChecker{daemon: cluster.Hadirector{Binary: o.Binary}}}
	if !o.Alone {
		programs = append(programs, keepalivedChecker{})
	}
	rounds := make([][]checkCost, len(programs))
	for range o.Rounds {
		for i, p := range programs {
			cost, err := o.measure(ctx, p, s)
			if err != nil {
				return false, fmt.Errorf("%s, %s: %w", p, s, err)
			}
			rounds[i] = append(rounds[i], cost)
		}
	}
	removals := make([]time.Duration, len(programs))
	for i, p := range programs {
		var all checkCost
		var perCheck []time.Duration
		for _, c := range rounds[i] {
			perCheck = append(perCheck, c.cpu/time.Duration(max(1, c.asked)))
			all.asked += c.asked
			all.share, all.timeWait = max(all.share, c.share), max(all.timeWait, c.timeWait)
			all.removals = append(all.removals, c.removals...)
			all.late = append(all.late, c.late...)
		}
		removals[i] = median(all.removals)
		fmt.Fprintf(o.Out, "%-14s %-11s | %5.0f%% %7d us %4d MB %9d | %5d ms %5d ms | %8s %8s\n", s, p,
			100*float64(all.asked)/(s.perSecond()*o.Quiet.Seconds()*float64(o.Rounds)), median(perCheck).Microseconds(), all.share>>20, all.timeWait,
			removals[i].Milliseconds(), percentile(all.removals, 99).Milliseconds(),
			milliseconds(percentile(all.late, 99)), milliseconds(slices.Max(all.late)))
	}
	if o.Alone {
		return true, nil
	}
	return removals[0] <= removals[1]+s.interval/10, nil
}

// percentile is the value that p of 100 values do not exceed.
func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[(len(sorted)*p+99)/100-1]
}

// measure runs one program.
func (o CheckOptions) measure(ctx context.Context, program checker, s scenario) (cost checkCost, err error) {
	c, err := cluster.New(cluster.Options{})
	if err != nil {
		return cost, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, to := range everyServer {
		if _, err := c.Run(cluster.RS1, "ip", "route", "add", "local", to, "dev", "lo"); err != nil {
			return cost, err
		}
		if _, err := c.Run(cluster.LBA, "ip", "route", "add", to, "via", cluster.Addr(cluster.RS1).String()); err != nil {
			return cost, err
		}
	}
	// Loading a module takes an emulated machine seconds, which are neither program's.
	if _, err := c.Run(cluster.LBA, "modprobe", "ip_vs_rr"); err != nil {
		return cost, err
	}
	farm, err := newFarm(c, s)
	if err != nil {
		return cost, err
	}
	defer farm.close()
	tap, err := newTap(c, cluster.LBA)
	if err != nil {
		return cost, err
	}
	defer tap.close()
	ear := newWire()
	watching, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- load.LeavingAdverts(watching, "eth0", func() error { return c.Enter(cluster.LBA) }, ear.heard)
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()

	if err := program.configure(c, s); err != nil {
		return cost, err
	}
	begin := time.Now()
	p, err := program.start(c)
	if err != nil {
		return cost, err
	}
	defer p.Kill() // its namespace goes with all its services
	operations := 3*s.mortal + s.size().Services*(1+perService)
	if err := tap.expect(ctx, p, operations); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: started in %v\n", program, s, time.Since(begin).Round(time.Millisecond))
	if err := sleep(ctx, time.Now().Add(2*s.interval+o.Settle)); err != nil {
		return cost, err
	}

	before, err := usages(p.PID())
	if err != nil {
		return cost, err
	}
	begin = time.Now()
	asked := farm.asked.Load()
	if err := sleep(ctx, begin.Add(o.Quiet)); err != nil {
		return cost, err
	}
	cost.asked = int(farm.asked.Load() - asked)
	cost.late = ear.lateness(cluster.Addr(cluster.LBA), begin, time.Now())
	after, err := usages(p.PID())
	if err != nil {
		return cost, err
	}
	for _, u := range since(before, after) {
		cost.cpu += u.cpu
		cost.share += u.share
	}
	if cost.timeWait, err = timeWait(c, cluster.LBA); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: %d checks in %v\n", program, s, cost.asked, o.Quiet)
	cost.removals, err = o.deaths(ctx, p, s, farm, tap)
	return cost, err
}

// deaths lets the mortal real servers die one after the other, and returns how long each
// was still in the kernel's table.
func (o CheckOptions) deaths(ctx context.Context, p *cluster.Process, s scenario, farm *farm, tap *tap) ([]time.Duration, error) {
	died := make(map[netip.AddrPort]time.Time)
	var took []time.Duration
	next := time.NewTimer(0)
	defer next.Stop()
	for len(took) < s.mortal {
		select {
		case <-next.C:
			i := len(died)
			if i == s.mortal {
				continue
			}
			died[mortalService(i)] = time.Now()
			if err := farm.mortal[i].Close(); err != nil {
				return nil, err
			}
			// At a moment that has nothing to do with the program's own.
			next.Reset(s.interval/5 + rand.N(s.interval/5))
		case op, open := <-tap.ops:
			if !open {
				return nil, tap.err
			}
			if at, dead := died[op.service]; dead && !at.IsZero() && op.at.After(at) {
				took = append(took, op.at.Sub(at))
				died[op.service] = time.Time{}
			}
		case <-p.Done():
			return nil, fmt.Errorf("it ended with status %d:\n%s", p.ExitCode(), p.Output())
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d dead real servers are gone: %w", len(took), s.mortal, context.Cause(ctx))
		}
	}
	fmt.Fprintf(o.Progress, "%d dead real servers are gone\n", len(took))
	return took, nil
}

// lateness is how much later than an interval after the one before it each advertisement
// of a director came.
func (w *wire) lateness(director netip.Addr, from, to time.Time) (late []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last time.Time
	for _, a := range w.adverts {
		if a.From != director || a.At.Before(from) || a.At.After(to) {
			continue
		}
		if !last.IsZero() {
			late = append(late, max(0, a.At.Sub(last)-advertInterval))
		}
		last = a.At
	}
	return append(late, max(0, to.Sub(last)-advertInterval))
}

// timeWait is how many sockets of a machine are in that state.
func timeWait(c *cluster.Cluster, machine string) (n int, err error) {
	text, err := c.Run(machine, "cat", "/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	if _, after, found := strings.Cut(text, " tw "); found {
		_, err = fmt.Sscan(after, &n)
		return n, err
	}
	return 0, fmt.Errorf("no tw in %q", text)
}

// farm are the real servers: all that stay are one listener on RS1 for each port.
type farm struct {
	kind   CheckType
	asked  atomic.Int64 // connections
	mortal []net.Listener
	others []net.Listener
	open   sync.WaitGroup
}

func newFarm(c *cluster.Cluster, s scenario) (*farm, error) {
	f := &farm{kind: s.kind}
	listen := func(machine, address string) (l net.Listener, err error) {
		err = c.Do(machine, func() (err error) {
			l, err = net.Listen("tcp4", address)
			return err
		})
		if err == nil {
			go f.serve(l)
		}
		return l, err
	}
	all, err := listen(cluster.RS1, "0.0.0.0:80")
	if err != nil {
		return nil, err
	}
	f.others = append(f.others, all)
	for i := range s.mortal {
		stays, err := listen(cluster.RS1, immortalServer(i).String())
		if err != nil {
			return nil, err
		}
		f.others = append(f.others, stays)
		dies, err := listen(cluster.RS2, mortalServer(i).String())
		if err != nil {
			return nil, err
		}
		f.mortal = append(f.mortal, dies)
	}
	return f, nil
}

func (f *farm) close() {
	for _, l := range slices.Concat(f.mortal, f.others) {
		l.Close()
	}
	f.open.Wait()
}

func (f *farm) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		f.asked.Add(1)
		f.open.Add(1)
		go func() {
			defer f.open.Done()
			defer conn.Close()
			f.answer(conn)
		}()
	}
}

// answer serves one connection: an HTTP request, or whatever comes until its end.
func (f *farm) answer(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	if f.kind != CheckHTTP {
		io.Copy(io.Discard, conn)
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nup\n")
			return
		}
	}
}
