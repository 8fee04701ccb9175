package ipvsnl

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink/nl"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientRandomWalk(t *testing.T) {
	f := newFake()
	c := f.client(t)
	r := rand.New(rand.NewPCG(1, 0))
	all := func(ipvs.ServiceKey) bool { return true }
	for range 200 {
		desired := ipvstest.RandomTable(r, true)
		actual, _, err := c.Table(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ipvs.Diff(desired, actual, all) {
			if err := c.Apply(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(desired.String(), f.String()); diff != "" {
			t.Fatalf("(-want +kernel)\n%s", diff)
		}
	}
}

var (
	web  = ipvs.Service{Key: ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80")), Scheduler: "rr"}
	web1 = ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.21:80"), Forward: ipvs.ForwardDirect, Weight: 1}
)

func TestTableHasConnectionCounts(t *testing.T) {
	f := newFake()
	c := f.client(t)
	for _, op := range []ipvs.Op{ipvs.AddService{Service: web}, ipvs.AddDestination{Service: web.Key, Destination: web1}} {
		if err := c.Apply(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	want := ipvs.Connections{Active: 70000, Inactive: 2, Persistent: 3}
	f.SetConnections(web.Key, web1.Key, want)
	_, observed, err := c.Table(t.Context())
	if err != nil || observed[web.Key][web1.Key] != want {
		t.Errorf("got %v, %v, want %v", observed, err, want)
	}
}

func TestErrors(t *testing.T) {
	f := newFake()
	c := f.client(t)
	ctx := t.Context()
	started := syncd.Start{Daemon: syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1", SyncID: 51}}
	gue := ipvs.Destination{Key: web1.Key, Weight: 1, Forward: ipvs.ForwardTunnel, Tunnel: ipvs.TunnelGUE}
	six := ipvs.Destination{Key: netip.MustParseAddrPort("[fd00::1]:80"), Weight: 1}
	for _, tt := range []struct {
		prepare func()
		call    func() error
		errno   error
		want    string
	}{
		{nil, func() error {
			return c.Apply(ctx, ipvs.AddService{Service: ipvs.Service{Key: web.Key, Scheduler: "foo"}})
		},
			unix.ENOENT, "ipvsadm -A -t 10.0.0.100:80 -s foo: no such file or directory (the kernel has no scheduler foo: module ip_vs_foo)"},
		{nil, func() error { return c.Apply(ctx, ipvs.EditService{Service: web}) },
			unix.ESRCH, "ipvsadm -E -t 10.0.0.100:80 -s rr: no such process (the kernel has no such service)"},
		{func() { f.Load(ipvs.Table{web.Key: {Service: web}}) },
			func() error { return c.Apply(ctx, ipvs.AddService{Service: web}) },
			unix.EEXIST, "ipvsadm -A -t 10.0.0.100:80 -s rr: file exists (the service exists already)"},
		{nil, func() error { return c.Apply(ctx, ipvs.DeleteDestination{Service: web.Key, Key: web1.Key}) },
			unix.ENOENT, "ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.21:80: no such file or directory (the service has no such destination)"},
		{nil, func() error { return c.Apply(ctx, ipvs.AddDestination{Service: web.Key, Destination: six}) },
			unix.EINVAL, "ipvsadm -a -t 10.0.0.100:80 -r [fd00::1]:80 -m -w 1: invalid argument (only a tunnel leads to the other address family, and only while no sync daemon runs)"},
		{func() { f.FailNext("-a", unix.EINVAL) }, func() error { return c.Apply(ctx, ipvs.AddDestination{Service: web.Key, Destination: web1}) },
			unix.EINVAL, "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1: invalid argument (10.0.0.21 is no machine's address here: it is a network's broadcast address, or not unicast)"},
		{nil, func() error { return c.Apply(ctx, ipvs.AddDestination{Service: web.Key, Destination: gue}) },
			unix.EINVAL, "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -i -w 1 --tun-type gue --tun-port 0 --tun-nocsum: invalid argument (a gue tunnel needs a port)"},
		{func() { f.FailNext("-a", unix.ENOMEM) }, func() error { return c.Apply(ctx, ipvs.AddDestination{Service: web.Key, Destination: web1}) },
			unix.ENOMEM, "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1: cannot allocate memory (the kernel is short of memory)"},
		{func() { f.FailNext("-D", unix.EPERM) }, func() error { return c.Apply(ctx, ipvs.DeleteService{Key: web.Key}) },
			unix.EPERM, "ipvsadm -D -t 10.0.0.100:80: operation not permitted (CAP_NET_ADMIN is needed)"},
		{func() { _ = f.ApplyDaemon(ctx, started) }, func() error { return c.ApplyDaemon(ctx, started) },
			unix.EEXIST, "ipvsadm --start-daemon master --mcast-interface eth1 --syncid 51: file exists (a master daemon is running already)"},
		{nil, func() error { return c.ApplyDaemon(ctx, syncd.Stop{Role: syncd.RoleBackup}) },
			unix.ESRCH, "ipvsadm --stop-daemon backup: no such process (no backup daemon is running)"},
		{func() { f.FailNext(ipvstest.ReadTable, unix.EPERM) }, func() error { _, _, err := c.Table(ctx); return err },
			unix.EPERM, "read the IPVS table: operation not permitted (CAP_NET_ADMIN is needed)"},
		{func() { f.FailNext(ipvstest.ReadDaemons, unix.ENOMEM) }, func() error { _, err := c.Daemons(ctx); return err },
			unix.ENOMEM, "read the IPVS sync daemons: cannot allocate memory (the kernel is short of memory)"},
		{nil, func() error { return c.SetTimeouts(ctx, ipvs.Timeouts{TCP: time.Minute}) },
			unix.EPERM, "ipvsadm --set 60 0 0: operation not permitted (CAP_NET_ADMIN is needed)"},
		{nil, func() error { return c.Flush(ctx) },
			unix.EOPNOTSUPP, "ipvsadm -C: operation not supported"},
	} {
		if tt.prepare != nil {
			tt.prepare()
		}
		err := tt.call()
		if !errors.Is(err, tt.errno) {
			t.Errorf("got %v, want %v", err, tt.errno)
			continue
		}
		if err.Error() != tt.want {
			t.Errorf("got  %s\nwant %s", err, tt.want)
		}
	}
}

func TestInfo(t *testing.T) {
	info, err := newFake().client(t).Info(t.Context())
	if want := (ipvs.Info{Version: "1.2.1", ConnectionTableSize: 4096}); err != nil || info != want {
		t.Errorf("got %+v, %v, want %+v", info, err, want)
	}
}

// A listing that the kernel says was disturbed is asked for again, not for ever.
func TestDisturbedListing(t *testing.T) {
	for disturbed, want := range map[int]error{1: nil, 2: nil, 3: nl.ErrDumpInterrupted} {
		f := newFake()
		n := 0
		f.intercept = func(uint8) ([][]byte, error) {
			if n++; n <= disturbed {
				return nil, nl.ErrDumpInterrupted
			}
			return nil, nil
		}
		if _, err := f.client(t).Daemons(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d times: got %v, want %v", disturbed, err, want)
		}
	}
}

// The kernel gives no answer when it stops a daemon whose thread has not run yet.
func TestStopWithoutAnswer(t *testing.T) {
	for _, stopped := range []bool{true, false} {
		f := newFake()
		c := f.client(t)
		master := syncd.Daemon{Role: syncd.RoleMaster, Interface: "eth1", SyncID: 51}
		if err := c.ApplyDaemon(t.Context(), syncd.Start{Daemon: master}); err != nil {
			t.Fatal(err)
		}
		f.intercept = func(cmd uint8) ([][]byte, error) {
			if cmd != cmdDelDaemon {
				return nil, nil
			}
			if stopped {
				_ = f.ApplyDaemon(context.Background(), syncd.Stop{Role: syncd.RoleMaster})
			}
			return nil, ErrTimeout
		}
		if err := c.ApplyDaemon(t.Context(), syncd.Stop{Role: syncd.RoleMaster}); errors.Is(err, ErrTimeout) == stopped {
			t.Errorf("stopped %t: got %v", stopped, err)
		}
	}
}

// hanging is a pair of sockets whose answer never comes. Closing one ends the wait,
// as it does with a real one.
type hanging struct {
	*fakeKernel
	once   sync.Once
	closed chan struct{}
}

func (h *hanging) NewService(*moby.Service) error {
	<-h.closed
	return io.ErrClosedPipe
}

func (h *hanging) Close() { h.once.Do(func() { close(h.closed) }) }

func TestHangIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		dials := 0
		dial := func() (*conn, error) {
			dials++
			return &conn{exchanger: f, services: f, closeOwn: func() {}}, nil
		}
		h := &hanging{fakeKernel: f, closed: make(chan struct{})}
		c := newClient(5*time.Second, &conn{exchanger: f, services: h, closeOwn: func() {}}, dial, func() error { return nil })
		defer c.Close()

		start := time.Now()
		err := c.Apply(t.Context(), ipvs.AddService{Service: web})
		if !errors.Is(err, ErrTimeout) || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %v, want ErrTimeout after 5s", err, time.Since(start))
		}
		if err := c.Apply(t.Context(), ipvs.AddService{Service: web}); err != nil || dials != 1 {
			t.Errorf("the next call: %v, new sockets: %d", err, dials)
		}
	})
}

// Of several operations those that were answered are told as they were, and nothing is
// known of the others.
func TestOperationsThatAreCutOff(t *testing.T) {
	add := ipvs.AddService{Service: web}
	dest := ipvs.AddDestination{Service: web.Key, Destination: web1}
	for _, tt := range []struct {
		name  string
		hangs bool
		ops   []ipvs.Op
		want  []error
	}{
		{"none", false, []ipvs.Op{add, dest, dest, ipvs.DeleteDestination{Service: web.Key, Key: web1.Key}}, []error{nil, nil, unix.EEXIST, nil}},
		{"the last ones", true, []ipvs.Op{dest, add, dest}, []error{unix.ESRCH, ErrTimeout, ErrTimeout}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				sockets := &conn{exchanger: f, services: f, closeOwn: func() {}}
				if tt.hangs {
					sockets.services = &hanging{fakeKernel: f, closed: make(chan struct{})}
				}
				c := newClient(5*time.Second, sockets, func() (*conn, error) { return nil, unix.EMFILE }, func() error { return nil })
				defer c.Close()
				for i, err := range c.ApplyAll(t.Context(), tt.ops) {
					if !errors.Is(err, tt.want[i]) {
						t.Errorf("%s: got %v, want %v", tt.ops[i], err, tt.want[i])
					}
				}
			})
		})
	}
}

