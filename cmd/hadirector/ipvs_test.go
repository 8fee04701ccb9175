package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// fakeIPVS is a kernel in memory for the ipvs commands.
type fakeIPVS struct {
	*ipvstest.Kernel
	timeouts ipvs.Timeouts
	zeroed   []string
	err      error // of every listing
	closed   int
}

func (f *fakeIPVS) Info(context.Context) (ipvs.Info, error) {
	return ipvs.Info{Version: "1.2.1", ConnectionTableSize: 4096}, nil
}

func (f *fakeIPVS) Listing(ctx context.Context, want func(ipvs.ServiceKey) bool) (ipvs.Listing, error) {
	table, _, err := f.Table(ctx)
	var l ipvs.Listing
	for key, e := range table.All() {
		if want != nil && !want(key) {
			continue
		}
		s := ipvs.ListedService{Service: e.Service, Counters: ipvs.Counters{PacketsIn: 123456789}}
		for _, d := range e.All() {
			s.Destinations = append(s.Destinations, ipvs.ListedDestination{Destination: d})
		}
		l = append(l, s)
	}
	return l, errors.Join(err, f.err)
}

func (f *fakeIPVS) Zero(context.Context) error {
	f.zeroed = append(f.zeroed, "all")
	return nil
}

func (f *fakeIPVS) ZeroService(_ context.Context, key ipvs.ServiceKey) error {
	f.zeroed = append(f.zeroed, key.String())
	return nil
}

func (f *fakeIPVS) Flush(ctx context.Context) error {
	table, _, err := f.Table(ctx)
	for key := range table {
		f.Remove(key)
	}
	return err
}

func (f *fakeIPVS) Timeouts(context.Context) (ipvs.Timeouts, error) { return f.timeouts, nil }

func (f *fakeIPVS) SetTimeouts(_ context.Context, t ipvs.Timeouts) error {
	f.timeouts = t
	return nil
}

func (f *fakeIPVS) Close() error {
	f.closed++
	return nil
}

// ipvsCase runs the ipvs commands over a kernel in memory.
type ipvsCase struct {
	t      *testing.T
	kernel *fakeIPVS
	tool   ipvsTool
	owned  map[ipvs.ServiceKey]bool
}

