//go:build ipvs

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/lab/cluster"
)

// relaySide is the kernel's side of a relay on a machine: the daemons, the private interface
// and whether it listens to their group, the tick's service, a parameter.
func (b *bed) relaySide(machine string) []string {
	b.t.Helper()
	var side []string
	err := b.Do(machine, func() error {
		c, err := ipvsnl.Open(ipvsnl.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		daemons, err := c.Daemons(b.ctx)
		if err != nil {
			return err
		}
		for _, d := range daemons {
			side = append(side, d.String())
		}
		slices.Sort(side)
		if _, err := net.InterfaceByName("hasync0"); err == nil {
			side = append(side, "hasync0")
		}
		groups, err := os.ReadFile("/proc/thread-self/net/igmp")
		if err != nil {
			return err
		}
		if _, its, _ := strings.Cut(string(groups), "\thasync0 "); strings.Contains(its, "\t510000E0 ") {
			side = append(side, "224.0.0.81")
		}
		table, _, err := c.Table(b.ctx)
		if err != nil {
			return err
		}
		for line := range strings.Lines(table.String()) {
			if strings.Contains(line, "169.254.88.") {
				side = append(side, strings.TrimSpace(line))
			}
		}
		threshold, err := os.ReadFile("/proc/sys/net/ipv4/vs/sync_threshold")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		side = append(side, strings.TrimSpace(string(threshold)))
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return side
}

// waitRelaySide waits until the kernel's side of a relay is as it should be.
func (b *bed) waitRelaySide(machine string, want ...string) {
	b.t.Helper()
	var got []string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s has %q", machine, got)
		}
	}()
	b.until(fmt.Sprintf("the kernel of %s has %q", machine, want), func() bool {
		got = b.relaySide(machine)
		return slices.Equal(got, want)
	})
}

// The kernel's daemons talk on a private interface, whatever the role is, and hear there
// again after somebody has deleted it; a Master ticks. A plan, typed in, makes all that, and
// a stop leaves nothing of it.
func TestKernelsSideOfTheRelay(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		t.Fatal(err)
	}
	b.configure(cluster.VRRP + fmt.Sprintf(`[sync]
sync_id = 7
key_file = %q
[virtual_server.echo]
address = "10.0.0.100:7"
protocol = "tcp"
scheduler = "rr"
real_server = { rs-1 = { address = "10.0.0.21:7" } }
`, key))
	const before, threshold = "3\t50", "2\t0"
	relay := []string{
		"backup --mcast-interface hasync0 --syncid 7 --sync-maxlen 1472", "master --mcast-interface hasync0 --syncid 7 --sync-maxlen 1",
		"hasync0", "224.0.0.81",
	}
	backup := append(slices.Clip(relay), threshold)
	master := append(slices.Clip(relay), "-A -t 169.254.88.50:8848 -s rr", "-a -t 169.254.88.50:8848 -r 169.254.88.49:8848 -g -w 1", threshold)

	plan := b.plan(2, "-c", b.daemon.Config)
	b.waitRelaySide(cluster.LBA, before)
	b.shell(plan)
	b.waitRelaySide(cluster.LBB, backup...)
	typed := b.indexOf(cluster.LBB, "hasync0")

	a, other := b.pair()
	b.waitRelaySide(cluster.LBA, master...)
	b.waitRelaySide(cluster.LBB, backup...)
	if now := b.indexOf(cluster.LBB, "hasync0"); now != typed {
		t.Errorf("the interface that the plan has made was not taken over: it was number %d, and is %d", typed, now)
	}
	if n := other.count("repaired"); n != 0 {
		t.Errorf("%d lines about repairs of what nobody has changed", n)
	}

	b.run(cluster.LBB, "ip", "link", "del", "hasync0")
	b.run(cluster.LBA, "ipvsadm", "--stop-daemon", "backup")
	other.wait("ipvs table was changed by another program, repaired", "ip link add hasync0 type dummy", "--stop-daemon backup")
	b.waitRelaySide(cluster.LBB, backup...)
	b.waitRelaySide(cluster.LBA, master...)

	a.stop()
	b.waitRelaySide(cluster.LBA, before)
	other.wait(changedState, "to=master")
	b.waitRelaySide(cluster.LBB, master...)
	other.stop()
	b.waitRelaySide(cluster.LBB, threshold) // which the plan had set
}

// indexOf is the number of an interface.
func (b *bed) indexOf(machine, name string) (index int) {
	b.t.Helper()
	err := b.Do(machine, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = i.Index
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return index
}
