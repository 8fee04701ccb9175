//go:build ipvs

package ipvsnl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

// These tests need root and a kernel with IPVS, and ipvsadm as an independent
// reader of the kernel's tables. Each has a network namespace of its own.

// openInNamespace moves the test's thread into a new namespace and opens a client
// there.
func openInNamespace(t *testing.T) *Client {
	t.Helper()
	runtime.LockOSThread() // for ever: the thread and its namespace end with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("a new network namespace is needed (root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	command(t, "ip", "link", "set", "lo", "up")
	c, err := Open(Options{})
	if err != nil {
		t.Fatalf("a kernel with IPVS is needed: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// command runs a program in the namespace of the test's thread.
func command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// saved is what ipvsadm saves, as sorted lines.
func saved(t *testing.T) []string {
	t.Helper()
	return sortedLines(command(t, "ipvsadm", "-Sn"))
}

func sortedLines(text string) []string {
	return slices.Sorted(strings.Lines(text))
}

// asSaved is the table as ipvsadm saves it: without the thresholds and the third
// flag of two schedulers, and with great marks as negative numbers.
func asSaved(table ipvs.Table) []string {
	t := table.Clone()
	for k, e := range t {
		if s := e.Service.Scheduler; s == "sh" || s == "mh" {
			e.Service.Flags &^= ipvs.FlagSched3
			t[k] = e
		}
		for dk, d := range e.Destinations {
			d.UpperThreshold, d.LowerThreshold = 0, 0
			e.Destinations[dk] = d
		}
	}
	return sortedLines(strings.ReplaceAll(t.String(), " -f 4294967295", " -f -1"))
}

func readTable(t *testing.T, c *Client) ipvs.Table {
	t.Helper()
	table, observed, err := c.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range table {
		for dk := range e.Destinations {
			if _, ok := observed[key][dk]; !ok {
				t.Errorf("no connection counts for %s of %s", dk, key)
			}
		}
	}
	return table
}

// script is operations with their outcomes, worked out from ip_vs_ctl.c. It runs
// on the real kernel and on the one in memory, which must agree.
var script = []struct {
	op   ipvs.Op
	want error
}{
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s wrr -p 300 -M 255.255.255.0")}, nil},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s rr")}, unix.EEXIST},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.100:81 -s nosuch")}, unix.ENOENT},
	{ipvs.AddService{Service: ipvs.Service{Key: svc("-A -f 9").Key, Scheduler: "rr", Engine: "nosuch"}}, unix.ENOENT},
	{ipvs.EditService{Service: svc("-A -t 10.0.0.100:81 -s rr")}, unix.ESRCH},
	{ipvs.EditService{Service: svc("-A -t 10.0.0.100:80 -s nosuch")}, unix.ENOENT},
	{ipvs.DeleteService{Key: svc("-A -t 10.0.0.100:81").Key}, unix.ESRCH},
	{ipvs.AddService{Service: svc("-A -u 10.0.0.100:80 -s rr -p 360 --pe sip -o -b flag-1,flag-3")}, nil},
	{ipvs.EditService{Service: svc("-A -u 10.0.0.100:80 -s mh -p 360 --pe sip -b mh-fallback,mh-port")}, nil},
	{ipvs.EditService{Service: svc("-A -u 10.0.0.100:80 -s none")}, nil},
	{ipvs.AddService{Service: svc("-A --sctp-service 10.0.0.100:80 -s lc")}, nil},
	{ipvs.AddService{Service: svc("-A -t [fd00::100]:80 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -t [fd00::100]:81 -s rr -p 5 -M 64")}, nil},
	{ipvs.EditService{Service: svc("-A -t [fd00::100]:81 -s sh -p 6")}, nil},
	{ipvs.AddService{Service: svc("-A -f 10 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -f 10 -6 -s rr -p 7")}, nil},
	{ipvs.AddService{Service: svc("-A -f 4294967295 -s rr")}, nil},
	{ipvs.AddService{Service: svc("-A -t 10.0.0.101:0 -s rr")}, nil},

	{add("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 2"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 3"), unix.EEXIST},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 2147483647 -x 70000 -y 5"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.22:8080 -m -w 70000"), nil},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g"), unix.ENOENT},
	{add("-a -t 10.0.0.99:80 -r 10.0.0.23:80 -g"), unix.ESRCH},
	{edit("-a -t 10.0.0.99:80 -r 10.0.0.23:80 -g"), unix.ESRCH},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.99:80").Key, Key: netip.MustParseAddrPort("10.0.0.23:80")}, unix.ESRCH},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("10.0.0.23:80")}, unix.ENOENT},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.24:80 -i --tun-type gue --tun-port 6080 --tun-csum"), nil},
	// moby/ipvs would reset the tunnel to ipip here.
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.24:80 -i --tun-type gue --tun-port 6080 --tun-csum -w 9"), nil},
	{add("-a -t 10.0.0.100:80 -r 10.0.0.25:80 -i --tun-type gre --tun-csum"), nil},
	{edit("-a -t 10.0.0.100:80 -r 10.0.0.25:80 -i"), nil},
	// moby/ipvs would make 32.1.13.184 of this one.
	{add("-a -t 10.0.0.100:80 -r [2001:db8::1]:80 -i"), nil},
	{add("-a -t [fd00::100]:80 -r 10.0.0.21:80 -i"), nil},
	{add("-a -t [fd00::100]:80 -r [fd00::21]:80 -m -w 0"), nil},
	{edit("-a -t [fd00::100]:80 -r [fd00::21]:80 -g -w 1"), nil},
	{add("-a -f 10 -r 10.0.0.21:0 -g"), nil},
	{add("-a -f 10 -6 -r [fd00::21]:0 -g"), nil},
	{add("-a -f 4294967295 -r 10.0.0.21:0 -m"), nil},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), Weight: ipvs.MaxWeight + 1},
	}, unix.ERANGE},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), LowerThreshold: 1},
	}, unix.ERANGE},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.26:80"), Forward: ipvs.ForwardTunnel, Tunnel: ipvs.TunnelGUE},
	}, unix.EINVAL},
	{ipvs.AddDestination{
		Service:     svc("-A -t 10.0.0.100:80").Key,
		Destination: ipvs.Destination{Key: netip.MustParseAddrPort("[fd00::26]:80"), Forward: ipvs.ForwardMasq},
	}, unix.EINVAL},

	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("10.0.0.22:8080")}, nil},
	{ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("[2001:db8::1]:80")}, nil},
	{ipvs.DeleteDestination{Service: svc("-A -f 10 -6").Key, Key: netip.MustParseAddrPort("[fd00::21]:0")}, nil},
	{ipvs.DeleteService{Key: svc("-A -t 10.0.0.100:80").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -t [fd00::100]:80").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 10 -6").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 4294967295").Key}, nil},
	{ipvs.DeleteService{Key: svc("-A -f 4294967295").Key}, unix.ESRCH},
}

