package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// PowerOff takes a machine's power: its links go down, and its processes end.
func (c *Cluster) PowerOff(machine string) error {
	err := c.Cut(machine)
	c.mu.Lock()
	processes := slices.Clone(c.processes)
	c.mu.Unlock()
	for _, p := range processes {
		if p.Machine == machine {
			p.Kill()
		}
	}
	return err
}

// PowerOn boots a machine that is off. Its kernel knows nothing of what was: no connections,
// no sync daemons, no parameters, no virtual addresses. It has its own addresses, and its
// hardware's. Of its processes' files those in "run" are gone, as in a /run.
func (c *Cluster) PowerOn(name string) error {
	i := slices.IndexFunc(machines, func(m machine) bool { return m.name == name })
	if i < 0 {
		return fmt.Errorf("no machine %q", name)
	}
	m := machines[i]
	macs := make(map[string]string)
	err := c.Do(name, func() error {
		for _, l := range m.links() {
			link, err := netlink.LinkByName(l.dev)
			if err != nil {
				return fmt.Errorf("find %s of %s: %w", l.dev, name, err)
			}
			macs[l.dev] = link.Attrs().HardwareAddr.String()
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The kernel takes down a namespace in its own time, and a link's name is in use until
	// then.
	var unplug, plug strings.Builder
	for _, l := range m.links() {
		fmt.Fprintf(&unplug, "link del %s\n", l.port)
	}
	if err := c.ip(network, unplug.String()); err != nil {
		return err
	}
	if err := removeNamespace(c.Namespace(name)); err != nil {
		return err
	}
	if err := batch(nil, "netns add "+c.Namespace(name)+"\n"); err != nil {
		return err
	}
	c.plug(&plug, m, macs)
	return errors.Join(
		c.ip(network, plug.String()),
		c.address(m),
		os.RemoveAll(filepath.Join(c.MachineDir(name), "run")),
	)
}
