package ipvstest_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

var (
	web    = ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80")), Scheduler: "rr"}
	web1   = ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.21:80"), Forward: ipvs.ForwardDirect, Weight: 1}
	master = syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1", SyncID: 51}
)

func TestPrintsItselfAndRecords(t *testing.T) {
	k := ipvstest.New()
	ctx := t.Context()
	for _, op := range []ipvs.Op{
		ipvs.AddService{Service: web}, ipvs.AddDestination{Service: web.Key, Destination: web1},
	} {
		if err := k.Apply(ctx, op); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.ApplyDaemon(ctx, syncd.Start{Daemon: master}); err != nil {
		t.Fatal(err)
	}
	want := "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1\n"
	if got := k.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ops := []string{
		"-A -t 10.0.0.100:80 -s rr",
		"-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1",
		"--start-daemon master --mcast-interface eth1 --syncid 51",
	}
	if got := k.Applied(); !slices.Equal(got, ops) {
		t.Errorf("got %q, want %q", got, ops)
	}
	if got := k.Applied(); len(got) > 0 {
		t.Errorf("recorded twice: %q", got)
	}
	ds, err := k.Daemons(ctx)
	if err != nil || !slices.Equal(ds, []syncd.Daemon{master.Running(1500)}) {
		t.Errorf("got %v, %v", ds, err)
	}
}

func TestFailNext(t *testing.T) {
	k := ipvstest.New()
	ctx := t.Context()
	k.FailNext("-A", unix.EBUSY)
	k.FailNext("--start-daemon", unix.ENOMEM)
	k.FailNext(ipvstest.ReadTable, unix.EPERM)
	k.FailNext(ipvstest.ReadDaemons, unix.EPERM)
	calls := map[string]func() error{
		"-A":                 func() error { return k.Apply(ctx, ipvs.AddService{Service: web}) },
		"--start-daemon":     func() error { return k.ApplyDaemon(ctx, syncd.Start{Daemon: master}) },
		ipvstest.ReadTable:   func() error { _, _, err := k.Table(ctx); return err },
		ipvstest.ReadDaemons: func() error { _, err := k.Daemons(ctx); return err },
	}
	for name, want := range map[string]error{
		"-A": unix.EBUSY, "--start-daemon": unix.ENOMEM, ipvstest.ReadTable: unix.EPERM, ipvstest.ReadDaemons: unix.EPERM,
	} {
		if err := calls[name](); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		if err := calls[name](); err != nil {
			t.Errorf("%s fails a second time: %v", name, err)
		}
	}
	if got := k.Applied(); len(got) != 2 {
		t.Errorf("recorded %q, want only what succeeded", got)
	}
}

// What a caller gets or gave is a copy.
func TestSharesNothing(t *testing.T) {
	k := ipvstest.New()
	table := ipvs.Table{web.Key: {Service: web, Destinations: map[ipvs.DestinationKey]ipvs.Destination{web1.Key: web1}}}
	k.Load(table)
	delete(table[web.Key].Destinations, web1.Key)
	got, _, err := k.Table(t.Context())
	if err != nil || len(got[web.Key].Destinations) != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	delete(got, web.Key)
	if k.String() == "" {
		t.Error("deleting from a copy deleted from the kernel")
	}
}

func TestEndedContext(t *testing.T) {
	k := ipvstest.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Apply(ctx, ipvs.AddService{Service: web}); !errors.Is(err, context.Canceled) || k.String() != "" {
		t.Errorf("got %v, table %q", err, k.String())
	}
}