// slowly takes three seconds to make a service.
type slowly struct{ *fakeKernel }

func (s slowly) NewService(m *moby.Service) error {
	time.Sleep(3 * time.Second)
	return s.fakeKernel.NewService(m)
}

// The kernel is silent between two answers, however many there are.
func TestManyOperationsHaveMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newClient(5*time.Second, &conn{exchanger: f, services: slowly{f}, closeOwn: func() {}}, nil, func() error { return nil })
		defer c.Close()
		var ops []ipvs.Op
		for i := range 10 {
			ops = append(ops, ipvs.AddService{Service: ipvs.Service{Key: ipvs.FWMarkKey(uint32(1+i), false), Scheduler: "rr"}})
		}
		if err := errors.Join(c.ApplyAll(t.Context(), ops)...); err != nil {
			t.Error(err)
		}
	})
}

func TestContextEndsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h := &hanging{fakeKernel: f, closed: make(chan struct{})}
		dial := func() (*conn, error) { return nil, unix.EMFILE }
		c := newClient(time.Minute, &conn{exchanger: f, services: h, closeOwn: func() {}}, dial, func() error { return nil })
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Apply(ctx, ipvs.AddService{Service: web}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// Without new sockets the next call fails with the reason.
		if err := c.Apply(t.Context(), ipvs.AddService{Service: web}); !errors.Is(err, unix.EMFILE) {
			t.Errorf("got %v, want EMFILE", err)
		}
	})
}

