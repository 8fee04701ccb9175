package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

// taken writes down what is taken away.
type taken struct {
	mu    sync.Mutex // guards story
	story []string
}

func (k *taken) tell(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.story = append(k.story, fmt.Sprintf(format, args...))
}

// told returns what was taken away since the last call.
func (k *taken) told() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	story := k.story
	k.story = nil
	return story
}

func (k *taken) Acquire(string, []netip.Prefix) error { return fmt.Errorf("nobody acquires here") }

func (k *taken) Release(ifname string, addrs []netip.Prefix) error {
	k.tell("%s %v", ifname, addrs)
	return nil
}

func (k *taken) AcquireRouting(string, []vrrp.Route, []vrrp.Rule) error {
	return fmt.Errorf("nobody acquires here")
}

func (k *taken) ReleaseRouting(ifname string, routes []vrrp.Route, rules []vrrp.Rule) error {
	k.tell("%s %d routes %d rules", ifname, len(routes), len(rules))
	return nil
}

// idle are virtual routers that nobody runs; heard says that they were heard of all the same.
type idle struct{ heard bool }

func (idle) Apply(map[string]vrrp.Instance) {}
func (idle) HandOver(...string)             {}
func (idle) Announce(...string)             {}
func (idle) Run(context.Context) error      { return nil }

func (i idle) Snapshots() map[string]vrrp.Snapshot {
	if !i.heard {
		return nil
	}
	return map[string]vrrp.Snapshot{"web": {}}
}

func newTestLedger(path string) (*addressLedger, *taken) {
	k := &taken{}
	return &addressLedger{
		VRRP: idle{}, path: path, kernel: &vrrpKernel{Addresser: k, Routing: k}, devices: k.clean, logger: slog.New(slog.DiscardHandler),
	}, k
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// instances are one virtual router with these addresses, and secrets.
func instances(addrs ...string) map[string]vrrp.Instance {
	return map[string]vrrp.Instance{"web": {
		Name: "web", ID: vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51},
		Params: vrrp.Params{Addresses: prefixes(addrs...), Auth: vrrp.Password("secret-1")},
		HMAC:   &vrrp.HMAC{Keys: []vrrp.HMACKey{{ID: 1, Secret: []byte("secret-2")}}},
	}}
}

func TestLedgerHoldsNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	l, _ := newTestLedger(path)
	l.Apply(instances("10.0.0.100/24"))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if auth := "115,101,99"; strings.Contains(string(b), auth) { // "sec"
		t.Errorf("the password is in %s", b)
	}
	if hmac := "c2VjcmV0LTI="; strings.Contains(string(b), hmac) {
		t.Errorf("the key is in %s", b)
	}
}

// TestReleaseAfterTheProcessKeepsWhatIsWanted is a virtual router's process that ended
// while its addresses changed.
func TestReleaseAfterTheProcessKeepsWhatIsWanted(t *testing.T) {
	l, kernel := newTestLedger(filepath.Join(t.TempDir(), "vrrp.json"))
	before, now := instances("10.0.0.100/24", "10.0.0.101/24"), instances("10.0.0.101/24", "10.0.0.102/24")
	route := func(s string) vrrp.Route { return vrrp.Route{To: netip.MustParsePrefix(s)} }
	rule := func(table uint32) vrrp.Rule { return vrrp.Rule{Family: vrrp.IPv4, Table: table} }
	set := func(m map[string]vrrp.Instance, routes []vrrp.Route, rules []vrrp.Rule) {
		in := m["web"]
		in.Routes, in.Rules = routes, rules
		m["web"] = in
	}
	set(before, []vrrp.Route{route("10.8.0.0/16"), route("10.9.0.0/16")}, []vrrp.Rule{rule(7)})
	set(now, []vrrp.Route{route("10.9.0.0/16")}, []vrrp.Rule{rule(7)})
	l.Apply(before)
	l.Apply(now)
	l.releaseNoted(now)
	if diff := cmp.Diff([]string{"eth0 [10.0.0.100/24]", "eth0 1 routes 0 rules", "links, but [eth0]"}, kernel.told()); diff != "" {
		t.Errorf("with those of now wanted, -want +got:\n%s", diff)
	}
	l.releaseNoted(nil)
	want := []string{
		"eth0 [10.0.0.101/24 10.0.0.102/24]", "eth0 1 routes 1 rules",
		"eth0 [10.0.0.100/24 10.0.0.101/24]", "eth0 2 routes 1 rules",
	}
	if diff := cmp.Diff(want, kernel.told()); diff != "" {
		t.Errorf("with nothing wanted, -want +got:\n%s", diff)
	}
}

func TestStoppedDaemonLeavesNoAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	l, _ := newTestLedger(path)
	l.Apply(instances("10.0.0.100/24"))
	if list, err := leftovers(path); err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := leftovers(path); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestDamagedListIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	if err := os.WriteFile(path, []byte(`[{"Name": "web", "Addresses": ["nonsense"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := leftovers(path); err == nil {
		t.Errorf("read %v", list)
	}
}

func TestMissingCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		want         []string
	}{
		{"root", "Name:\tx\nCapEff:\t000001ffffffffff\n", nil},
		{"nobody", "CapEff:\t0000000000000000\n", []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}},
		{"the unit file's", "CapEff:\t00000000008034e0\n", nil},
		{"raw sockets alone", "CapEff:\t0000000000002000\n", []string{"CAP_NET_ADMIN"}},
	} {
		got, err := missingOf(tt.status, required...)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, diff)
		}
	}
	if _, err := missingOf("Name:\tx\n", required...); err == nil {
		t.Error("no error without the line")
	}
}
