//go:build integration

package vrrpconn

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// keepalived takes part in VRRP at the far end with priority 100, and we hear it.
// Then we send priority 200, and it gives way.
func TestKeepalivedAndWeUnderstandEachOther(t *testing.T) {
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Fatalf("keepalived is missing, install it to run this test: %v", err)
	}
	tests := []struct {
		name     string
		version  vrrp.Version
		interval time.Duration
		seconds  string // the same in keepalived's words
		family   vrrp.Family
		unicast  bool
	}{
		{"version 3", vrrp.Version3, 100 * time.Millisecond, "0.1", vrrp.IPv4, false},
		{"version 3 unicast", vrrp.Version3, 100 * time.Millisecond, "0.1", vrrp.IPv4, true},
		{"version 3 IPv6", vrrp.Version3, 100 * time.Millisecond, "0.1", vrrp.IPv6, false},
		{"version 3 IPv6 unicast", vrrp.Version3, 100 * time.Millisecond, "0.1", vrrp.IPv6, true},
		{"version 2", vrrp.Version2, time.Second, "1", vrrp.IPv4, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			in := multicast(51)
			in.ID.Family = tt.family
			source, from, vip, peers := "10.0.0.1", peer, netip.MustParsePrefix("10.0.0.100/24"), ""
			if tt.family == vrrp.IPv6 {
				source, from, vip = "fe80::1", netip.MustParseAddr("fe80::2"), netip.MustParsePrefix("fe80::100/64")
				// So that keepalived has one link-local address to choose.
				far.IP(t, "addr flush dev eth0 scope link")
				far.IP(t, "addr add fe80::2/64 dev eth0 nodad")
			}
			if tt.unicast {
				in.Unicast, in.Peers = true, []netip.Addr{from}
				peers = fmt.Sprintf("unicast_src_ip %v\n unicast_peer { %v }", from, source)
				if tt.family == vrrp.IPv6 {
					// keepalived leaves it to the kernel unless told unicast_ttl.
					in.MinTTL = 64
				}
			}
			c := openIn(t, self, onEth0(in), source)
			log := startKeepalived(t, far, fmt.Sprintf(`
global_defs {
  router_id far
  vrrp_version %d
}
vrrp_instance web {
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int %s
  %s
  virtual_ipaddress {
    %s
  }
}
`, tt.version, tt.seconds, peers, vip))

			got := nextFrom(t, c, log)
			want := vrrp.Advert{Version: tt.version, VRID: 51, Priority: 100, Interval: tt.interval,
				Addresses: []netip.Addr{vip.Addr()}}
			if got.From != from || got.Advert.Version != want.Version || got.Advert.VRID != want.VRID ||
				got.Advert.Priority != want.Priority || got.Advert.Interval != want.Interval ||
				!slices.Equal(got.Advert.Addresses, want.Addresses) {
				t.Errorf("received %+v, want %+v from %v", got, want, from)
			}
			awaitVIP(t, far, vip, true, log, func() {})

			higher := want
			higher.Priority = 200
			awaitVIP(t, far, vip, false, log, func() {
				must(t, c.Send(higher))
				time.Sleep(tt.interval) // the rate at which a Master sends
			})
			if !strings.Contains(log.String(), "Entering BACKUP STATE") {
				t.Errorf("keepalived does not say that it became backup:\n%s", log)
			}
			if d := c.Discarded(); len(d) != 0 {
				t.Errorf("discarded %v, want nothing", d)
			}
		})
	}
}

// syncBuffer is a buffer that a running command writes and the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startKeepalived(t *testing.T, ns *netnstest.NS, conf string) *syncBuffer {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "keepalived.conf")
	must(t, os.WriteFile(file, []byte(conf), 0o600))
	log := &syncBuffer{}
	cmd := exec.Command("keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
		"--use-file="+file, "--pid="+filepath.Join(dir, "pid"), "--vrrp_pid="+filepath.Join(dir, "vrrp.pid"))
	cmd.Stdout, cmd.Stderr = log, log
	ns.Start(t, cmd)
	return log
}

func nextFrom(t *testing.T, c opened, log fmt.Stringer) router.Received {
	t.Helper()
	select {
	case r := <-c.inbox:
		return r
	case <-time.After(2 * patience):
		t.Fatalf("no advertisement from keepalived, discarded: %v\n%s", c.Discarded(), log)
		panic("unreachable")
	}
}

// awaitVIP waits until the virtual address is, or is not, at the far end, and calls
// between before each look.
func awaitVIP(t *testing.T, ns *netnstest.NS, vip netip.Prefix, want bool, log fmt.Stringer, between func()) {
	t.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		between()
		if strings.Contains(ns.IP(t, "addr show dev eth0"), " "+vip.String()+" ") == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("keepalived has the virtual address: %v, want %v\n%s", !want, want, log)
		}
	}
}
