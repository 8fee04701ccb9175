package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// ReloadOptions are the choices of [Reload].
type ReloadOptions struct {
	Binary string // the daemon's path
	Sizes  []Size
	// Alone leaves keepalived out.
	Alone bool
	// Unchecked leaves out the checks of all but the watched virtual server, which with
	// ten thousands of them are all that an emulated machine can do.
	Unchecked bool
	// Quiet is for how long no change follows the last one.
	Quiet    time.Duration
	Out      io.Writer // gets the table
	Progress io.Writer // gets a line per step
}

// Size is how long a table is: virtual servers, and real servers of each.
type Size struct{ Services, Servers int }

func (s Size) String() string { return fmt.Sprintf("%d x %d", s.Services, s.Servers) }

// balancer is a program that keeps a director's table.
type balancer interface {
	String() string
	// configure writes the configuration of so many virtual servers, whether or not it
	// runs already, and start starts it.
	configure(c *cluster.Cluster, s Size, unchecked bool) error
	start(c *cluster.Cluster) (*cluster.Process, error)
}

// The watched virtual server is there at every size: its second real server dies.
var (
	watched      = netip.MustParseAddrPort("10.9.0.1:80")
	watchedAlive = netip.AddrPortFrom(cluster.Addr(cluster.RS1), 8080)
	watchedDying = netip.AddrPortFrom(cluster.Addr(cluster.RS2), 8080)
)

// A machine that is busy with a start must not take a real server for dead: only the end
// of a listener is, which refuses at once.
const checkInterval = 200 * time.Millisecond

// aliveInterval is the time between two checks of each of the other real servers, which
// all are one machine and always answer.
const aliveInterval = time.Minute

// everyServer are the routes to all addresses of server.
var everyServer = []string{"10.16.0.0/12", "10.32.0.0/11", "10.64.0.0/10", "10.128.0.0/9"}

// service and server are the addresses of the virtual servers that are not watched.
func service(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i%250 + 1)}), 80)
}

func server(i, j int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(20 + j), byte(i / 250), byte(i%250 + 1)}), 80)
}

// hadirectorBalancer is the daemon under test.
type hadirectorBalancer struct{ daemon cluster.Hadirector }

func (*hadirectorBalancer) String() string { return "hadirector" }

func (h *hadirectorBalancer) configure(c *cluster.Cluster, s Size, unchecked bool) (err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[director.lb-a]\naddress = \"%s\"\n[admin]\nsocket = %q\n[log]\nlevel = \"error\"\n", cluster.Addr(cluster.LBA), cluster.Socket)
	check := "check = \"alive\"\n"
	if unchecked {
		check = ""
	}
	fmt.Fprintf(&b, "[check.alive]\ntype = \"tcp\"\ninterval = \"%v\"\ntimeout = \"20s\"\n", aliveInterval)
	fmt.Fprintf(&b, "[check.port]\ntype = \"tcp\"\ninterval = \"%v\"\ntimeout = \"20s\"\nfall = 1\n", checkInterval)
	fmt.Fprintf(&b, "[virtual_server.watched]\naddress = \"%s\"\nprotocol = \"tcp\"\nforward = \"nat\"\ncheck = \"port\"\n[virtual_server.watched.real_server]\n", watched)
	fmt.Fprintf(&b, "alive = { address = \"%s\" }\ndying = { address = \"%s\" }\n", watchedAlive, watchedDying)
	for i := range s.Services {
		fmt.Fprintf(&b, "[virtual_server.vs-%d]\naddress = \"%s\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\n%s[virtual_server.vs-%[1]d.real_server]\n", i, service(i), check)
		for j := range s.Servers {
			fmt.Fprintf(&b, "rs-%d = { address = \"%s\" }\n", j, server(i, j))
		}
	}
	h.daemon.Config, err = c.WriteConfig(b.String())
	return err
}

func (h *hadirectorBalancer) start(c *cluster.Cluster) (*cluster.Process, error) {
	return c.StartHadirector(cluster.LBA, h.daemon)
}

// keepalivedBalancer is keepalived's checker process, without VRRP.
type keepalivedBalancer struct{}

