//go:build integration

package e2e

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

// smallGap bounds what clients see when the Master goes in order, or one of its processes
// crashes.
const smallGap = 50 * time.Millisecond

// meter asks the virtual address, and a real server that nothing happens to, for an answer
// every millisecond.
type meter struct {
	b            *bed
	vip, control *load.Pings
}

// measure runs a meter on the client until the test ends, and returns when both have
// answered.
func (b *bed) measure() meter {
	b.t.Helper()
	m := meter{b: b, vip: b.ping(cluster.VIP), control: b.ping(cluster.Addr(cluster.RS1))}
	m.answered()
	return m
}

func (b *bed) ping(target netip.Addr) *load.Pings {
	p := &load.Pings{Target: target, Interval: time.Millisecond, Enter: func() error { return b.Enter(cluster.Client) }}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
	return p
}

// answered waits until both answer.
func (m meter) answered() {
	m.b.t.Helper()
	now := time.Now()
	for _, p := range []*load.Pings{m.vip, m.control} {
		if _, err := p.WaitFor(m.b.ctx, now, 10); err != nil {
			m.b.t.Fatal(err)
		}
	}
}

// gap is the client-visible gap from a time to now, and how long in it clients waited for the
// real server: so much of it is the machine's.
func (m meter) gap(from time.Time) (gap, machine time.Duration) {
	begin, end := m.vip.Longest(from, time.Now())
	return end.Sub(begin), m.control.Gap(begin, end)
}

// holders is what the kernels of both directors say about the virtual address.
type holders struct {
	b        *bed
	monitors map[string]*cluster.Process
}

// watch begins to record which director has the virtual address. Call it before the
// directors start.
func (b *bed) watch() *holders {
	b.t.Helper()
	h := &holders{b: b, monitors: make(map[string]*cluster.Process)}
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		p, err := b.Start(machine, "monitor", "ip", "-o", "monitor", "address")
		if err != nil {
			b.t.Fatal(err)
		}
		h.monitors[machine] = p
		b.until("the monitor of "+machine+" sees a change", func() bool {
			b.run(machine, "ip", "addr", "add", "127.0.0.9/8", "dev", "lo")
			b.run(machine, "ip", "addr", "del", "127.0.0.9/8", "dev", "lo")
			return len(p.Lines()) > 0
		})
	}
	return h
}

// both is how long, since from, both directors had the address at the same time.
func (h *holders) both(from time.Time) time.Duration {
	type change struct {
		at     time.Time
		lb     string
		gained bool
	}
	var changes []change
	for lb, p := range h.monitors {
		for _, l := range p.Lines() {
			if strings.Contains(l.Text, " "+cluster.VIP.String()+"/") {
				changes = append(changes, change{l.At, lb, !strings.HasPrefix(l.Text, "Deleted")})
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	changes = append(changes, change{at: time.Now()})
	var sum time.Duration
	has := make(map[string]bool)
	last := from
	for _, c := range changes {
		if c.at.After(last) {
			if has[cluster.LBA] && has[cluster.LBB] {
				sum += c.at.Sub(last)
			}
			last = c.at
		}
		has[c.lb] = c.gained
	}
	return sum
}

// Whatever happens to the Master's processes, clients see little of it, and one second later
// the address is on one director.
func TestGapWhenTheMasterGoes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound time.Duration
		event func(b *bed, master *node)
		// before is what has happened already, if anything; the Backup then keeps what it
		// gets.
		before func(b *bed, master *node)
	}{
		{"stop", smallGap, func(_ *bed, master *node) { master.stop() }, nil},
		{"switchover", smallGap, func(b *bed, _ *node) {
			if _, err := b.Command(cluster.LBA, b.daemon, "switchover"); err != nil {
				b.t.Fatal(err)
			}
		}, nil},
		{"SIGKILL of the daemon", smallGap, func(b *bed, master *node) {
			if err := master.Signal(syscall.SIGKILL); err != nil {
				b.t.Fatal(err)
			}
		}, nil},
		{"SIGKILL of the VRRP process", smallGap, func(b *bed, _ *node) {
			b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGKILL)
		}, nil},
		{"SIGKILL of the VRRP process for the third time", smallGap, func(b *bed, _ *node) {
			b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGKILL)
		}, func(b *bed, master *node) {
			for range 2 {
				b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGKILL)
				master.wait(changedState, "to=master", "reason=adopted")
			}
		}},
		{"SIGSTOP of the VRRP process", smallGap, func(b *bed, _ *node) {
			b.signal(b.vrrpProcess(cluster.LBA).PID, syscall.SIGSTOP)
		}, nil},
		{"SIGKILL of both, and a restart", smallGap, func(b *bed, master *node) {
			master.Kill()
			b.director(cluster.LBA)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			h := b.watch()
			config := cluster.VRRP
			if tt.before != nil {
				config = strings.Replace(config, "vrid ", "preempt = false\nvrid ", 1)
			}
			b.configure(config)
			master, _ := b.pair()
			b.vrrpProcess(cluster.LBA)
			meter := b.measure()
			if tt.before != nil {
				tt.before(b, master)
				b.vrrpProcess(cluster.LBA)
			}

			begin := time.Now()
			tt.event(b, master)
			later := begin.Add(time.Second)
			time.Sleep(time.Until(later)) // the time that the address has to be where it belongs
			if b.holds(cluster.LBA) == b.holds(cluster.LBB) {
				t.Errorf("one second later lb-a has the address: %v, lb-b: %v", b.holds(cluster.LBA), b.holds(cluster.LBB))
			}
			meter.answered()
			if d := h.both(later); d > 0 {
				t.Errorf("later than that both had it for %v", d)
			}
			gap, machine := meter.gap(begin)
			t.Logf("client-visible gap %v, %v of it the machine's; both had the address for %v", gap, machine, h.both(begin))
			if gap-machine > tt.bound {
				t.Errorf("client-visible gap %v, %v of it the machine's, want at most %v", gap, machine, tt.bound)
			}
		})
	}
}

