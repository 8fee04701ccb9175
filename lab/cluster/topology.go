package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	namespaceDir = "/run/netns" // where ip(8) keeps named namespaces
	runPrefix    = "hadirector-lab"
)

// link is one cable between a machine and a bridge.
type link struct {
	dev     string // on the machine
	address string
	port    string // in the switch's namespace
	bridge  string
}

func (m machine) links() []link {
	links := []link{{dev: "eth0", address: m.lan, port: m.name, bridge: "br0"}}
	if m.sync != "" {
		links = append(links, link{dev: "eth1", address: m.sync, port: m.name + "-sync", bridge: "br1"})
	}
	return links
}

func names() []string {
	var names []string
	for _, m := range machines {
		names = append(names, m.name)
	}
	return names
}

// build makes the namespaces, one ip process each: under emulation a process costs more
// than all that it configures.
func (c *Cluster) build() error {
	var add strings.Builder
	for _, name := range append(names(), network) {
		fmt.Fprintf(&add, "netns add %s\n", c.Namespace(name))
	}
	if err := batch(nil, add.String()); err != nil {
		return fmt.Errorf("make network namespaces (this needs root): %w", err)
	}
	// A bridge that snoops multicast forgets the VRRP group without a querier, and one
	// with a forward delay keeps a mended port shut for seconds.
	var plug strings.Builder
	for _, bridge := range []string{"br0", "br1"} {
		fmt.Fprintf(&plug, "link add %s type bridge forward_delay 0 mcast_snooping 0\nlink set %[1]s up\n", bridge)
	}
	for _, m := range machines {
		c.plug(&plug, m, nil)
	}
	if err := c.ip(network, plug.String()); err != nil {
		return err
	}
	if err := os.Mkdir(c.MachineDir(network), 0o755); err != nil {
		return err
	}
	for _, m := range machines {
		if err := os.Mkdir(c.MachineDir(m.name), 0o755); err != nil {
			return err
		}
		if err := c.address(m); err != nil {
			return err
		}
	}
	return nil
}

// plug appends the commands that plug a machine's links into the bridges. They have the
// hardware addresses of macs, by their names, or new ones.
func (c *Cluster) plug(script *strings.Builder, m machine, macs map[string]string) {
	for _, l := range m.links() {
		mac := ""
		if macs[l.dev] != "" {
			mac = "address " + macs[l.dev]
		}
		fmt.Fprintf(script, "link add %s type veth peer name %s %s netns %s\n", l.port, l.dev, mac, c.Namespace(m.name))
		fmt.Fprintf(script, "link set %s master %s up\n", l.port, l.bridge)
	}
}

// address gives a machine its addresses.
func (c *Cluster) address(m machine) error {
	script := "link set lo up\n"
	for _, l := range m.links() {
		script += fmt.Sprintf("addr add %s/24 dev %s\nlink set %[2]s up\n", l.address, l.dev)
	}
	return c.ip(m.name, script)
}

// IP runs an ip(8) script on a machine, a command without "ip" in each line: one process for
// all of them.
func (c *Cluster) IP(machine, script string) error { return c.ip(machine, script) }

// ip runs an ip(8) script on a machine.
func (c *Cluster) ip(machine, script string) error {
	if err := batch([]string{"-n", c.Namespace(machine)}, script); err != nil {
		return fmt.Errorf("%s: %w", machine, err)
	}
	return nil
}

func batch(flags []string, script string) error {
	cmd := exec.Command("ip", append(flags, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s\n%s", err, out, script)
	}
	return nil
}

// removeNamespace does what "ip netns delete" does, without a process for it. The kernel takes
// the namespace down in its own time.
func removeNamespace(name string) error {
	file := filepath.Join(namespaceDir, name)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// What is no mount point is what a "netns add" that failed has left.
	if err := unix.Unmount(file, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove namespace %s: unmount: %w", name, err)
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// sweep removes the namespaces of runs whose process is gone. A run that was killed could
// not do it; its processes died with it. Errors are left to the next run.
func sweep() {
	entries, _ := os.ReadDir(namespaceDir)
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), runPrefix)
		if !ok {
			continue
		}
		id, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(id)
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = removeNamespace(e.Name())
		}
	}
}
