package director

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// fullTOML has one virtual server with one real server of each method that translates.
const fullTOML = `
[virtual_server.shop]
address  = "10.0.0.100:80"
protocol = "tcp"
forward  = "fullnat"
real_server = { shop-1 = { address = "10.1.0.21:8080" }, shop-2 = { address = "10.1.0.22:8080", forward = "nat" } }
`

const shop1 = "fullnat tcp 10.0.0.100:80 to 10.1.0.21:8080"

func TestFullNATIsNATInTheKernelsTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fullNAT.kernel = w.kernel
		d, stop := w.run(fullTOML)
		want := "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.1.0.21:8080 -m -w 1\n-a -t 10.0.0.100:80 -r 10.1.0.22:8080 -m -w 1\n"
		if diff := cmp.Diff(want, w.kernel.String()); diff != "" {
			t.Errorf("table, -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{"0 services: [" + shop1 + "]"}, w.fullNAT.told()); diff != "" {
			t.Errorf("at the start, -want +got:\n%s", diff)
		}
		s := d.Status().VirtualServers[0].RealServers
		if s[0].Forward != "fullnat" || s[1].Forward != "nat" || !s[0].InTable {
			t.Errorf("status: %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"0 services: []"}, w.fullNAT.told()); diff != "" {
			t.Errorf("at the stop, -want +got:\n%s", diff)
		}
	})
}

func TestFullNATComesBeforeItsServiceAndGoesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fullNAT.kernel = w.kernel
		d, stop := w.run(fullTOML)
		defer stop()
		w.fullNAT.told()
		moved := strings.Replace(fullTOML, "10.0.0.100:80", "10.0.0.101:80", 1)
		w.reload(d, moved+"source_address = { lb-a = \"10.1.0.11\", lb-b = \"10.1.0.12\" }\n[director.lb-a]\naddress = \"10.0.0.11\"\n[director.lb-b]\naddress = \"10.0.0.12\"\n")
		d.Settle(t.Context())
		const shop1 = "fullnat tcp 10.0.0.101:80 to 10.1.0.21:8080 from 10.1.0.11"
		want := []string{
			"1 services: [fullnat tcp 10.0.0.100:80 to 10.1.0.21:8080 " + shop1 + "]",
			"1 services: [" + shop1 + "]",
		}
		if diff := cmp.Diff(want, w.fullNAT.told()); diff != "" {
			t.Errorf("another address, -want +got:\n%s", diff)
		}
	})
}

// What a health check takes out of the table and brings back changes nothing in nftables.
func TestFullNATStaysWhileARealServerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(strings.Replace(fullTOML, "protocol", "check = \"port\"\nprotocol", 1) + "[check.port]\ntype = \"tcp\"\n")
		defer stop()
		w.fullNAT.set(func() { w.fullNAT.kernel = w.kernel })
		w.health.events <- healthcheck.Event{Target: healthcheck.Target{Addr: netip.MustParseAddrPort("10.1.0.21:8080"), Check: "port"}, Status: healthcheck.Down, Err: errors.New("refused")}
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		if strings.Contains(w.kernel.String(), "10.1.0.21") {
			t.Errorf("the real server is still in the table:\n%s", w.kernel)
		}
		if got := w.fullNAT.told(); len(got) > 0 {
			t.Errorf("nftables changed: %q", got)
		}
	})
}

// A real server that a reload removes needs it as long as its connections go on: they may
// be another director's next.
func TestFullNATStaysWhileARemovedRealServerIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(fullTOML)
		defer stop()
		service := w.onlyService(t)
		for dest := range table(t, w.kernel.String())[service].Destinations {
			w.kernel.SetConnections(service, dest, ipvs.Connections{Active: 1})
		}
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		w.fullNAT.set(func() { w.fullNAT.kernel = w.kernel })
		w.reload(d, strings.Replace(fullTOML, "shop-1 = { address = \"10.1.0.21:8080\" }, ", "", 1))
		conntrack := func() (now string) {
			w.params.set(func() { now = w.params.now("net.ipv4.vs.conntrack") })
			return now
		}
		if got := w.fullNAT.told(); len(got) > 0 || conntrack() != "1" {
			t.Errorf("changed with the reload: nftables %q, conntrack %s", got, conntrack())
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if conntrack() != "0" {
			t.Errorf("after the drain conntrack is %s", conntrack())
		}
		if diff := cmp.Diff([]string{"1 services: []"}, w.fullNAT.told()); diff != "" {
			t.Errorf("after the drain, -want +got:\n%s", diff)
		}
	})
}

// onlyService is the key of the only service.
func (w *world) onlyService(t *testing.T) ipvs.ServiceKey {
	for key := range table(t, w.kernel.String()) {
		return key
	}
	t.Fatal("no service")
	return ipvs.ServiceKey{}
}

func TestFullNATThatSomebodyTookAwayIsARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(fullTOML)
		defer stop()
		w.fullNAT.set(func() { w.fullNAT.lost = true })
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		if n := d.Status().IPVS.Repaired; n != 1 {
			t.Errorf("%d repairs, want 1", n)
		}
		lines := w.logged("changed by another program, repaired")
		if len(lines) != 1 || !strings.Contains(lines[0], "nft: "+shop1) {
			t.Errorf("log %q", lines)
		}
	})
}

func TestFullNATThatCannotBeSetIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fullNAT.err = errors.New("no nftables")
		d, stop := w.run(fullTOML)
		defer stop()
		if s := d.Status(); s.IPVS.InSync || cmp.Diff([]string{"no nftables"}, s.IPVS.Errors) != "" {
			t.Errorf("in step %t, errors %q", s.IPVS.InSync, s.IPVS.Errors)
		}
		w.fullNAT.set(func() { w.fullNAT.err = nil })
		time.Sleep(retryMax)
		synctest.Wait()
		if s := d.Status(); !s.IPVS.InSync {
			t.Errorf("after the retry: %q", s.IPVS.Errors)
		}
	})
}

func TestFullNATStaysOnAStopThatKeepsTheServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(fullTOML + "[ipvs]\non_stop = \"keep\"\n")
		w.fullNAT.set(func() { w.fullNAT.kernel = w.kernel })
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := w.fullNAT.told(); len(got) > 0 {
			t.Errorf("nftables changed: %q", got)
		}
	})
}
