//go:build ipvs

package ipvsnl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
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
	for round := range 40 {
		desired := ipvs.Table{}
		for k, e := range ipvstest.RandomTable(r, true) {
			if !foreign[k] {
				desired[k] = e
			}
		}
		own := func(k ipvs.ServiceKey) bool { return !foreign[k] }
		before := readTable(t, c)
		account := before.Clone()
		for i, op := range ipvs.Diff(desired, before, own) {
			if err := c.Apply(t.Context(), op); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			account.Apply(op)
			key := ipvs.ServiceOf(op)
			_, was := before[key]
			_, kept := desired[key]
			if text := op.String(); !was || !kept || text[1] == 'a' || text[1] == 'A' {
				continue // nothing that serves both before and after can be less for it
			}
			// No service loses what it need not lose, as the kernel has it at each step.
			var is int
			for _, d := range readEntryOf(t, c, account[key].Service).Destinations {
				if d.Weight > 0 {
					is++
				}
			}
			if was, will := serving(before[key]), serving(desired[key]); is < min(was, will) {
				t.Fatalf("round %d, step %d, %s: %d destinations serve %s, before %d and in the end %d", round, i, op, is, key, was, will)
			}
		}
		actual, counts, err := c.Table(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		quick, quickCounts, err := c.Refresh(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(actual.String(), quick.String()); diff != "" || !reflect.DeepEqual(counts, quickCounts) {
			t.Fatalf("round %d: (-read +read quickly)\n%s\ncounts %v, read quickly %v", round, diff, counts, quickCounts)
		}
		// Whoever knows an older table quickly reads what is there all the same, as far as
		// the file shows it.
		quick, _, err = c.Refresh(t.Context(), before)
		if err != nil || !maps.EqualFunc(quick, actual, func(a, b ipvs.Entry) bool {
			return serving(a) == serving(b) && len(a.Destinations) == len(b.Destinations)
		}) {
			t.Fatalf("round %d: read quickly by an older table: %v\n%s", round, err, quick)
		}
		all := desired.Clone()
		for k, e := range want {
			all[k] = e
		}
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

func serving(e ipvs.Entry) int {
	n := 0
	for _, d := range e.Destinations {
		if d.Weight > 0 {
			n++
		}
	}
	return n
}

func readEntryOf(t *testing.T, c *Client, s ipvs.Service) (e ipvs.Entry) {
	t.Helper()
	err := c.do(t.Context(), func(k *conn) (err error) {
		e, _, err = readEntry(k, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
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
