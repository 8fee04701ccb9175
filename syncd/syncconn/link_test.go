//go:build integration || ipvs

package syncconn

import (
	"testing"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/syncd"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPrivate makes a namespace with the private interface, and with the strictest
// rp_filter that distributions have.
func newPrivate(t *testing.T, name string) *netnstest.NS {
	t.Helper()
	ns := netnstest.New(t, name)
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	ns.Do(func() { ensurePrivate(t) })
	return ns
}

// ensurePrivate makes the private interface in the namespace of the calling thread.
func ensurePrivate(t *testing.T) {
	t.Helper()
	link := netif.PrivateLink{Name: syncd.PrivateInterface, Peer: syncd.PrivatePeer, Alias: syncd.PrivateAlias, Address: syncd.PrivatePrefix}
	state, err := link.Ensure()
	if err != nil || !state.Made {
		t.Fatalf("%+v, %v", state, err)
	}
}

// opened opens something in a namespace and closes it at the end of the test.
func opened[T interface{ Close() error }](t *testing.T, ns *netnstest.NS, open func() (T, error)) T {
	t.Helper()
	var c T
	ns.Do(func() {
		var err error
		c, err = open()
		must(t, err)
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func newTestInjector(t *testing.T, ns *netnstest.NS, syncID uint8) *Injector {
	t.Helper()
	return opened(t, ns, func() (*Injector, error) { return NewInjector(syncd.PrivateInterface, syncID) })
}
