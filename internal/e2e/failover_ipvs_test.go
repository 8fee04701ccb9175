//go:build ipvs

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

const openConns = 30

// serve starts the real servers.
func (b *bed) serve() (web map[string]*cluster.Process) {
	b.t.Helper()
	web = make(map[string]*cluster.Process)
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		var err error
		if web[rs], err = b.StartWeb(b.ctx, rs); err != nil {
			b.t.Fatal(err)
		}
		if err := b.StartEcho(rs); err != nil {
			b.t.Fatal(err)
		}
		if err := b.AddVIP(rs); err != nil {
			b.t.Fatal(err)
		}
	}
	return web
}

// configureServices writes the configuration with virtual servers, and extra at its end.
func (b *bed) configureServices(extra string) {
	b.t.Helper()
	key, err := b.WriteKey(b.daemon.Binary)
	if err != nil {
		b.t.Fatal(err)
	}
	b.configure(cluster.VRRP + fmt.Sprintf(cluster.Services, key) + extra)
}

// traffic is what the clients do during a failover.
type traffic struct {
	b        *bed
	requests *load.Requests
	conns    *load.Conns
	stop     func()
	baseline bool // see crasher
}

// traffic sends requests to the web service until the test ends, and returns once both
// real servers have answered.
func (b *bed) traffic() *traffic {
	b.t.Helper()
	return b.trafficWithin(250 * time.Millisecond)
}

// trafficWithin is traffic of clients that wait for so long.
func (b *bed) trafficWithin(timeout time.Duration) *traffic {
	b.t.Helper()
	tr := &traffic{b: b, requests: &load.Requests{
		Target: netip.AddrPortFrom(cluster.VIP, 80), Interval: 20 * time.Millisecond, Timeout: timeout,
		Enter: func() error { return b.Enter(cluster.Client) },
	}}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- tr.requests.Run(ctx) }()
	tr.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
		tr.stop = func() {}
	}
	b.t.Cleanup(func() { tr.stop() })
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		tr.answered(time.Now(), rs)
	}
	return tr
}

func (tr *traffic) answered(from time.Time, server string) load.Result {
	tr.b.t.Helper()
	r, err := tr.requests.WaitFor(tr.b.ctx, from, server)
	if err != nil {
		tr.b.t.Fatal(err)
	}
	return r
}

// open opens long-lived connections and waits until the Backup knows them.
func (tr *traffic) open(backup string) {
	tr.b.t.Helper()
	var err error
	tr.conns, err = load.Open(tr.b.ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), openConns, time.Second,
		func() error { return tr.b.Enter(cluster.Client) })
	if err != nil {
		tr.b.t.Fatal(err)
	}
	tr.b.t.Cleanup(tr.conns.Close)
	tr.b.until("the Backup knows the connections", func() bool {
		n, err := tr.b.Connections(backup, cluster.EchoPort)
		if err != nil {
			tr.b.t.Fatal(err)
		}
		return n >= openConns
	})
}

// over waits until clients are served after a failover that began at cut, and returns the
// client-visible gap.
func (tr *traffic) over(cut time.Time) time.Duration {
	tr.b.t.Helper()
	first := tr.answered(time.Now(), "")
	waiting, cancel := context.WithTimeout(tr.b.ctx, 30*time.Second)
	defer cancel()
	if kept, lost := tr.conns.Kept(waiting, first.End()); kept != openConns {
		lose := tr.b.t.Errorf
		if tr.baseline {
			lose = tr.b.t.Logf
		}
		lose("kept %d of %d connections, lost %v", kept, openConns, lost)
	}
	return load.Summarise(tr.requests.Between(cut.Add(-advertInterval), first.End())).Gap
}

// Three cuts of the Master's link, of keepalived and of ours in the same minutes. The median
// is held to the bound: one measurement on an emulated machine says little.
func TestLinkCut(t *testing.T) {
	var theirs, ours []time.Duration
	t.Run("keepalived", func(t *testing.T) {
		b := newBed(t)
		b.serve()
		master := b.keepalived(cluster.LBA, cluster.Keepalived{Priority: 150, Interval: advertInterval, Services: true})
		master.wait("Entering MASTER STATE")
		backup := b.keepalived(cluster.LBB, cluster.Keepalived{Priority: 100, Interval: advertInterval, Services: true})
		backup.wait("Entering BACKUP STATE")
		theirs = b.cutThrice(master, backup, "Entering MASTER STATE", "Entering BACKUP STATE")
	})
	t.Run("hadirector", func(t *testing.T) {
		b := newBed(t)
		b.serve()
		b.configureServices("")
		master, backup := b.pair()
		ours = b.cutThrice(master, backup, "to=master", "to=backup")
	})
	if t.Failed() {
		return
	}
	t.Logf("client-visible gaps, adverts every %v: hadirector %v, keepalived %v", advertInterval, ours, theirs)
	if median(ours) > gapBound {
		t.Errorf("median gap %v, want at most %v", median(ours), gapBound)
	}
}

// cutThrice cuts the Master's link three times and mends it in between, and checks that
// failover and failback keep the connections. It returns the gaps of the failovers.
func (b *bed) cutThrice(master, backup *node, isMaster, isBackup string) []time.Duration {
	b.t.Helper()
	tr := b.traffic()
	tr.open(cluster.LBB)
	var gaps []time.Duration
	for range 3 {
		backup.now()
		cut := time.Now()
		if err := b.Cut(cluster.LBA); err != nil {
			b.t.Fatal(err)
		}
		backup.wait(isMaster)
		gaps = append(gaps, tr.over(cut))

		master.now()
		if err := b.Mend(cluster.LBA); err != nil {
			b.t.Fatal(err)
		}
		master.wait(isMaster)
		backup.wait(isBackup)
		tr.over(time.Now())
	}
	return gaps
}

func median(d []time.Duration) time.Duration { return slices.Sorted(slices.Values(d))[len(d)/2] }
