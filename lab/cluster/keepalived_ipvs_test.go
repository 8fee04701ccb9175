//go:build ipvs

package cluster

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/load"
)

// Two keepalived directors with the kernel's own sync prove the test bed: what it measures
// of them is what is known of keepalived. A connection that was told to the Backup goes on.
func TestKeepalivedFailover(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, rs := range []string{RS1, RS2} {
		if _, err := c.StartWeb(ctx, rs); err != nil {
			t.Fatal(err)
		}
		if err := c.StartEcho(rs); err != nil {
			t.Fatal(err)
		}
		if err := c.AddVIP(rs); err != nil {
			t.Fatal(err)
		}
	}
	a, err := c.StartKeepalived(LBA, Keepalived{Priority: 150, Interval: 100 * time.Millisecond, Services: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.StartKeepalived(LBB, Keepalived{Priority: 100, Interval: 100 * time.Millisecond, Services: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Wait(ctx, 0, "Entering MASTER STATE"); err != nil {
		t.Fatal(err)
	}
	// The Backup may have been Master for a moment, before lb-a spoke.
	_, next, err := b.Wait(ctx, 0, "Entering BACKUP STATE")
	if err != nil {
		t.Fatal(err)
	}

	r := &load.Requests{
		Target:   netip.AddrPortFrom(VIP, 80),
		Interval: 20 * time.Millisecond,
		Timeout:  200 * time.Millisecond,
		Enter:    func() error { return c.Enter(Client) },
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(runCtx) }()
	for _, rs := range []string{RS1, RS2} {
		if _, err := r.WaitFor(ctx, time.Now(), rs); err != nil {
			t.Fatal(err)
		}
	}
	conns, err := load.Open(ctx, netip.AddrPortFrom(VIP, EchoPort), 20, 500*time.Millisecond,
		func() error { return c.Enter(Client) })
	if err != nil {
		t.Fatal(err)
	}
	defer conns.Close()

	time.Sleep(4 * time.Second) // the kernel's sync daemons hold a message for two seconds
	cut := time.Now()
	if err := c.Cut(LBA); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Wait(ctx, next, "Entering MASTER STATE"); err != nil {
		t.Fatal(err)
	}
	over, err := r.WaitFor(ctx, time.Now(), "")
	if err != nil {
		t.Fatal(err)
	}
	kept, lost := conns.Kept(ctx, over.End())
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s := load.Summarise(r.Between(cut.Add(-time.Second), time.Now()))
	t.Logf("gap %v, %d of %d requests lost, kept %d connections of 20, lost %v", s.Gap, s.Lost, s.Sent, kept, lost)
	// Master_Down_Interval is 361 ms and runs from the last advertisement, which can be a
	// whole interval of 100 ms before the cut.
	if least := 260 * time.Millisecond; s.Gap < least {
		t.Errorf("gap %v, and no failover is shorter than %v: the meter is wrong", s.Gap, least)
	}
	if kept != 20 {
		t.Errorf("kept %d of 20 connections, lost %v", kept, lost)
	}
}
