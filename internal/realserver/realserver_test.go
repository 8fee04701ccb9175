package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(ss ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range ss {
		as = append(as, addr(s))
	}
	return as
}

// bare is a machine before Start.
func bare() facts {
	return facts{
		addresses: map[string][]netip.Prefix{
			"lo":   {netip.MustParsePrefix("127.0.0.1/8")},
			"eth0": {netip.MustParsePrefix("10.0.0.21/24")},
		},
		sysctls: map[string]string{
			"net/ipv4/conf/all/arp_ignore": "0", "net/ipv4/conf/lo/arp_ignore": "0",
			"net/ipv4/conf/all/arp_announce": "0", "net/ipv4/conf/lo/arp_announce": "0",
		},
	}
}

func text[T fmt.Stringer](xs []T) []string {
	var out []string
	for _, x := range xs {
		out = append(out, x.String())
	}
	return out
}

func TestPlanStart(t *testing.T) {
	silent := []string{
		"sysctl -w net.ipv4.conf.all.arp_ignore=1",
		"sysctl -w net.ipv4.conf.lo.arp_ignore=1",
		"sysctl -w net.ipv4.conf.all.arp_announce=2",
		"sysctl -w net.ipv4.conf.lo.arp_announce=2",
	}
	tests := []struct {
		name string
		vips []netip.Addr
		with func(*facts)
		want []string
	}{
		{"bare machine", addrs("10.0.0.100", "10.0.0.101"), func(*facts) {}, append(slices.Clone(silent),
			"ip addr add 10.0.0.100/32 dev lo", "ip route add 10.0.0.100/32 dev lo",
			"ip addr add 10.0.0.101/32 dev lo", "ip route add 10.0.0.101/32 dev lo")},
		{"IPv6 needs the address alone", addrs("2001:db8::100"), func(*facts) {},
			[]string{"ip addr add 2001:db8::100/128 dev lo"}},
		{"a stricter arp_ignore is left alone", addrs("10.0.0.100"), func(f *facts) {
			f.sysctls["net/ipv4/conf/all/arp_ignore"] = "2"
		}, append(slices.Clone(silent[1:]), "ip addr add 10.0.0.100/32 dev lo", "ip route add 10.0.0.100/32 dev lo")},
		{"a useless arp_ignore is not", addrs("10.0.0.100"), func(f *facts) {
			f.sysctls["net/ipv4/conf/all/arp_ignore"] = "3"
		}, append(slices.Clone(silent), "ip addr add 10.0.0.100/32 dev lo", "ip route add 10.0.0.100/32 dev lo")},
		{"with another prefix length it is not there", addrs("10.0.0.100"), func(f *facts) {
			f.addresses["lo"] = append(f.addresses["lo"], netip.MustParsePrefix("10.0.0.100/24"))
		}, append(slices.Clone(silent), "ip addr add 10.0.0.100/32 dev lo", "ip route add 10.0.0.100/32 dev lo")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := bare()
			tt.with(&f)
			if diff := cmp.Diff(tt.want, text(planStart(tt.vips, f))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	f := bare()
	f.sysctls["net/ipv4/conf/all/arp_ignore"] = "1"
	f.addresses["lo"] = append(f.addresses["lo"], netip.MustParsePrefix("10.0.0.100/32"), netip.MustParsePrefix("10.0.0.99/32"))
	f.addresses["eth0"] = append(f.addresses["eth0"], netip.MustParsePrefix("10.0.0.100/24"))
	s := state{Addresses: addrs("10.0.0.99", "10.0.0.100")}
	want := []string{
		"ok       net.ipv4.conf.all.arp_ignore = 1",
		"MISSING  net.ipv4.conf.lo.arp_ignore = 1 (it is 0)",
		"MISSING  net.ipv4.conf.all.arp_announce = 2 (it is 0)",
		"MISSING  net.ipv4.conf.lo.arp_announce = 2 (it is 0)",
		"ok       address 10.0.0.100/32 on lo",
		"MISSING  route to 10.0.0.100/32 over lo (it is not there)",
		"MISSING  address 10.0.0.100 nowhere else (10.0.0.100/24 is on eth0)",
		"MISSING  address 10.0.0.99/32 gone from lo (an earlier start added it, and it is no virtual address now)",
	}
	if diff := cmp.Diff(want, text(status(addrs("10.0.0.100"), f, s))); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatusOfAStartedMachineIsAllOK(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	vips := addrs("10.0.0.100", "2001:db8::100")
	if _, err := Start(vips, o); err != nil {
		t.Fatal(err)
	}
	items, err := Status(vips, o)
	if err != nil || len(items) != 7 {
		t.Errorf("%d items, %v, want 7: four parameters, two addresses, one route", len(items), err)
	}
	for _, i := range items {
		if !i.OK {
			t.Error(i)
		}
	}
}

func TestStopLeavesWhatSomebodyElseHasSetSince(t *testing.T) {
	f := bare()
	f.sysctls["net/ipv4/conf/all/arp_ignore"] = "2" // by the operator, after Start
	f.sysctls["net/ipv4/conf/lo/arp_ignore"] = "1"
	s := state{Sysctls: map[string]string{"net/ipv4/conf/all/arp_ignore": "0", "net/ipv4/conf/lo/arp_ignore": "0"}}
	want := []string{"sysctl -w net.ipv4.conf.lo.arp_ignore=0"}
	if diff := cmp.Diff(want, text(planStop(s, f))); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// fakeMachine carries out steps on facts. It fails at one of them, as if the
// process had been killed there.
type fakeMachine struct {
	now    facts
	count  int
	failAt int // -1 for never
}

var errKilled = errors.New("killed")

func (m *fakeMachine) facts() (facts, error) {
	f := facts{addresses: map[string][]netip.Prefix{}, routes: slices.Clone(m.now.routes), sysctls: maps.Clone(m.now.sysctls)}
	for name, ps := range m.now.addresses {
		f.addresses[name] = slices.Clone(ps)
	}
	return f, nil
}

func (m *fakeMachine) do(s Step) error {
	if m.count == m.failAt {
		return errKilled
	}
	m.count++
	lo := m.now.addresses["lo"]
	switch s.Kind {
	case SetSysctl:
		m.now.sysctls[s.Param] = s.Value
	case AddAddress:
		m.now.addresses["lo"] = append(lo, host(s.Addr))
	case DeleteAddress:
		m.now.addresses["lo"] = slices.DeleteFunc(lo, func(p netip.Prefix) bool { return p == host(s.Addr) })
	case AddRoute:
		m.now.routes = append(m.now.routes, s.Addr)
	case DeleteRoute:
		m.now.routes = slices.DeleteFunc(m.now.routes, func(a netip.Addr) bool { return a == s.Addr })
	}
	return nil
}

var compareFacts = cmp.Options{
	cmp.AllowUnexported(facts{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Transformer("nil", func(as []netip.Addr) []netip.Addr { return append([]netip.Addr{}, as...) }),
}

// Wherever Start is killed, and however often it is tried again with more
// addresses, Stop brings back what was there before the first time.
func TestStopBringsBackWhatWasThereBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := addrs("10.0.0.100", "10.0.0.101", "10.0.0.102", "2001:db8::100")
	for i := range 60 {
		before := bare()
		// Some of it may be there already, put there by the operator.
		if rng.IntN(2) == 0 {
			before.addresses["lo"] = append(before.addresses["lo"], host(all[rng.IntN(len(all))]))
		}
		if rng.IntN(2) == 0 {
			before.routes = append(before.routes, all[rng.IntN(3)])
		}
		if rng.IntN(2) == 0 {
			before.sysctls["net/ipv4/conf/all/arp_ignore"] = []string{"1", "2", "3"}[rng.IntN(3)]
		}
		m := &fakeMachine{now: before}
		untouched, _ := m.facts()
		o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
		for range 1 + rng.IntN(3) {
			m.count, m.failAt = 0, rng.IntN(12)-1
			if _, err := Start(all[:1+rng.IntN(len(all))], o); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
		// Stop may be killed too, and is tried again.
		m.count, m.failAt = 0, rng.IntN(6)
		if _, err := Stop(o); err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		m.failAt = -1
		if _, err := Stop(o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(untouched, m.now, compareFacts); diff != "" {
			t.Fatalf("run %d: after stop the machine is different (-before +after):\n%s", i, diff)
		}
		if done, err := Stop(o); err != nil || len(done) != 0 {
			t.Fatalf("run %d: a further stop did %v, %v, want nothing", i, done, err)
		}
	}
}

func TestStartTwiceDoesNothingTheSecondTime(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	if done, err := Start(addrs("10.0.0.100"), o); err != nil || len(done) != 6 {
		t.Errorf("first start did %v, %v, want six steps", done, err)
	}
	if done, err := Start(addrs("10.0.0.100", "10.0.0.100"), o); err != nil || len(done) != 0 {
		t.Errorf("second start did %v, %v, want nothing", done, err)
	}
	if steps, err := Plan(addrs("10.0.0.101"), o); err != nil || len(steps) != 2 {
		t.Errorf("plan for another address is %v, %v, want two steps", steps, err)
	}
}

// The file is there before the first change.
func TestStateIsWrittenBeforeTheFirstChange(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: 0}
	o := Options{StateFile: filepath.Join(t.TempDir(), "new", "folder", "state.json"), machine: m}
	if _, err := Start(addrs("10.0.0.100"), o); !errors.Is(err, errKilled) {
		t.Fatalf("start = %v, want the failure of the first step", err)
	}
	b, err := os.ReadFile(o.StateFile)
	if err != nil {
		t.Fatal(err)
	}
	var got state
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := state{Sysctls: bare().sysctls, Addresses: addrs("10.0.0.100"), Routes: addrs("10.0.0.100")}
	if diff := cmp.Diff(want, got, compareFacts); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestNothingIsChangedWhenTheStateCannotBeKept(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	dir := t.TempDir()
	file := filepath.Join(dir, "state.json")
	if err := os.WriteFile(file, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(addrs("10.0.0.100"), Options{StateFile: file, machine: m}); err == nil {
		t.Error("start with a broken state file: no error")
	}
	if _, err := Start(addrs("10.0.0.100"), Options{StateFile: filepath.Join(file, "below"), machine: m}); err == nil {
		t.Error("start with a state file that cannot be written: no error")
	}
	if m.count != 0 {
		t.Errorf("%d steps were taken, want none", m.count)
	}
}

func TestVirtualAddressesAreChecked(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	for _, vips := range [][]netip.Addr{nil, {{}}, addrs("0.0.0.0"), addrs("224.0.0.18"), addrs("127.0.0.1"), addrs("10.0.0.100", "ff02::1")} {
		if _, err := Start(vips, o); err == nil {
			t.Errorf("start with %v: no error", vips)
		}
	}
}
