//go:build integration

package router_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
	"github.com/hadirector/hadirector/vrrp/vrrpconn"
)

// patience bounds every wait; none of them takes a tenth of it.
const patience = 20 * time.Second

// TestPairWithKeepalived runs a whole virtual router, with real sockets and
// addresses, beside keepalived with priority 100: it preempts, hands over when its
// link fails, comes back, keeps mastership through a change of addresses, and hands
// over when it is stopped.
func TestPairWithKeepalived(t *testing.T) {
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Fatalf("keepalived is missing, install it to run this test: %v", err)
	}
	self, far := netnstest.Self(), netnstest.New(t, "far")
	sw := netnstest.NewSwitch(t)
	port := sw.Connect(t, self, "eth0", "10.0.0.1/24")
	sw.Connect(t, far, "eth0", "10.0.0.2/24")
	startKeepalived(t, far)
	await(t, "keepalived is Master", func() bool { return has(t, far, "10.0.0.100/24") })

	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	watcher, announcer := netif.NewWatcher(logger), netif.NewAnnouncer()
	defer announcer.Close()
	reports := make(chan vrrp.Report, 16)
	set, err := router.NewSet(router.Options{
		Open: vrrpconn.NewHub(logger).Open, Addresser: netif.NewAddresses(logger), Announcer: announcer, Links: watcher,
		Reports: reports, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := watcher.Run(ctx); err != nil {
			t.Errorf("watcher: %v", err)
		}
	}()
	setCtx, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- set.Run(setCtx) }()

	in := vrrp.Instance{
		Name: "web",
		ID:   vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51},
		Params: vrrp.Params{
			Version: vrrp.Version3, Priority: 200, AdvertInterval: 100 * time.Millisecond, Preempt: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")},
		},
	}
	set.Apply(map[string]vrrp.Instance{"web": in})
	expect(t, reports, vrrp.Backup, vrrp.ReasonStartup)
	expect(t, reports, vrrp.Master, vrrp.ReasonPreempt)
	await(t, "we have the address and keepalived has not", func() bool {
		return has(t, self, "10.0.0.100/24") && !has(t, far, "10.0.0.100/24")
	})

	port.Unplug(t)
	expect(t, reports, vrrp.Fault, vrrp.ReasonFailed)
	await(t, "keepalived takes over", func() bool { return has(t, far, "10.0.0.100/24") })
	if has(t, self, "10.0.0.100/24") {
		t.Error("the address is on our failed link")
	}
	port.Plug(t)
	expect(t, reports, vrrp.Backup, vrrp.ReasonRecovered)
	// A switch port may carry frames later than it has carrier, and then keepalived
	// has not been heard before our timer runs out.
	expect(t, reports, vrrp.Master, vrrp.ReasonPreempt, vrrp.ReasonMasterDown)
	await(t, "keepalived gives way", func() bool { return !has(t, far, "10.0.0.100/24") })

	// Keepalived 2.2 takes no advertisement with other addresses than its own, so the
	// change is of what it does not see.
	in.Preempt = false
	in.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.100/32")}
	set.Apply(map[string]vrrp.Instance{"web": in})
	await(t, "the prefix length changes", func() bool {
		return has(t, self, "10.0.0.100/32") && !has(t, self, "10.0.0.100/24")
	})

	// Somebody else takes the address away.
	self.IP(t, "addr del 10.0.0.100/32 dev eth0")
	await(t, "the address is put back", func() bool { return has(t, self, "10.0.0.100/32") })

	stop()
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if has(t, self, "10.0.0.100/32") {
		t.Error("the address is still here after the stop")
	}
	expect(t, reports, vrrp.Initialize, vrrp.ReasonShutdown)
	await(t, "keepalived takes over", func() bool { return has(t, far, "10.0.0.100/24") })
	cancel()
	<-watched
}

func expect(t *testing.T, reports <-chan vrrp.Report, to vrrp.State, why ...vrrp.Reason) {
	t.Helper()
	select {
	case r := <-reports:
		if r.To != to || !slices.Contains(why, r.Reason) {
			t.Fatalf("%v→%v (%s: %s), want →%v %v", r.From, r.To, r.Reason, r.Detail, to, why)
		}
	case <-time.After(patience):
		t.Fatalf("no transition, want →%v %v", to, why)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// has tells whether an address is on a namespace's eth0.
func has(t *testing.T, ns *netnstest.NS, addr string) bool {
	t.Helper()
	return strings.Contains(ns.IP(t, "addr show dev eth0"), " "+addr+" ")
}

func startKeepalived(t *testing.T, ns *netnstest.NS) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "keepalived.conf")
	const conf = `
global_defs {
  vrrp_version 3
}
vrrp_instance web {
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int 0.1
  virtual_ipaddress { 10.0.0.100/24 }
}
`
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.Start(t, exec.Command("keepalived", "--dont-fork", "--log-console", "--vrrp",
		"--use-file="+file, "--pid="+filepath.Join(dir, "pid"), "--vrrp_pid="+filepath.Join(dir, "vrrp.pid")))
}
