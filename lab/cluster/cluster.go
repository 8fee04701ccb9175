package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Options are the choices of New.
type Options struct {
	// Prefix begins the namespaces' names. Empty: one made of this process's id and a
	// number, so that any number of clusters live side by side. "-" means none at all, for a machine that
	// holds nothing but this lab.
	Prefix string
	// Log gets every line that a process of the cluster prints, as it comes. May be nil.
	Log func(Line)
}

// Cluster is a running topology. Its methods may be called by any goroutine.
type Cluster struct {
	prefix string
	dir    string
	log    func(Line)
	spawn  chan func() // runs functions on the thread that all children belong to

	mu        sync.Mutex // guards what follows
	processes []*Process
	echoes    map[string]*echo
	pinned    map[string]int // to which processor a machine's processes are
}

// clusters counts those that this process has made.
var clusters atomic.Int32

// New builds the topology: namespaces, links, addresses. Nothing runs in it yet. It needs
// root and iproute2.
func New(o Options) (*Cluster, error) {
	c := &Cluster{prefix: o.Prefix, log: o.Log, spawn: make(chan func()), echoes: make(map[string]*echo), pinned: make(map[string]int)}
	switch o.Prefix {
	case "":
		c.prefix = fmt.Sprintf("%s%d-%d-", runPrefix, os.Getpid(), clusters.Add(1))
		sweep()
	case "-":
		c.prefix = ""
	}
	if c.log == nil {
		c.log = func(Line) {}
	}
	dir, err := os.MkdirTemp("", "hadirector-lab-")
	if err != nil {
		return nil, err
	}
	c.dir = dir
	go c.spawner()
	// FRR's daemons find their files without being root. The key in here is readable to
	// its owner alone.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.build(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// spawner forks every child. Pdeathsig strikes when the thread that forked ends, so it has
// to be one that lives as long as the cluster.
func (c *Cluster) spawner() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range c.spawn {
		f()
	}
}

// Dir is a scratch directory that Close removes.
func (c *Cluster) Dir() string { return c.dir }

// MachineDir is a machine's part of it, and its processes' working directory.
func (c *Cluster) MachineDir(machine string) string { return filepath.Join(c.dir, machine) }

// Namespace returns the name of a machine's network namespace, for "ip netns exec".
func (c *Cluster) Namespace(machine string) string { return c.prefix + machine }

// Close ends every process of the cluster and removes its namespaces and files. It goes
// on after an error and returns all of them.
func (c *Cluster) Close() error {
	c.mu.Lock()
	processes := c.processes
	c.processes = nil
	for _, e := range c.echoes {
		e.close()
	}
	c.mu.Unlock()
	for _, p := range processes {
		p.Kill()
	}
	var errs []error
	for _, name := range append([]string{network}, names()...) {
		if err := removeNamespace(c.Namespace(name)); err != nil {
			errs = append(errs, err)
		}
	}
	close(c.spawn)
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// Cut takes a machine off the network: every port it is plugged into goes down, and the
// machine sees its carrier go. It takes less than a millisecond, so that a measurement can
// begin with it.
func (c *Cluster) Cut(machine string) error { return c.ports(machine, allPorts, netlink.LinkSetDown) }

// Mend undoes Cut.
func (c *Cluster) Mend(machine string) error { return c.ports(machine, allPorts, netlink.LinkSetUp) }

// CutLAN and MendLAN do the same to the LAN side alone; a director keeps its sync network.
func (c *Cluster) CutLAN(machine string) error { return c.ports(machine, lanPort, netlink.LinkSetDown) }

// MendLAN undoes CutLAN.
func (c *Cluster) MendLAN(machine string) error { return c.ports(machine, lanPort, netlink.LinkSetUp) }

// CutSync and MendSync do the same to the sync network's side.
func (c *Cluster) CutSync(machine string) error {
	return c.ports(machine, syncPort, netlink.LinkSetDown)
}

// MendSync undoes CutSync.
func (c *Cluster) MendSync(machine string) error {
	return c.ports(machine, syncPort, netlink.LinkSetUp)
}

func allPorts(link) bool   { return true }
func lanPort(l link) bool  { return l.bridge == "br0" }
func syncPort(l link) bool { return l.bridge == "br1" }

// ports sets those of a machine's ports that match.
func (c *Cluster) ports(machine string, match func(link) bool, set func(netlink.Link) error) error {
	return c.Do(network, func() error {
		for _, m := range machines {
			if m.name != machine {
				continue
			}
			for _, l := range m.links() {
				if !match(l) {
					continue
				}
				port, err := netlink.LinkByName(l.port)
				if err != nil {
					return fmt.Errorf("find port %s: %w", l.port, err)
				}
				if err := set(port); err != nil {
					return fmt.Errorf("set port %s: %w", l.port, err)
				}
			}
		}
		return nil
	})
}

// Run runs a command on a machine and returns what it printed.
func (c *Cluster) Run(machine, name string, args ...string) (string, error) {
	args = append([]string{"netns", "exec", c.Namespace(machine), name}, args...)
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w: %s", machine, strings.Join(args[3:], " "), err, out)
	}
	return string(out), nil
}

// Holds reports whether a director has the VIP, on whatever link.
func (c *Cluster) Holds(machine string) (bool, error) { return c.HoldsAddr(machine, VIP) }

// HoldsAddr reports the same of any address.
func (c *Cluster) HoldsAddr(machine string, a netip.Addr) (bool, error) {
	holds := false
	err := c.Do(machine, func() error {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		for errors.Is(err, netlink.ErrDumpInterrupted) { // the addresses changed meanwhile
			addrs, err = netlink.AddrList(nil, netlink.FAMILY_ALL)
		}
		if err != nil {
			return fmt.Errorf("list the addresses of %s: %w", machine, err)
		}
		holds = slices.ContainsFunc(addrs, func(addr netlink.Addr) bool { return addr.IP.Equal(a.AsSlice()) })
		return nil
	})
	return holds, err
}

// Do runs f on a thread in a machine's namespace. A socket that f opens stays in the
// namespace wherever it is used later; a goroutine that f starts does not.
func (c *Cluster) Do(machine string, f func() error) error {
	result := make(chan error)
	go func() {
		// Never unlocked: the thread belongs to the namespace and ends with the goroutine.
		runtime.LockOSThread()
		if err := c.Enter(machine); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// Enter moves the calling goroutine's thread into a machine's namespace. The goroutine must
// have locked the thread, and must not unlock it again.
func (c *Cluster) Enter(machine string) error {
	name := c.Namespace(machine)
	f, err := os.Open(filepath.Join(namespaceDir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", name, err)
	}
	return nil
}

// Line is one line that a process printed.
type Line struct {
	At      time.Time
	Machine string
	Process string
	Text    string
}
