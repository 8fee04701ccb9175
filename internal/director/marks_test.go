package director

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

// fakeTables stands for nftables: for firewall marks or full NAT. It notes what it writes,
// and how many services the kernel has at that moment.
type fakeTables[T comparable] struct {
	mu      sync.Mutex // guards what follows
	written []T
	lost    bool  // somebody has taken it away
	err     error // of every call
	kernel  fmt.Stringer
	history []string
}

func (m *fakeTables[T]) Ensure(want []T) (wrote, repaired bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return false, false, m.err
	}
	same := slices.Equal(m.written, want)
	if same && !m.lost {
		return false, false, nil
	}
	repaired, m.lost, m.written = m.lost && same, false, slices.Clone(want)
	if m.kernel != nil {
		m.history = append(m.history, fmt.Sprintf("%d services: %v", strings.Count(m.kernel.String(), "-A "), want))
	}
	return true, repaired, nil
}

func (m *fakeTables[T]) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *fakeTables[T]) told() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.history
	m.history = nil
	return h
}

// markedTOML has one virtual server for two ports.
const markedTOML = `
[virtual_server.shop]
fwmark   = 10
mark     = ["10.0.0.100:80", "10.0.0.100:443"]
protocol = "tcp"
real_server = { shop-1 = { address = "10.0.0.21:80" } }
`

func TestMarksComeBeforeTheirServicesAndGoAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.marker.kernel = w.kernel
		d, stop := w.run(markedTOML)
		const both = "fwmark 10 for tcp 10.0.0.100:80 fwmark 10 for tcp 10.0.0.100:443"
		if diff := cmp.Diff([]string{"0 services: [" + both + "]"}, w.marker.told()); diff != "" {
			t.Errorf("at the start, -want +got:\n%s", diff)
		}
		// Of two marks the one of the service that is there already wins until the other
		// is there too, which then is only drained.
		again := strings.Replace(strings.Replace(markedTOML, "fwmark   = 10", "fwmark = 11", 1), `, "10.0.0.100:443"`, "", 1)
		if _, err := d.Reload(t.Context(), parse(t, again)); err != nil {
			t.Fatal(err)
		}
		d.Settle(t.Context())
		synctest.Wait() // it has nothing to be drained
		want := []string{
			"1 services: [fwmark 11 for tcp 10.0.0.100:80 " + both + "]",
			"2 services: [fwmark 11 for tcp 10.0.0.100:80]",
		}
		if diff := cmp.Diff(want, w.marker.told()); diff != "" {
			t.Errorf("another mark, -want +got:\n%s", diff)
		}
		if table := w.kernel.String(); table != "-A -f 11 -s wlc\n-a -f 11 -r 10.0.0.21:0 -g -w 1\n" {
			t.Errorf("table:\n%s", table)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"0 services: []"}, w.marker.told()); diff != "" {
			t.Errorf("at the stop, -want +got:\n%s", diff)
		}
	})
}

func TestMarksThatSomebodyTookAwayAreARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(markedTOML)
		defer stop()
		w.marker.set(func() { w.marker.lost = true })
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		if n := d.Status().IPVS.Repaired; n != 2 {
			t.Errorf("%d repairs, want one for each port", n)
		}
		lines := w.logged("changed by another program, repaired")
		if len(lines) != 1 || !strings.Contains(lines[0], "nft: fwmark 10 for tcp 10.0.0.100:443") {
			t.Errorf("log %q", lines)
		}
	})
}

func TestMarksThatCannotBeSetAreAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.marker.err = errors.New("no nftables")
		d, stop := w.run(markedTOML)
		defer stop()
		s := d.Status()
		if diff := cmp.Diff([]string{"no nftables"}, s.IPVS.Errors); diff != "" || s.IPVS.InSync {
			t.Errorf("in step %t, errors, -want +got:\n%s", s.IPVS.InSync, diff)
		}
		if !strings.Contains(w.kernel.String(), "-A -f 10") {
			t.Error("the services are not there either")
		}
		w.marker.set(func() { w.marker.err = nil })
		time.Sleep(retryMax)
		synctest.Wait()
		if s := d.Status(); !s.IPVS.InSync || len(s.IPVS.Errors) > 0 {
			t.Errorf("after the retry: in step %t, %q", s.IPVS.InSync, s.IPVS.Errors)
		}
	})
}

func TestStatusOfSeveralServicesIsOneVirtualServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run("[virtual_server.web]\naddress = [\"10.0.0.100:80-81\", \"10.0.0.101:80\"]\nprotocol = \"tcp\"\n" +
			"real_server = { web-1 = { address = \"10.0.0.21:80\" } }\n" + strings.ReplaceAll(markedTOML, "10.0.0.100", "10.0.0.102"))
		defer stop()
		for key, e := range table(t, w.kernel.String()) {
			for dk := range e.Destinations {
				w.kernel.SetConnections(key, dk, ipvs.Connections{Active: 2, Inactive: 3})
			}
		}
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		list := d.Status().VirtualServers
		if len(list) != 2 {
			t.Fatalf("%d virtual servers: %+v", len(list), list)
		}
		web, shop := list[0], list[1]
		if web.Address != "10.0.0.100:80-81, 10.0.0.101:80" || web.Services != 3 || fmt.Sprint(web.Addresses) != "[10.0.0.100:80-81 10.0.0.101:80]" {
			t.Errorf("web: %+v", web)
		}
		if r := web.RealServers[0]; !r.InTable || r.Active != 6 || r.Inactive != 9 || r.Address != "10.0.0.21:80" {
			t.Errorf("web-1: %+v", r)
		}
		if shop.Address != "10" || shop.Protocol != "fwmark" || shop.Services != 1 || fmt.Sprint(shop.Addresses) != "[10.0.0.102:80 10.0.0.102:443]" {
			t.Errorf("shop: %+v", shop)
		}
		if r := shop.RealServers[0]; !r.InTable || r.Active != 2 {
			t.Errorf("shop-1: %+v", r)
		}
	})
}