// A director without a peer serves its address through every restart.
func TestGapOfALoneDirector(t *testing.T) {
	for name, kill := range map[string]func(*bed, *node){
		"SIGKILL of the daemon": func(b *bed, n *node) {
			if err := n.Signal(syscall.SIGKILL); err != nil {
				b.t.Fatal(err)
			}
			n.wait(handsOver)
		},
		"SIGKILL of both": func(_ *bed, n *node) { n.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.configure(cluster.VRRP)
			master := b.director(cluster.LBA)
			master.wait(changedState, "to=master")
			b.vrrpProcess(cluster.LBA)
			meter := b.measure()
			begin := time.Now()
			kill(b, master)
			b.director(cluster.LBA).wait(changedState, "to=master")
			meter.answered()
			gap, machine := meter.gap(begin)
			t.Logf("client-visible gap %v, %v of it the machine's", gap, machine)
			if gap-machine > smallGap {
				t.Errorf("client-visible gap %v, %v of it the machine's, want at most %v", gap, machine, smallGap)
			}
		})
	}
}

// A machine that stands still keeps its address, whatever the other director does. Once it
// runs again it has to give way within one advertisement.
func TestAddressOfAMachineThatStoodStill(t *testing.T) {
	b := newBed(t)
	h := b.watch()
	b.configure(cluster.VRRP)
	master, backup := b.pair()
	b.vrrpProcess(cluster.LBA)
	group := -master.PID()
	meter := b.measure()

	begin := time.Now()
	b.signal(group, syscall.SIGSTOP)
	backup.wait(changedState, "to=master", "reason=master-down")
	time.Sleep(time.Until(begin.Add(5 * time.Second))) // the stall
	if !b.holds(cluster.LBA) || !b.holds(cluster.LBB) {
		t.Fatal("the address is not on both: there is nothing to test")
	}
	if d := h.both(begin); d < 3*time.Second {
		t.Fatalf("both had the address for %v of the five seconds: the record is wrong", d)
	}
	master.now()
	resumed := time.Now()
	b.signal(group, syscall.SIGCONT)
	master.wait(changedState, "from=master")
	b.until("the address is on one director", func() bool { return b.holds(cluster.LBA) != b.holds(cluster.LBB) })
	if d := h.both(resumed); d > advertInterval {
		t.Errorf("both had the address for %v after the return, want at most %v", d, advertInterval)
	}
	// The one with the higher priority may take it back, by the rules.
	b.until("there is one Master", func() bool {
		a, b := b.status(cluster.LBA).VirtualRouters[0].State, b.status(cluster.LBB).VirtualRouters[0].State
		return (a == "master") != (b == "master")
	})
	meter.answered()
	gap, _ := meter.gap(begin)
	t.Logf("both had the address for %v after the return; client-visible gap %v from the stop on", h.both(resumed), gap)
}