func (keepalivedBalancer) String() string { return "keepalived" }

func (keepalivedBalancer) file(c *cluster.Cluster) string {
	return filepath.Join(c.MachineDir(cluster.LBA), "keepalived.conf")
}

func (k keepalivedBalancer) configure(c *cluster.Cluster, s Size, unchecked bool) error {
	var b strings.Builder
	virtual := func(at netip.AddrPort, method string, interval time.Duration, checked bool, servers ...netip.AddrPort) {
		fmt.Fprintf(&b, "virtual_server %s %d {\n delay_loop %g\n lvs_sched rr\n lvs_method %s\n protocol TCP\n", at.Addr(), at.Port(), interval.Seconds(), method)
		for _, rs := range servers {
			check := " TCP_CHECK {\n connect_timeout 20\n retry 0\n delay_before_retry 1\n }\n"
			if !checked {
				check = ""
			}
			fmt.Fprintf(&b, " real_server %s %d {\n weight 1\n%s }\n", rs.Addr(), rs.Port(), check)
		}
		b.WriteString("}\n")
	}
	virtual(watched, "NAT", checkInterval, true, watchedAlive, watchedDying)
	for i := range s.Services {
		var servers []netip.AddrPort
		for j := range s.Servers {
			servers = append(servers, server(i, j))
		}
		virtual(service(i), "DR", aliveInterval, !unchecked, servers...)
	}
	return os.WriteFile(k.file(c), []byte(b.String()), 0o644)
}

func (k keepalivedBalancer) start(c *cluster.Cluster) (*cluster.Process, error) {
	dir := c.MachineDir(cluster.LBA)
	return c.Start(cluster.LBA, "keepalived", "keepalived", "--dont-fork", "--log-console", "--check", "--use-file", k.file(c),
		"--pid", filepath.Join(dir, "pid"), "--checkers_pid", filepath.Join(dir, "checkers_pid"))
}

// reloadCost is what one program needed at one size.
type reloadCost struct {
	load, reload, removal work
	same                  work  // a reload of the same file
	resident              int64 // bytes, of all processes, in the end
}

// work is what something took.
type work struct {
	took time.Duration // until the last operation that it needed
	ops  int           // changes sent to the kernel
	cpu  time.Duration
}

// Reload measures and prints the table. It reports whether hadirector sent no more
// operations than the difference has.
func Reload(ctx context.Context, o ReloadOptions) (ok bool, err error) {
	fmt.Fprintf(o.Out, "%-11s %-11s | %9s %6s %8s | %9s %5s %8s | %5s %8s | %9s %5s %8s | %6s\n%-23s | %25s | %24s | %14s | %24s |\n",
		"table", "program", "start", "ops", "CPU", "reload", "ops", "CPU", "ops", "CPU", "removal", "ops", "CPU", "RSS",
		"", "all in the kernel", "one more virtual server", "the same file", "a dead real server")
	ok = true
	for _, size := range o.Sizes {
		balancers := []balancer{&hadirectorBalancer{daemon: cluster.Hadirector{Binary: o.Binary}}}
		if !o.Alone {
			balancers = append(balancers, keepalivedBalancer{})
		}
		for _, b := range balancers {
			c, err := o.measure(ctx, b, size)
			if err != nil {
				return false, fmt.Errorf("%s, %s: %w", b, size, err)
			}
			fmt.Fprintf(o.Out, "%-11s %-11s | %7.2f s %6d %6.2f s | %7.3f s %5d %6.2f s | %5d %6.2f s | %7.3f s %5d %6.2f s | %3d MB\n", size, b,
				c.load.took.Seconds(), c.load.ops, c.load.cpu.Seconds(),
				c.reload.took.Seconds(), c.reload.ops, c.reload.cpu.Seconds(),
				c.same.ops, c.same.cpu.Seconds(),
				c.removal.took.Seconds(), c.removal.ops, c.removal.cpu.Seconds(), c.resident>>20)
			if b.String() == "hadirector" && c.reload.ops+c.same.ops > 1+size.Servers {
				ok = false
			}
		}
	}
	return ok, nil
}