func svc(rule string) ipvs.Service {
	table, err := ipvs.ParseSave(strings.NewReader(rule))
	if err != nil {
		panic(err)
	}
	for _, e := range table {
		return e.Service
	}
	panic("no service in " + rule)
}

// dest reads a rule for a destination.
func dest(rule string) (ipvs.ServiceKey, ipvs.Destination) {
	service, _, _ := strings.Cut(strings.TrimPrefix(rule, "-a "), " -r ")
	table, err := ipvs.ParseSave(strings.NewReader("-A " + service + "\n" + rule))
	if err != nil {
		panic(err)
	}
	for key, e := range table {
		for _, d := range e.Destinations {
			return key, d
		}
	}
	panic("no destination in " + rule)
}

func add(rule string) ipvs.Op {
	key, d := dest(rule)
	return ipvs.AddDestination{Service: key, Destination: d}
}

func edit(rule string) ipvs.Op {
	key, d := dest(rule)
	return ipvs.EditDestination{Service: key, Destination: d}
}

func TestEveryOperation(t *testing.T) {
	c, model := openInNamespace(t), ipvstest.New()
	for i, step := range script {
		name := fmt.Sprintf("%d: %s", i, step.op)
		if err := c.Apply(t.Context(), step.op); !errors.Is(err, step.want) {
			t.Fatalf("%s: got %v, want %v", name, err, step.want)
		} else if err != nil {
			t.Log(err)
		}
		if err := model.Apply(t.Context(), step.op); !errors.Is(err, step.want) {
			t.Errorf("%s: the kernel in memory: got %v, want %v", name, err, step.want)
		}
		table := readTable(t, c)
		if diff := cmp.Diff(model.String(), table.String()); diff != "" {
			t.Fatalf("%s: (-in memory +read)\n%s", name, diff)
		}
		if diff := cmp.Diff(saved(t), asSaved(table)); diff != "" {
			t.Fatalf("%s: (-ipvsadm +read)\n%s", name, diff)
		}
	}
}