// A request that the kernel does not return from cannot be ended, but nobody waits
// for ever, and one goroutine at most is stuck.
func TestStuckInKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newClient(time.Second, &conn{exchanger: f, services: f, closeOwn: func() {}},
			func() (*conn, error) { return &conn{exchanger: f, services: f, closeOwn: func() {}}, nil }, func() error { return nil })
		defer c.Close()
		release := make(chan struct{})
		f.intercept = func(uint8) ([][]byte, error) { <-release; return nil, nil }
		for range 3 {
			start := time.Now()
			if _, err := c.Daemons(t.Context()); !errors.Is(err, ErrTimeout) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v, want ErrTimeout after 1s", err, time.Since(start))
			}
		}
		close(release)
		if _, err := c.Daemons(t.Context()); err != nil {
			t.Errorf("after the kernel returned: %v", err)
		}
	})
}

// Only silence counts: a long listing whose parts keep coming is not cut off.
func TestLongListingIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		table := ipvs.Table{}
		for i := range 20 {
			s := web
			s.Key = ipvs.FWMarkKey(uint32(i+1), false)
			table[s.Key] = ipvs.Entry{Service: s}
		}
		f.Load(table)
		f.intercept = func(uint8) ([][]byte, error) { time.Sleep(700 * time.Millisecond); return nil, nil }
		c := f.client(t)
		got, _, err := c.Table(t.Context())
		if err != nil || len(got) != 20 {
			t.Errorf("got %d services, %v", len(got), err)
		}
		c.Close()
	})
}

