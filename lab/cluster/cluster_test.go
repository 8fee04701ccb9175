//go:build integration || ipvs

package cluster

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/lab/load"
)

// start builds a topology for one test.
func start(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(Options{Log: func(l Line) { t.Logf("%s %s: %s", l.Machine, l.Process, l.Text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Everything a killed run leaves is named after its process, so Close must leave nothing.
func TestCloseLeavesNothing(t *testing.T) {
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Start(LBA, "sleep", "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("a process of the cluster outlived Close")
	}
	entries, err := os.ReadDir(namespaceDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), c.Namespace("")) {
			t.Errorf("namespace %s outlived Close", e.Name())
		}
	}
	if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
		t.Errorf("%s outlived Close: %v", c.Dir(), err)
	}
}

func TestSweepRemovesWhatADeadRunLeft(t *testing.T) {
	// No process has this id: it is above the kernel's limit.
	name := runPrefix + "4194305-lb-a"
	if err := batch(nil, "netns add "+name+"\n"); err != nil {
		t.Fatal(err)
	}
	start(t)
	if _, err := os.Stat(namespaceDir + "/" + name); !os.IsNotExist(err) {
		t.Errorf("namespace %s of a dead run is still there (%v)", name, err)
	}
}

// The traffic client reaches a real server, and measures the time that its link is cut.
func TestRequestsThroughACut(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.StartWeb(ctx, RS1); err != nil {
		t.Fatal(err)
	}
	r := &load.Requests{
		Target:   netip.AddrPortFrom(Addr(RS1), 80),
		Interval: 20 * time.Millisecond,
		Timeout:  200 * time.Millisecond,
		Enter:    func() error { return c.Enter(Client) },
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(runCtx) }()
	begin := time.Now()
	if _, err := r.WaitFor(ctx, begin, RS1); err != nil {
		t.Fatal(err)
	}

	cut := time.Now()
	if err := c.Cut(RS1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the length of the cut is what is measured
	mended := time.Now()
	if err := c.Mend(RS1); err != nil {
		t.Fatal(err)
	}
	if _, err := r.WaitFor(ctx, time.Now(), RS1); err != nil {
		t.Fatal(err)
	}
	outage := time.Since(cut)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s := load.Summarise(r.Between(cut, time.Now()))
	if s.Lost == 0 || s.Gap < mended.Sub(cut)-50*time.Millisecond || s.Gap > outage+50*time.Millisecond {
		t.Errorf("gap %v, %d requests lost; want a gap from %v to %v", s.Gap, s.Lost, mended.Sub(cut), outage)
	}
}

// A machine that has lost its power comes back with its own addresses and nothing else.
func TestPower(t *testing.T) {
	c := start(t)
	p, err := c.Start(LBA, "sleep", "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	hardware := func() string {
		t.Helper()
		out, err := c.Run(LBA, "cat", "/sys/class/net/eth0/address")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := hardware()
	left := c.MachineDir(LBA) + "/run"
	if err := errors.Join(c.IP(LBA, "addr add "+VIP.String()+"/24 dev eth0\n"), os.Mkdir(left, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := c.PowerOff(LBA); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("a process goes on without power")
	}
	if err := c.PowerOn(LBA); err != nil {
		t.Fatal(err)
	}
	if held, err := c.Holds(LBA); err != nil || held {
		t.Errorf("holds the virtual address: %t, %v", held, err)
	}
	if after := hardware(); after != before {
		t.Errorf("its hardware address was %s and is %s", before, after)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
	for _, to := range []string{Addr(Client).String(), "10.1.0.12"} {
		if _, err := c.Run(LBA, "ping", "-c1", "-W5", to); err != nil {
			t.Error(err)
		}
	}
}

func TestPin(t *testing.T) {
	c := start(t)
	c.Pin(LBA, 0)
	p, err := c.Start(LBA, "sh", "sh", "-c", "grep Cpus_allowed_list /proc/$$/status")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got, want := p.Output(), "Cpus_allowed_list:\t0\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWaitSaysWhatTheProcessSaidInstead(t *testing.T) {
	c := start(t)
	p, err := c.Start(LBA, "sh", "sh", "-c", "echo one; echo two >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	_, next, err := p.Wait(t.Context(), 0, "two")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = p.Wait(t.Context(), next, "three")
	if err == nil || !strings.Contains(err.Error(), "status 3") || !strings.Contains(err.Error(), "one\ntwo") {
		t.Errorf("Wait = %v, want the exit status and the output", err)
	}
}