func TestDiffRandomWalkOnKernel(t *testing.T) {
	c := openInNamespace(t)
	foreign := map[ipvs.ServiceKey]bool{}
	r := rand.New(rand.NewPCG(1, 0))
	var restore strings.Builder
	for _, k := range ipvstest.RandomKeys() {
		if foreign[k] = r.IntN(4) == 0; foreign[k] {
			e := ipvs.Entry{Service: ipvs.Service{Key: k, Scheduler: "rr", Flags: ipvs.FlagPersistent, Persistence: time.Minute}}
			restore.WriteString(ipvs.Table{k: e}.String())
		}
	}
	others := restore.String()
	if others == "" {
		t.Fatal("no foreign service in the walk")
	}
	cmd := exec.Command("ipvsadm", "-R")
	cmd.Stdin = strings.NewReader(others)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ipvsadm -R: %v: %s", err, out)
	}
	want, err := ipvs.ParseSave(strings.NewReader(others))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 60 {
		desired := ipvs.Table{}
		for k, e := range ipvstest.RandomTable(r, true) {
			if !foreign[k] {
				desired[k] = e
			}
		}
		own := func(k ipvs.ServiceKey) bool { return !foreign[k] }
		for _, op := range ipvs.Diff(desired, readTable(t, c), own) {
			if err := c.Apply(t.Context(), op); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		all := desired.Clone()
		for k, e := range want {
			all[k] = e
		}
		actual := readTable(t, c)
		if diff := cmp.Diff(all.String(), actual.String()); diff != "" {
			t.Fatalf("round %d: (-want +read)\n%s", round, diff)
		}
		if diff := cmp.Diff(saved(t), asSaved(all)); diff != "" {
			t.Fatalf("round %d: (-ipvsadm +want)\n%s", round, diff)
		}
		if again := ipvs.Diff(desired, actual, own); len(again) > 0 {
			t.Fatalf("round %d: a second diff gives %v", round, again)
		}
	}
}

// Services that ipvsadm restores from a table's text are read back the same.
func TestTextIsRestorable(t *testing.T) {
	c := openInNamespace(t)
	const text = `-A -t 10.0.0.100:80 -s wrr -p 300
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 2 -x 10 -y 5
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -i -w 70000 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.100:80 -r 10.0.0.23:80 -i -w 1 --tun-type gre --tun-nocsum
-a -t 10.0.0.100:80 -r [fd00::1]:80 -i -w 1 --tun-type ipip
-A -t 10.0.0.101:0 -s mh -p 360 -M 255.255.255.0 -b mh-fallback,mh-port
-A -u 10.0.0.101:5060 -s rr -p 360 --pe sip -o -b flag-3
-A -t [fd00::100]:80 -s sh -p 300 -M 64 -b sh-port,flag-3
-a -t [fd00::100]:80 -r [fd00::21]:8080 -m -w 0
-A -f 11 -6 -s rr
-A -f 4294967295 -s rr
`
	cmd := exec.Command("ipvsadm", "-R")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ipvsadm -R: %v: %s", err, out)
	}
	if diff := cmp.Diff(text, readTable(t, c).String()); diff != "" {
		t.Errorf("(-restored +read)\n%s", diff)
	}
	table, err := ipvs.ParseSave(strings.NewReader(command(t, "ipvsadm", "-Sn")))
	if err != nil {
		t.Fatalf("what ipvsadm saves: %v", err)
	}
	if diff := cmp.Diff(asSaved(readTable(t, c)), asSaved(table)); diff != "" {
		t.Errorf("(-read +saved by ipvsadm)\n%s", diff)
	}
}

