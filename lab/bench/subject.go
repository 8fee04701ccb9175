package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
)

// subject is a program that is measured, on the two directors of a cluster.
type subject interface {
	String() string
	// prepare writes what both directors need, once.
	prepare(c *cluster.Cluster, o setup) error
	start(c *cluster.Cluster, machine string, o setup) (*cluster.Process, error)
	// said are parts of the log lines of a change to a state.
	toMaster() []string
	toBackup() []string
}

// setup is what both programs are configured with. lb-a has priority 150, lb-b 100.
type setup struct {
	interval time.Duration
	// instances is how many virtual routers there are, with the VRIDs 1 to instances; 0:
	// the lab's own one.
	instances int
}

// address is the virtual address of a VRID.
func address(vrid int) string { return fmt.Sprintf("10.0.1.%d", vrid) }

// hadirector is the daemon under test.
type hadirector struct {
	daemon cluster.Hadirector
}

func (*hadirector) String() string     { return "hadirector" }
func (*hadirector) toMaster() []string { return []string{"virtual router changed state", "to=master"} }
func (*hadirector) toBackup() []string { return []string{"virtual router changed state", "to=backup"} }

func (h *hadirector) prepare(c *cluster.Cluster, o setup) (err error) {
	text := strings.Replace(cluster.VRRP, "[vrrp.web]\n", fmt.Sprintf("[vrrp.web]\nadvert_interval = %q\n", o.interval), 1)
	if o.instances > 0 {
		var b strings.Builder
		before, rest, _ := strings.Cut(text, "[vrrp.web]")
		_, after, _ := strings.Cut(rest, "[admin]")
		b.WriteString(before)
		for i := 1; i <= o.instances; i++ {
			fmt.Fprintf(&b, "[vrrp.v%d]\ninterface = \"eth0\"\nvrid = %[1]d\nadvert_interval = %q\nvirtual_addresses = [\"%s/32\"]\n\n",
				i, o.interval, address(i))
		}
		text = b.String() + "[admin]" + after
	}
	h.daemon.Config, err = c.WriteConfig(text)
	return err
}

func (h *hadirector) start(c *cluster.Cluster, machine string, _ setup) (*cluster.Process, error) {
	return c.StartHadirector(machine, h.daemon)
}

// keepalived is the program to compare with, with its defaults.
type keepalived struct {
	// realtime gives its VRRP process real-time scheduling, which it does not have by
	// default.
	realtime bool
}

func (k keepalived) String() string {
	if k.realtime {
		return "keepalived, real-time"
	}
	return "keepalived"
}

func (keepalived) toMaster() []string                    { return []string{"Entering MASTER STATE"} }
func (keepalived) toBackup() []string                    { return []string{"Entering BACKUP STATE"} }
func (keepalived) prepare(*cluster.Cluster, setup) error { return nil }

func (k keepalived) start(c *cluster.Cluster, machine string, o setup) (*cluster.Process, error) {
	priority := 150
	if machine == cluster.LBB {
		priority = 100
	}
	peer := cluster.Keepalived{Priority: priority, Interval: o.interval, RealTime: k.realtime}
	for i := 1; i <= o.instances; i++ {
		peer.Instances = append(peer.Instances, address(i))
	}
	return c.StartKeepalived(machine, peer)
}

// pair runs a subject on both directors.
type pair struct {
	*cluster.Cluster
	subject subject
	setup   setup
	lb      map[string]*cluster.Process
}

// startPair starts both directors, the Master first, and returns when each of their virtual
// routers has its state.
func startPair(ctx context.Context, c *cluster.Cluster, s subject, o setup) (*pair, error) {
	p := &pair{Cluster: c, subject: s, setup: o, lb: make(map[string]*cluster.Process)}
	if err := s.prepare(c, o); err != nil {
		return nil, err
	}
	if err := p.start(ctx, cluster.LBA, s.toMaster()); err != nil {
		return nil, err
	}
	return p, p.start(ctx, cluster.LBB, s.toBackup())
}

// start starts one director and waits until each virtual router has said that it is in a
// state.
func (p *pair) start(ctx context.Context, machine string, state []string) error {
	process, err := p.subject.start(p.Cluster, machine, p.setup)
	if err != nil {
		return err
	}
	p.lb[machine] = process
	mark := 0
	for range max(p.setup.instances, 1) {
		if _, mark, err = process.Wait(ctx, mark, state...); err != nil {
			return err
		}
	}
	return nil
}

// stop ends both directors in order, the Backup first.
func (p *pair) stop() error {
	for _, machine := range []string{cluster.LBB, cluster.LBA} {
		if err := p.lb[machine].Stop(); err != nil {
			return err
		}
	}
	return nil
}
