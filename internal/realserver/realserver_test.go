package realserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netif"
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
			"eth0": {netip.MustParsePrefix("10.0.0.21/24"), netip.MustParsePrefix("2001:db8::21/64")},
		},
		tunnels: map[string]tunnel{},
		sysctls: map[string]string{
			"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
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
			if diff := cmp.Diff(tt.want, text(planStart(want(Direct(tt.vips...), f), f))); diff != "" {
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
	f.routes = addrs("10.0.0.99")
	s := state{Addresses: addrs("10.0.0.99", "10.0.0.100"), Routes: addrs("10.0.0.98", "10.0.0.99")}
	want := []string{
		"ok       net.ipv4.conf.all.arp_ignore = 1",
		"MISSING  net.ipv4.conf.lo.arp_ignore = 1 (it is 0)",
		"MISSING  net.ipv4.conf.all.arp_announce = 2 (it is 0)",
		"MISSING  net.ipv4.conf.lo.arp_announce = 2 (it is 0)",
		"ok       address 10.0.0.100/32 on lo",
		"MISSING  route to 10.0.0.100/32 over lo (it is not there)",
		"SURPLUS  address 10.0.0.100/24 on eth0 (the virtual address may be on lo as 10.0.0.100/32 alone)",
		"SURPLUS  route to 10.0.0.99/32 over lo (an earlier start added it, and it is no virtual address now)",
		"SURPLUS  address 10.0.0.99/32 on lo (an earlier start added it, and it is no virtual address now)",
	}
	items := status(Direct(addrs("10.0.0.100")...), f, s)
	if diff := cmp.Diff(want, text(items)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	for i, item := range items {
		if got, want := item.ByHand, i == 6; got != want {
			t.Errorf("%v: by hand %v, want %v", item, got, want)
		}
	}
}

func TestStatusOfAParameterSaysWhatIsThere(t *testing.T) {
	tests := []struct{ now, want string }{
		{"0", "MISSING  net.ipv4.conf.all.arp_ignore = 1 (it is 0)"},
		{"1", "ok       net.ipv4.conf.all.arp_ignore = 1"},
		{"2", "ok       net.ipv4.conf.all.arp_ignore = 2 (stricter than the 1 that is needed)"},
		{"3", "MISSING  net.ipv4.conf.all.arp_ignore = 1 (it is 3)"},
	}
	for _, tt := range tests {
		f := bare()
		f.sysctls["net/ipv4/conf/all/arp_ignore"] = tt.now
		if got := status(Direct(addrs("10.0.0.100")...), f, state{})[0].String(); got != tt.want {
			t.Errorf("with %s: %q, want %q", tt.now, got, tt.want)
		}
	}
}

// What an earlier start did for an address that is virtual no more, status names and
// the next start takes back; what the operator did stays.
func TestStartTakesBackWhatIsWantedNoMore(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	m.now.addresses["lo"] = append(m.now.addresses["lo"], netip.MustParsePrefix("10.0.0.102/32")) // the operator's
	untouched, _ := m.facts()
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	start := func(want []string, vips ...string) {
		t.Helper()
		done, err := Start(Direct(addrs(vips...)...), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, text(done)); diff != "" {
			t.Errorf("start for %v took these steps (-want +got):\n%s", vips, diff)
		}
	}
	if _, err := Start(Direct(addrs("10.0.0.100", "10.0.0.101", "10.0.0.102")...), o); err != nil {
		t.Fatal(err)
	}
	start([]string{
		"ip route del 10.0.0.102/32 dev lo", "ip route del 10.0.0.101/32 dev lo", "ip addr del 10.0.0.101/32 dev lo",
	}, "10.0.0.100")
	start(nil, "10.0.0.100")
	// Put there by the operator now, it is his.
	m.now.addresses["lo"] = append(m.now.addresses["lo"], netip.MustParsePrefix("10.0.0.101/32"))
	start(nil, "10.0.0.100")
	m.now.addresses["lo"] = slices.DeleteFunc(m.now.addresses["lo"], func(p netip.Prefix) bool { return p.Addr() == addr("10.0.0.101") })

	// Without an IPv4 address ARP need not be silent.
	items, err := Status(Direct(addrs("2001:db8::100")...), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"MISSING  address 2001:db8::100/128 on lo (it is not there)",
		"SURPLUS  route to 10.0.0.100/32 over lo (an earlier start added it, and it is no virtual address now)",
		"SURPLUS  address 10.0.0.100/32 on lo (an earlier start added it, and it is no virtual address now)",
		"SURPLUS  net.ipv4.conf.lo.arp_announce = 2 (it was 0 before an earlier start, and no virtual IPv4 address is left)",
		"SURPLUS  net.ipv4.conf.all.arp_announce = 2 (it was 0 before an earlier start, and no virtual IPv4 address is left)",
		"SURPLUS  net.ipv4.conf.lo.arp_ignore = 1 (it was 0 before an earlier start, and no virtual IPv4 address is left)",
		"SURPLUS  net.ipv4.conf.all.arp_ignore = 1 (it was 0 before an earlier start, and no virtual IPv4 address is left)",
	}
	if diff := cmp.Diff(want, text(items)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	start([]string{
		"ip addr add 2001:db8::100/128 dev lo",
		"ip route del 10.0.0.100/32 dev lo", "ip addr del 10.0.0.100/32 dev lo",
		"sysctl -w net.ipv4.conf.lo.arp_announce=0", "sysctl -w net.ipv4.conf.all.arp_announce=0",
		"sysctl -w net.ipv4.conf.lo.arp_ignore=0", "sysctl -w net.ipv4.conf.all.arp_ignore=0",
	}, "2001:db8::100")
	if _, err := Stop(o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(untouched, m.now, compareFacts); diff != "" {
		t.Errorf("after stop the machine is different (-before +after):\n%s", diff)
	}
}

func TestStatusOfAStartedMachineIsAllOK(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	vips := Direct(addrs("10.0.0.100", "2001:db8::100")...)
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

// fakeMachine carries out steps on facts as the kernel would, and complains about those
// that make no sense. It fails at one of them, as if the process had been killed there.
type fakeMachine struct {
	now    facts
	count  int
	failAt int // -1 for never
}

var errKilled = errors.New("killed")

func (m *fakeMachine) facts() (facts, error) {
	f := facts{
		addresses: map[string][]netip.Prefix{}, routes: slices.Clone(m.now.routes), tunnels: maps.Clone(m.now.tunnels),
		ports: slices.Clone(m.now.ports), fou: m.now.fou, sysctls: maps.Clone(m.now.sysctls),
	}
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
	f := m.now
	at := place{s.Addr, s.Device}
	t, isTunnel := f.tunnels[s.Device]
	switch bad := func(what string) error { return fmt.Errorf("%s: %s", s, what) }; s.Kind {
	case SetSysctl:
		if _, ok := f.sysctls[s.Param]; !ok {
			return bad("there is no such parameter")
		}
		f.sysctls[s.Param] = s.Value
	case AddAddress:
		if f.hasAddress(at) || !isTunnel && s.Device != "lo" {
			return bad("it is there, or the interface is not")
		}
		f.addresses[s.Device] = append(f.addresses[s.Device], host(s.Addr))
	case DeleteAddress:
		if !f.hasAddress(at) {
			return bad("it is not there")
		}
		f.addresses[s.Device] = slices.DeleteFunc(f.addresses[s.Device], func(p netip.Prefix) bool { return p == host(s.Addr) })
		if len(f.addresses[s.Device]) == 0 {
			delete(f.addresses, s.Device)
		}
	case AddRoute:
		m.now.routes = append(m.now.routes, s.Addr)
	case DeleteRoute:
		m.now.routes = slices.DeleteFunc(m.now.routes, func(a netip.Addr) bool { return a == s.Addr })
	case AddTunnel:
		for name, other := range f.tunnels {
			if name == s.Device || other.end.same(s.end) {
				return bad("file exists")
			}
		}
		f.tunnels[s.Device] = tunnel{end: s.end}
		if s.end.Local.Is4() {
			f.sysctls[rpFilter(s.Device)] = f.sysctls[rpFilter("default")]
		}
	case DeleteTunnel:
		if !isTunnel {
			return bad("it is not there")
		}
		delete(f.tunnels, s.Device)
		delete(f.addresses, s.Device)
		delete(f.sysctls, rpFilter(s.Device))
	case SetUp, SetDown:
		if !isTunnel || t.up == (s.Kind == SetUp) {
			return bad("it is not there, or so already")
		}
		t.up = s.Kind == SetUp
		f.tunnels[s.Device] = t
	case LoadModule:
		m.now.fou = true
	case AddPort:
		if !f.fou || f.hasPort(s.Port) {
			return bad("it is there, or fou is not")
		}
		m.now.ports = append(m.now.ports, s.Port)
	case DeletePort:
		m.now.ports = slices.DeleteFunc(m.now.ports, func(p netif.Port) bool { return p == s.Port })
	}
	return nil
}

var compareFacts = cmp.Options{
	cmp.AllowUnexported(facts{}, tunnel{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Transformer("nil", func(as []netip.Addr) []netip.Addr { return append([]netip.Addr{}, as...) }),
	cmp.Transformer("nil", func(ps []netif.Port) []netif.Port { return append([]netif.Port{}, ps...) }),
}

// checkStatusAgreesWithStart tries, on a copy of the machine, that Status finds
// something wrong exactly when Start would do something, and nothing after started.
func checkStatusAgreesWithStart(t *testing.T, virtuals []Virtual, o Options, started bool) {
	t.Helper()
	items, err := Status(virtuals, o)
	if err != nil {
		t.Fatal(err)
	}
	fine := !slices.ContainsFunc(items, func(i Item) bool { return !i.OK && !i.ByHand })
	if started && !fine {
		t.Errorf("after start for %v the status is:\n%v", virtuals, text(items))
	}
	now, _ := o.machine.facts()
	b, err := os.ReadFile(o.StateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	again := Options{StateFile: filepath.Join(t.TempDir(), "copy.json"), machine: &fakeMachine{now: now, failAt: -1}}
	if b != nil {
		if err := os.WriteFile(again.StateFile, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	planned, err := Plan(virtuals, again)
	if count := again.machine.(*fakeMachine).count; err != nil || count != 0 {
		t.Errorf("planning for %v: %v, %d steps taken", virtuals, err, count)
	}
	done, err := Start(virtuals, again)
	if !slices.Equal(text(planned), text(done)) {
		t.Errorf("for %v planned are\n%v\nand done\n%v", virtuals, text(planned), text(done))
	}
	if err != nil || fine != (len(done) == 0) {
		t.Errorf("for %v start does %v, %v, and the status is:\n%v", virtuals, done, err, text(items))
	}
}

// Wherever Start is killed, and however often it is tried again with other
// addresses and tunnels, Stop brings back what was there before the first time.
func TestStopBringsBackWhatWasThereBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	vips := addrs("10.0.0.100", "10.0.0.101", "10.0.0.102", "2001:db8::100")
	for i := range 120 {
		before := bare()
		// Some of it may be there already, put there by the operator.
		if rng.IntN(2) == 0 {
			before.addresses["lo"] = append(before.addresses["lo"], host(vips[rng.IntN(len(vips))]))
		}
		if rng.IntN(2) == 0 {
			before.routes = append(before.routes, vips[rng.IntN(3)])
		}
		if rng.IntN(2) == 0 {
			before.sysctls["net/ipv4/conf/all/arp_ignore"] = []string{"1", "2", "3"}[rng.IntN(3)]
		}
		before.sysctls[rpFilter("all")] = []string{"0", "1", "2"}[rng.IntN(3)]
		before.sysctls[rpFilter("default")] = []string{"0", "1", "2"}[rng.IntN(3)]
		if rng.IntN(2) == 0 {
			before.tunnels["his"] = tunnel{end: tunnelOf(rng.IntN(2), false).Tunnel.end(), up: rng.IntN(2) == 0}
			before.sysctls[rpFilter("his")] = []string{"0", "1", "2"}[rng.IntN(3)]
		}
		if before.fou = rng.IntN(2) == 0; before.fou {
			before.ports = []netif.Port{{Number: 6080}}
		}
		m := &fakeMachine{now: before}
		untouched, _ := m.facts()
		o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
		for range 1 + rng.IntN(3) {
			var virtuals []Virtual
			checksum := rng.IntN(2) == 0 && untouched.tunnels["his"].end.Kind != "gre"
			for range 1 + rng.IntN(4) {
				v := tunnelOf(rng.IntN(4), checksum)
				v.Addr = vips[rng.IntN(len(vips))]
				if v.Addr.Is6() {
					v.Tunnel.Local = addr("2001:db8::21")
				}
				virtuals = append(virtuals, v)
			}
			m.count, m.failAt = 0, rng.IntN(20)-1
			_, err := Start(virtuals, o)
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			m.failAt = -1
			checkStatusAgreesWithStart(t, virtuals, o, err == nil)
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
		untouched.fou = m.now.fou // a module stays
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
	if done, err := Start(Direct(addrs("10.0.0.100")...), o); err != nil || len(done) != 6 {
		t.Errorf("first start did %v, %v, want six steps", done, err)
	}
	if done, err := Start(Direct(addrs("10.0.0.100", "10.0.0.100")...), o); err != nil || len(done) != 0 {
		t.Errorf("second start did %v, %v, want nothing", done, err)
	}
}

// The file is there before the first change.
func TestStateIsWrittenBeforeTheFirstChange(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: 0}
	o := Options{StateFile: filepath.Join(t.TempDir(), "new", "folder", "state.json"), machine: m}
	if _, err := Start(Direct(addrs("10.0.0.100")...), o); !errors.Is(err, errKilled) {
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
	silenced := bare().sysctls
	maps.DeleteFunc(silenced, func(name, _ string) bool { return strings.HasSuffix(name, "/rp_filter") })
	want := state{Sysctls: silenced, Addresses: addrs("10.0.0.100"), Routes: addrs("10.0.0.100")}
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
	if _, err := Start(Direct(addrs("10.0.0.100")...), Options{StateFile: file, machine: m}); err == nil {
		t.Error("start with a broken state file: no error")
	}
	if _, err := Start(Direct(addrs("10.0.0.100")...), Options{StateFile: filepath.Join(file, "below"), machine: m}); err == nil {
		t.Error("start with a state file that cannot be written: no error")
	}
	if m.count != 0 {
		t.Errorf("%d steps were taken, want none", m.count)
	}
}

func TestVirtualAddressesAreChecked(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	tests := []struct {
		vips []netip.Addr
		want string
	}{
		{nil, "no virtual addresses"},
		{[]netip.Addr{{}}, "an address is missing"},
		{addrs("0.0.0.0"), "0.0.0.0 cannot be a virtual address: it is the unspecified address"},
		{addrs("::"), ":: cannot be a virtual address: it is the unspecified address"},
		{addrs("224.0.0.18"), "224.0.0.18 cannot be a virtual address: it is a multicast address"},
		{addrs("10.0.0.100", "ff02::1"), "ff02::1 cannot be a virtual address: it is a multicast address"},
		{addrs("127.0.0.1"), "127.0.0.1 cannot be a virtual address: it is a loopback address"},
		{addrs("::1"), "::1 cannot be a virtual address: it is a loopback address"},
		{addrs("::ffff:127.0.0.1"), "::ffff:127.0.0.1 cannot be a virtual address: it is a loopback address"},
		{addrs("169.254.0.1"), "169.254.0.1 cannot be a virtual address: it is a link-local address"},
		{addrs("fe80::1"), "fe80::1 cannot be a virtual address: it is a link-local address"},
		{addrs("fe80::1%eth0"), "fe80::1%eth0 cannot be a virtual address: it is a link-local address"},
		{addrs("255.255.255.255"), "255.255.255.255 cannot be a virtual address: it is the broadcast address"},
	}
	for _, tt := range tests {
		if _, err := Start(Direct(tt.vips...), o); err == nil || err.Error() != tt.want {
			t.Errorf("start with %v: %v, want %q", tt.vips, err, tt.want)
		}
	}
	if m.count != 0 {
		t.Errorf("%d steps were taken, want none", m.count)
	}
}

func TestOwnAddressesAreNotVirtual(t *testing.T) {
	f := bare()
	f.addresses["lo"] = append(f.addresses["lo"], netip.MustParsePrefix("10.0.0.100/32"))
	if err := CheckOwn(addrs("10.0.0.100", "10.0.0.101"), f.addresses); err != nil {
		t.Errorf("an address that is on lo already: %v, want nil", err)
	}
	const want = "::ffff:10.0.0.21 cannot be a virtual address: it is this machine's own address on eth0"
	if err := CheckOwn(addrs("10.0.0.100", "::ffff:10.0.0.21"), f.addresses); err == nil || err.Error() != want {
		t.Errorf("the address of eth0: %v, want %q", err, want)
	}
}