func newIPVSCase(t *testing.T, table string) *ipvsCase {
	t.Helper()
	parsed, err := ipvs.ParseSave(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	c := &ipvsCase{t: t, kernel: &fakeIPVS{Kernel: ipvstest.New()}}
	c.kernel.Load(parsed)
	c.tool = ipvsTool{
		open:        func() (ipvsKernel, error) { return c.kernel, nil },
		connections: func() iter.Seq2[ipvs.Connection, error] { return func(func(ipvs.Connection, error) bool) {} },
		owned:       func(context.Context, string) (map[ipvs.ServiceKey]bool, error) { return c.owned, nil },
	}
	return c
}

// run runs one command.
func (c *ipvsCase) run(stdin string, args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	cmd := c.tool.command()
	var out, errs bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetContext(c.t.Context())
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

// prints runs a command that must succeed and say nothing on standard error.
func (c *ipvsCase) prints(want string, args ...string) {
	c.t.Helper()
	out, errs, err := c.run("", args...)
	if err != nil || errs != "" {
		c.t.Errorf("%q: %v: %s", args, err, errs)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		c.t.Errorf("%q (-want +got):\n%s", args, diff)
	}
}

// holds compares the kernel's table.
func (c *ipvsCase) holds(want string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.kernel.String()); diff != "" {
		c.t.Errorf("the kernel's table (-want +got):\n%s", diff)
	}
}

const twoServices = `-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 2
-A -t 192.168.1.1:80 -s rr
`

func TestIPVSList(t *testing.T) {
	c := newIPVSCase(t, twoServices)
	const first, titles = "IP Virtual Server version 1.2.1 (size=4096)\n",
		"Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
	const web = "TCP  10.0.0.100:80 wrr\n" +
		"  -> 10.0.0.21:80                 Route   1      0          0         \n" +
		"  -> 10.0.0.22:80                 Route   2      0          0         \n"
	const other = "TCP  192.168.1.1:80 rr\n"
	c.prints(first+titles+other+web, "list")
	c.prints(first+titles+other+web, "list", "-n", "--sort")
	c.prints(first+titles+web+other, "list", "--nosort")
	c.prints(titles+web, "list", "tcp", "10.0.0.100:80")
	c.prints(titles+web, "list", "tcp 10.0.0.100:80")
	c.prints(titles+web, "list", "-t", "10.0.0.100:80")
	const counted = "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
	c.prints(counted+"TCP  192.168.1.1:80                      0  123456K        0        0        0\n", "stats", "-t", "192.168.1.1:80")
	c.prints(counted+"TCP  192.168.1.1:80                      0 123456789        0        0        0\n", "list", "--stats", "--exact", "-t", "192.168.1.1:80")
	if c.kernel.closed != 8 {
		t.Errorf("the kernel was closed %d times", c.kernel.closed)
	}
	if _, _, err := c.run("", "list", "fwmark", "10"); err == nil || err.Error() != "the kernel has no service fwmark 10" {
		t.Errorf("a service that is not there: %v", err)
	}
}

// A mistake in the command line does not even open the kernel.
func TestIPVSUsage(t *testing.T) {
	c := newIPVSCase(t, "")
	c.tool.open = func() (ipvsKernel, error) {
		t.Error("the kernel was opened")
		return nil, ipvsnl.ErrNoIPVS
	}
	for line, want := range map[string]string{
		"list 10.0.0.100:80":           `"10.0.0.100:80" is no service without its protocol: "tcp 10.0.0.100:80"`,
		"list -t 10.0.0.100:80 fwmark": `one service, please: "fwmark" is one beside that of the options`,
		"list -t 10.0.0.1:80 -f 3":     `"tcp 10.0.0.1:80 fwmark 3" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
		"zero -6":                      `"ipv6" is no service: "tcp 10.0.0.100:80" or "fwmark 10" would be one`,
		"list --rate --thresholds":     "--stats, --rate, --thresholds, --persistent-conn and --tun-info are one or the other",
		"timeout 900":                  `ipvs timeout takes no argument "900"`,
		"timeout --set 900 120":        "--set needs three numbers of seconds: TCP TCPFIN UDP",
		"timeout --set 900 120 5m":     `--set: "5m" is not a number of seconds from 0 to 2678400`,
		"timeout --set 900 0 2678401":  `--set: "2678401" is not a number of seconds from 0 to 2678400`,
		"clear tcp":                    `ipvs clear takes no argument "tcp"`,
		"restore a b":                  "ipvs restore takes one argument, not 2",
		"lists":                        `ipvs has no command "lists" (did you mean "list"?)`,
	} {
		var usage usageError
		if _, _, err := c.run("", strings.Fields(line)...); !errors.As(err, &usage) || err.Error() != want {
			t.Errorf("%s: got %v, want the usage error %s", line, err, want)
		}
	}
}

func TestIPVSWithoutPrivilegeOrIPVS(t *testing.T) {
	c := newIPVSCase(t, "")
	c.kernel.err = fmt.Errorf("read the IPVS table: %w", unix.EPERM)
	if _, _, err := c.run("", "save"); err == nil || err.Error() != "the kernel shows and changes its IPVS table only with CAP_NET_ADMIN: run this as root" {
		t.Errorf("got %v", err)
	}
	c.tool.open = func() (ipvsKernel, error) { return nil, ipvsnl.ErrNoIPVS }
	for _, command := range []string{"list", "stats", "rate", "conns", "timeout", "daemon", "save", "restore", "clear", "zero"} {
		if _, _, err := c.run("", command); !errors.Is(err, ipvsnl.ErrNoIPVS) {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestIPVSConns(t *testing.T) {
	c := newIPVSCase(t, "")
	const titles = "IPVS connection entries\npro expire state       source             virtual            destination\n"
	c.prints(titles, "conns")
	conn, err := ipvs.ParseConnection("TCP 0A000001 E0F2 0A000064 0007 0A000015 0007 ESTABLISHED 898")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	c.tool.connections = func() iter.Seq2[ipvs.Connection, error] {
		return func(yield func(ipvs.Connection, error) bool) {
			for range 2 {
				if !yield(conn, nil) {
					return
				}
			}
			yield(ipvs.Connection{}, broken)
		}
	}
	const line = "TCP 14:58  ESTABLISHED 10.0.0.1:57586     10.0.0.100:7       10.0.0.21:7\n"
	out, _, err := c.run("", "conns")
	if !errors.Is(err, broken) || out != titles+line+line {
		t.Errorf("got %v after\n%s", err, out)
	}
}

func TestIPVSTimeoutAndZero(t *testing.T) {
	c := newIPVSCase(t, twoServices)
	c.prints("", "timeout", "--set", "900", "0", "300")
	c.prints("Timeout (tcp tcpfin udp): 900 0 300\n", "timeout")
	if want := (ipvs.Timeouts{TCP: 15 * time.Minute, UDP: 5 * time.Minute}); c.kernel.timeouts != want {
		t.Errorf("got %+v, want %+v", c.kernel.timeouts, want)
	}
	c.prints("", "zero")
	c.prints("", "zero", "-f", "10", "-6")
	if diff := cmp.Diff([]string{"all", "fwmark 10 ipv6"}, c.kernel.zeroed); diff != "" {
		t.Errorf("zeroed (-want +got):\n%s", diff)
	}
}
