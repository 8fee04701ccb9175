//go:build integration

package netif

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp/router"
)

// waitLinks reads states until one satisfies ok. The kernel reports a carrier in
// several steps, so not every state that comes is the one that the test is about.
func waitLinks(t *testing.T, ch <-chan map[string]router.Link, what string, ok func(map[string]router.Link) bool) map[string]router.Link {
	t.Helper()
	deadline := time.After(patience)
	var last map[string]router.Link
	for {
		select {
		case last = <-ch:
			if ok(last) {
				return last
			}
		case <-deadline:
			t.Fatalf("no state %q within %v; the last was %+v", what, patience, last)
		}
	}
}

// waitLink is waitLinks for a Watch of eth0 alone.
func waitLink(t *testing.T, ch <-chan map[string]router.Link, what string, ok func(router.Link) bool) router.Link {
	t.Helper()
	return waitLinks(t, ch, what, func(m map[string]router.Link) bool { return ok(m["eth0"]) })["eth0"]
}

func isUp(l router.Link) bool { return l.Up }

func why(s string) func(router.Link) bool {
	return func(l router.Link) bool { return !l.Up && l.Why == s }
}

func startWatcher(t *testing.T) *Watcher {
	t.Helper()
	return startWatcherWith(t, quiet)
}

func startWatcherWith(t *testing.T, logger *slog.Logger) *Watcher {
	t.Helper()
	w := NewWatcher(logger)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil after cancel", err)
		}
	})
	return w
}

func TestWatcherSeesTheLifeOfALink(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	w := startWatcher(t)
	ch, stop := w.Watch("eth0")
	defer stop()

	waitLink(t, ch, "missing", why("link eth0 does not exist"))
	netnstest.Cable(t, self, "eth0", far, "eth0")
	waitLink(t, ch, "up", isUp)
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	waitLink(t, ch, "address", func(l router.Link) bool { return slices.Contains(l.Addrs, prefix("10.0.0.1/24")) })
	far.IP(t, "link set eth0 down")
	waitLink(t, ch, "no carrier", why("link eth0 has no carrier"))
	far.IP(t, "link set eth0 up")
	waitLink(t, ch, "carrier again", isUp)
	self.IP(t, "link set eth0 down")
	waitLink(t, ch, "down", why("link eth0 is down"))
	self.IP(t, "link set eth0 name lan0")
	waitLink(t, ch, "renamed away", why("link eth0 does not exist"))
	self.IP(t, "link set lan0 name eth0")
	self.IP(t, "link set eth0 up")
	l := waitLink(t, ch, "renamed back", isUp)
	if !slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
		t.Errorf("after the renaming the addresses are %v, want 10.0.0.1/24 among them", l.Addrs)
	}
	self.IP(t, "link del eth0")
	waitLink(t, ch, "deleted", why("link eth0 does not exist"))
	netnstest.Cable(t, self, "eth0", far, "eth0")
	l = waitLink(t, ch, "recreated", isUp)
	if slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
		t.Errorf("the recreated link still has the old one's address: %v", l.Addrs)
	}
}

func TestWatcherTellsOfSeveralLinks(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	w := startWatcher(t)
	ch, stop := w.Watch("eth0", "eth1", "nosuch0")
	defer stop()
	onlyUp := func(up ...string) func(map[string]router.Link) bool {
		return func(m map[string]router.Link) bool {
			for name, l := range m {
				if l.Up != slices.Contains(up, name) {
					return false
				}
			}
			return len(m) == 3
		}
	}
	waitLinks(t, ch, "eth0 up", onlyUp("eth0"))
	netnstest.Cable(t, self, "eth1", far, "eth1")
	waitLinks(t, ch, "both up", onlyUp("eth0", "eth1"))
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	m := waitLinks(t, ch, "address", func(m map[string]router.Link) bool {
		return slices.Contains(m["eth0"].Addrs, prefix("10.0.0.1/24"))
	})
	if slices.Contains(m["eth1"].Addrs, prefix("10.0.0.1/24")) {
		t.Errorf("eth1 has the other link's address: %v", m["eth1"].Addrs)
	}
	if got := m["nosuch0"]; got.Name != "nosuch0" || got.Why != "link nosuch0 does not exist" {
		t.Errorf("the missing link is %+v", got)
	}
}

// A port that leaves its bridge is told in a message that looks like a deletion.
func TestWatcherKeepsAPortThatLeavesItsBridge(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "link add br0 type bridge")
	t.Cleanup(func() { self.IP(t, "link del br0") })
	self.IP(t, "link set eth0 master br0")

	w := startWatcher(t)
	ch, stop := w.Watch("eth0")
	defer stop()
	waitLink(t, ch, "up", isUp)
	self.IP(t, "link set eth0 nomaster")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	for {
		l := waitLink(t, ch, "any", func(router.Link) bool { return true })
		if !l.Up {
			t.Fatalf("told %q although the port has only left its bridge", l.Why)
		}
		if slices.Contains(l.Addrs, prefix("10.0.0.1/24")) {
			return
		}
	}
}

// More changes at once than the socket's buffer holds end the subscription. The
// watcher must come back with the right state.
func TestWatcherRecoversFromLostMessages(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	var log logBuffer
	w := startWatcherWith(t, slog.New(slog.NewTextHandler(&log, nil)))
	ch, stop := w.Watch("eth0")
	defer stop()
	waitLink(t, ch, "up", isUp)

	w.mu.Lock() // the watcher stops reading, the kernel goes on telling
	a := NewAddresses(quiet)
	var flood []netip.Prefix
	for i := range 250 {
		flood = append(flood, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)}), 32))
	}
	var err error
	for range 40 {
		err = errors.Join(err, a.Acquire("eth0", flood), a.Release("eth0", flood))
	}
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	w.mu.Unlock()
	must(t, err)
	waitLink(t, ch, "the last address", func(l router.Link) bool {
		return slices.Contains(l.Addrs, prefix("10.0.0.1/24")) && !slices.Contains(l.Addrs, prefix("10.1.0.250/32"))
	})
	if !strings.Contains(log.String(), "link subscription lost") {
		t.Error("the flood was too small, the subscription has not been lost")
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
