package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// released collects what is released.
type released struct{ virtualAddresses }

func (r released) Acquire(string, []netip.Prefix) error { return nil }
func (r released) Release(ifname string, addrs []netip.Prefix) error {
	r.virtualAddresses[ifname] = addrs
	return nil
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func instances(addrs ...string) map[string]vrrp.Instance {
	return map[string]vrrp.Instance{"web": {
		Name: "web", ID: vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51}, Params: vrrp.Params{Addresses: prefixes(addrs...)},
	}}
}

func TestKilledDaemonsAddressesAreReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "addresses.json")
	logger := slog.New(slog.DiscardHandler)
	killed := &addressLedger{Set: newIdleSet(t), path: path, logger: logger}
	killed.Apply(instances("10.0.0.99/24"))
	killed.Apply(instances("10.0.0.100/24", "10.0.0.101/24"))
	killed.Apply(instances("10.0.0.102/24"))

	// Those of the last two: the first one's were released long before the third came.
	got := released{make(virtualAddresses)}
	next := &addressLedger{Set: newIdleSet(t), path: path, logger: logger}
	next.releaseLeftovers(got)
	want := virtualAddresses{"eth0": prefixes("10.0.0.100/24", "10.0.0.101/24", "10.0.0.102/24")}
	if diff := cmp.Diff(want, got.virtualAddresses, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStoppedDaemonLeavesNoAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "addresses.json")
	l := &addressLedger{Set: newIdleSet(t), path: path, logger: slog.New(slog.DiscardHandler)}
	l.save(virtualAddresses{"eth0": prefixes("10.0.0.100/24")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if m, err := l.leftovers(); err != nil || len(m) != 0 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestDamagedListIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "addresses.json")
	if err := os.WriteFile(path, []byte(`{"eth0": ["nonsense"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := (&addressLedger{path: path}).leftovers(); err == nil {
		t.Errorf("read %v", m)
	}
}

// newIdleSet is a set of virtual routers that nobody runs.
func newIdleSet(t *testing.T) *router.Set {
	t.Helper()
	s, err := router.NewSet(router.Options{
		Open:      func(vrrp.Instance, netip.Addr) (router.Conn, error) { return nil, os.ErrClosed },
		Addresser: released{}, Announcer: noAnnouncer{}, Links: noLinks{}, Reports: make(chan vrrp.Report, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type noAnnouncer struct{}

func (noAnnouncer) Announce(string, []netip.Prefix) error { return nil }

type noLinks struct{}

func (noLinks) Watch(string) (<-chan router.Link, func()) { return nil, func() {} }

func TestMissingCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		want         []string
	}{
		{"root", "Name:\tx\nCapEff:\t000001ffffffffff\n", nil},
		{"nobody", "CapEff:\t0000000000000000\n", []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}},
		{"the unit file's", "CapEff:\t0000000000813400\n", nil},
		{"raw sockets alone", "CapEff:\t0000000000002000\n", []string{"CAP_NET_ADMIN"}},
	} {
		got, err := missingCapabilities(tt.status)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, diff)
		}
	}
	if _, err := missingCapabilities("Name:\tx\n"); err == nil {
		t.Error("no error without the line")
	}
}