func TestConcurrentCallers(t *testing.T) {
	c := openInNamespace(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := ipvs.AddrKey(ipvs.TCP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))
			for n := range 20 {
				d := ipvs.Destination{Key: netip.MustParseAddrPort("10.0.1.1:80"), Forward: ipvs.ForwardMasq, Weight: uint32(n)}
				for _, op := range []ipvs.Op{
					ipvs.AddService{Service: ipvs.Service{Key: key, Scheduler: "rr"}},
					ipvs.AddDestination{Service: key, Destination: d},
					ipvs.EditService{Service: ipvs.Service{Key: key, Scheduler: "wrr"}},
					ipvs.DeleteDestination{Service: key, Key: d.Key},
					ipvs.DeleteService{Key: key},
				} {
					if err := c.Apply(t.Context(), op); err != nil {
						t.Error(err)
					}
				}
				if _, _, err := c.Table(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := c.Timeouts(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if table := readTable(t, c); len(table) > 0 {
		t.Errorf("left over:\n%s", table)
	}
}

func TestSyncDaemons(t *testing.T) {
	c := openInNamespace(t)
	command(t, "ip", "link", "add", "hasync0", "mtu", "9000", "type", "dummy")
	command(t, "ip", "link", "set", "hasync0", "up")
	command(t, "ip", "addr", "add", "10.255.0.1/24", "dev", "hasync0")
	daemon := func(r syncd.Role, id uint8, size uint16) syncd.Daemon {
		return syncd.Daemon{Role: r, Interface: "hasync0", SyncID: id, MaxLen: size}
	}
	master, backup := daemon(syncd.RoleMaster, 51, 0), daemon(syncd.RoleBackup, 51, 0)
	nowhere := master
	nowhere.Interface = "nosuch0"
	elsewhere := daemon(syncd.RoleBackup, 3, 1400)
	elsewhere.Group, elsewhere.Port, elsewhere.TTL = netip.MustParseAddr("224.0.0.82"), 9000, 7
	six := master
	six.Group = netip.MustParseAddr("ff02::81")
	const mtu = 9000
	for i, step := range []struct {
		op      syncd.Op
		want    error
		running []syncd.Daemon
	}{
		{syncd.Stop{Role: syncd.RoleMaster}, unix.ESRCH, nil},
		{syncd.Start{Daemon: nowhere}, unix.ENODEV, nil},
		{syncd.Start{Daemon: master}, nil, []syncd.Daemon{master}},
		{syncd.Start{Daemon: master}, unix.EEXIST, []syncd.Daemon{master}},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 52, 0)}, unix.EEXIST, []syncd.Daemon{master}},
		{syncd.Start{Daemon: backup}, nil, []syncd.Daemon{master, backup}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, []syncd.Daemon{backup}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 0, 1)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 0, 1)}},
		{syncd.Start{Daemon: daemon(syncd.RoleBackup, 255, 1)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 0, 1), daemon(syncd.RoleBackup, 255, 1)}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, []syncd.Daemon{daemon(syncd.RoleBackup, 255, 1)}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: elsewhere}, nil, []syncd.Daemon{elsewhere}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 1, 65535)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 1, 65535)}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, nil},
		{syncd.Start{Daemon: six}, nil, []syncd.Daemon{six}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, nil},
	} {
		if err := c.ApplyDaemon(t.Context(), step.op); !errors.Is(err, step.want) {
			t.Fatalf("%d: %s: got %v, want %v", i, step.op, err, step.want)
		} else if err != nil {
			t.Log(err)
		}
		got, err := c.Daemons(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []syncd.Daemon
		for _, d := range step.running {
			want = append(want, d.Running(mtu))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d: %s:\ngot  %+v\nwant %+v", i, step.op, got, want)
		}
		if ops := syncd.Diff(step.running, got); len(ops) > 0 {
			t.Fatalf("%d: %s: diff of what runs gives %v", i, step.op, ops)
		}
		if listed := strings.Count(command(t, "ipvsadm", "-Ln", "--daemon"), "sync daemon"); listed != len(want) {
			t.Errorf("%d: %s: ipvsadm lists %d daemons, want %d", i, step.op, listed, len(want))
		}
	}
}