// measure runs one program at one size.
func (o ReloadOptions) measure(ctx context.Context, b balancer, s Size) (cost reloadCost, err error) {
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
	if _, err := c.Run(cluster.LBA, "modprobe", "-a", "ip_vs_rr", "ip_vs_wlc"); err != nil {
		return cost, err
	}
	var listeners [3]net.Listener
	for i, at := range []struct {
		machine string
		addr    netip.AddrPort
	}{{cluster.RS1, watchedAlive}, {cluster.RS2, watchedDying}, {cluster.RS1, netip.MustParseAddrPort("0.0.0.0:80")}} {
		err := c.Do(at.machine, func() (err error) {
			listeners[i], err = net.Listen("tcp4", at.addr.String())
			return err
		})
		if err != nil {
			return cost, err
		}
		defer listeners[i].Close()
		go accept(listeners[i])
	}
	tap, err := newTap(c, cluster.LBA)
	if err != nil {
		return cost, err
	}
	defer tap.close()

	if err := b.configure(c, s, o.Unchecked); err != nil {
		return cost, err
	}
	begin := time.Now()
	p, err := b.start(c)
	if err != nil {
		return cost, err
	}
	if cost.load, err = o.until(ctx, p, tap, begin, nil, service(s.Services-1), s.Servers+1); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: started in %v\n", b, s, cost.load.took.Round(time.Millisecond))
	before, err := usages(p.PID())
	if err != nil {
		return cost, err
	}

	s.Services++
	if err := b.configure(c, s, o.Unchecked); err != nil {
		return cost, err
	}
	begin = time.Now()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return cost, err
	}
	if cost.reload, err = o.until(ctx, p, tap, begin, before, service(s.Services-1), s.Servers+1); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: the new virtual server was there after %v\n", b, s, cost.reload.took.Round(time.Millisecond))
	if before, err = usages(p.PID()); err != nil {
		return cost, err
	}

	begin = time.Now()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return cost, err
	}
	same := o
	same.Quiet = max(o.Quiet, 2*cost.reload.took) // nothing tells when it is over
	if cost.same, err = same.until(ctx, p, tap, begin, before, netip.AddrPort{}, 0); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: a reload of the same file took %v of processor time\n", b, s, cost.same.cpu)
	if before, err = usages(p.PID()); err != nil {
		return cost, err
	}

	begin = time.Now()
	if err := listeners[1].Close(); err != nil {
		return cost, err
	}
	if cost.removal, err = o.until(ctx, p, tap, begin, before, watched, 1); err != nil {
		return cost, err
	}
	fmt.Fprintf(o.Progress, "%s, %s: the dead real server was gone after %v\n", b, s, cost.removal.took.Round(time.Millisecond))
	after, err := usages(p.PID())
	for _, u := range after {
		cost.resident += u.share
	}
	p.Kill() // its namespace goes with all its services
	return cost, err
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// until waits until a service has had its operations and no more follow, and returns how
// long that took, and how much in all was done meanwhile.
func (o ReloadOptions) until(ctx context.Context, p *cluster.Process, t *tap, begin time.Time, before []usage, at netip.AddrPort, ops int) (w work, err error) {
	for mine := 0; mine < ops; {
		select {
		case op, open := <-t.ops:
			if !open {
				return w, t.err
			}
			if op.at.Before(begin) {
				continue
			}
			w.ops++
			if op.service == at {
				mine++
				w.took = op.at.Sub(begin)
			}
		case <-p.Done():
			return w, fmt.Errorf("it ended with status %d:\n%s", p.ExitCode(), p.Output())
		case <-ctx.Done():
			return w, fmt.Errorf("%d of the operations for %s: %w", mine, at, context.Cause(ctx))
		}
	}
	for timer := time.NewTimer(o.Quiet); ; timer.Reset(o.Quiet) {
		select {
		case _, open := <-t.ops:
			if !open {
				return w, t.err
			}
			w.ops++
			continue
		case <-timer.C:
		case <-ctx.Done():
			return w, context.Cause(ctx)
		}
		after, err := usages(p.PID())
		for _, u := range since(before, after) {
			w.cpu += u.cpu
		}
		return w, err
	}
}