func TestClosed(t *testing.T) {
	c := newFake().client(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if _, _, err := c.Table(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// refreshing returns a client of the fake whose file has that text, and what the fake is
// asked to list.
func refreshing(t *testing.T, f *fakeKernel, text string) (c *Client, asked *[]uint8) {
	t.Helper()
	c, asked = f.client(t), new([]uint8)
	f.intercept = func(cmd uint8) ([][]byte, error) {
		*asked = append(*asked, cmd)
		return nil, nil
	}
	file := filepath.Join(t.TempDir(), "ip_vs")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.proc, err = os.Open(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.proc.Close() })
	return c, asked
}

func TestRefresh(t *testing.T) {
	const web = `-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -m -w 70000
`
	const webText = "TCP  0A000064:0050 rr  \n  -> 0A000015:0050      Route   1      3          7         \n" +
		"  -> 0A000016:0050      Masq    70000  0          0         \n"
	all := []uint8{cmdGetService, cmdGetDest}
	for _, tt := range []struct {
		name, text, last string
		asked            []uint8
	}{
		{"as it was", procHead + webText, web, all[:1]},
		{"passed over", procHead, web, all},
		{"another weight", procHead + webText, strings.Replace(web, "-w 1\n", "-w 2\n", 1), all},
		{"not known", procHead + webText, "", all},
		{"not understood", procHead + "ICMP  0A000064:0050 rr  \n", web, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			table, err := ipvs.ParseSave(strings.NewReader(web))
			if err != nil {
				t.Fatal(err)
			}
			f.Load(table)
			last, err := ipvs.ParseSave(strings.NewReader(tt.last))
			if err != nil {
				t.Fatal(err)
			}
			c, asked := refreshing(t, f, tt.text)
			got, _, err := c.Refresh(t.Context(), last)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(web, got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(tt.asked, *asked); diff != "" {
				t.Errorf("asked for -want +got:\n%s", diff)
			}
		})
	}
}

func TestRefreshListsWhenTheFileCannotBeRead(t *testing.T) {
	f := newFake()
	c, asked := refreshing(t, f, procHead)
	c.proc.Close()
	if _, _, err := c.Refresh(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]uint8{cmdGetService}, *asked); diff != "" {
		t.Errorf("asked for -want +got:\n%s", diff)
	}
}