// The kernel does not answer when it stops a daemon whose thread has not run yet.
func TestStopRightAfterStart(t *testing.T) {
	c := openInNamespace(t)
	for range 50 {
		for _, op := range []syncd.Op{
			syncd.Start{Daemon: syncd.Daemon{Role: syncd.RoleMaster, Interface: "lo", SyncID: 1}},
			syncd.Stop{Role: syncd.RoleMaster},
		} {
			if err := c.ApplyDaemon(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		running, err := c.Daemons(t.Context())
		if err != nil || len(running) > 0 {
			t.Fatalf("still running: %v, %v", running, err)
		}
	}
}

// The sync protocol cannot carry destinations of another family: the kernel takes
// either these or daemons.
func TestMixedFamiliesExcludeSyncDaemons(t *testing.T) {
	c, model := openInNamespace(t), ipvstest.New()
	kernels := []interface {
		Apply(ctx context.Context, op ipvs.Op) error
		ApplyDaemon(ctx context.Context, op syncd.Op) error
	}{c, model}
	master := syncd.Daemon{Role: syncd.RoleMaster, Interface: "lo", SyncID: 1}
	mixed := add("-a -t 10.0.0.100:80 -r [fd00::1]:80 -i")
	for _, k := range kernels {
		for i, step := range []struct {
			op     ipvs.Op
			daemon syncd.Op
			want   error
		}{
			{op: ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s rr")}},
			{op: mixed},
			{daemon: syncd.Start{Daemon: master}, want: unix.EINVAL},
			{op: ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("[fd00::1]:80")}},
			{daemon: syncd.Start{Daemon: master}},
			{op: mixed, want: unix.EINVAL},
			{daemon: syncd.Stop{Role: syncd.RoleMaster}},
			{op: mixed},
		} {
			var err error
			if step.op != nil {
				err = k.Apply(t.Context(), step.op)
			} else {
				err = k.ApplyDaemon(t.Context(), step.daemon)
			}
			if !errors.Is(err, step.want) {
				t.Errorf("%T, step %d: got %v, want %v", k, i, err, step.want)
			}
		}
	}
}

// Connections through the kernel are counted.
func TestCounts(t *testing.T) {
	c := openInNamespace(t)
	for _, a := range []string{"10.0.0.100/32", "10.0.0.21/32"} {
		command(t, "ip", "addr", "add", a, "dev", "lo")
	}
	key, d := dest("-a -t 10.0.0.100:80 -r 10.0.0.21:8080 -m")
	for _, op := range []ipvs.Op{
		ipvs.AddService{Service: ipvs.Service{Key: key, Scheduler: "rr"}},
		ipvs.AddDestination{Service: key, Destination: d},
	} {
		if err := c.Apply(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp4", "10.0.0.21:8080") // in this thread's namespace
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const n = 3
	for range n {
		conn, err := net.DialTimeout("tcp4", "10.0.0.100:80", 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	_, observed, err := c.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := observed[key][d.Key]; got.Active != n || got.Inactive != 0 {
		t.Errorf("got %+v, want %d active connections", got, n)
	}
	// The kernel's estimator adds the counters up every two seconds.
	var s ipvs.ServiceCounters
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for s.Connections == 0 || s.Destinations[d.Key].Connections == 0 {
		stats, err := c.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s = stats[key]
		time.Sleep(50 * time.Millisecond)
	}
	if s.Connections != n || s.Destinations[d.Key].Connections != n || s.PacketsIn < 2*n || s.BytesIn < s.PacketsIn*40 {
		t.Errorf("got %+v, want %d connections of at least 2 packets of 40 bytes", s, n)
	}
	if err := c.Zero(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats, err := c.Stats(t.Context())
	if err != nil || stats[key].Connections != 0 || stats[key].Destinations[d.Key].BytesIn != 0 {
		t.Errorf("after zeroing: %+v, %v", stats, err)
	}
}

func TestInfoAndTimeouts(t *testing.T) {
	c := openInNamespace(t)
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("IP Virtual Server version %s (size=%d)", info.Version, info.ConnectionTableSize); !strings.HasPrefix(command(t, "ipvsadm", "-Ln"), want) {
		t.Errorf("got %+v, ipvsadm says\n%s", info, command(t, "ipvsadm", "-Ln"))
	}
	if err := c.SetTimeouts(t.Context(), ipvs.Timeouts{TCP: 901 * time.Second, UDP: 301 * time.Second}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Timeouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (ipvs.Timeouts{TCP: 901 * time.Second, TCPFin: 120 * time.Second, UDP: 301 * time.Second}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if out := command(t, "ipvsadm", "-Ln", "--timeout"); !strings.Contains(out, "901 120 301") {
		t.Errorf("ipvsadm says %s", out)
	}
}

func TestFlush(t *testing.T) {
	c := openInNamespace(t)
	if err := c.Apply(t.Context(), ipvs.AddService{Service: svc("-A -f 1 -s rr")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := saved(t); len(lines) > 0 {
		t.Errorf("ipvsadm still lists %q", lines)
	}
}

// After a call was cut off the client goes on, in the same namespace, with both of
// its sockets new.
func TestGoesOnAfterCutOff(t *testing.T) {
	c := openInNamespace(t)
	if err := c.Apply(t.Context(), ipvs.AddService{Service: svc("-A -f 1 -s rr")}); err != nil {
		t.Fatal(err)
	}
	c.timeout = 50 * time.Millisecond
	release := make(chan struct{})
	err := c.do(t.Context(), func(*conn) error { <-release; return nil })
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	close(release)
	c.timeout = 5 * time.Second
	if err := c.Apply(t.Context(), ipvs.AddService{Service: svc("-A -f 2 -s rr")}); err != nil {
		t.Fatal(err)
	}
	want := []string{"-A -f 1 -s rr\n", "-A -f 2 -s rr\n"}
	if got := asSaved(readTable(t, c)); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if got := saved(t); !slices.Equal(got, want) {
		t.Errorf("ipvsadm lists %q, want %q", got, want)
	}
}
