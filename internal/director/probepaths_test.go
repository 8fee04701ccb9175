package director

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

const throughTOML = `
[virtual_server.web]
address   = "10.0.0.100:80"
protocol  = "tcp"
scheduler = "wlc"
check     = "path"
real_server = { web-1 = { address = "10.0.0.21:80", weight = 5, connections_max = 9 }, web-2 = { address = "203.0.113.22:80", forward = "tun" } }

[virtual_server.api]
address   = "10.0.0.101:81"
protocol  = "tcp"
check     = ["plain", "path"]
real_server = { api-1 = { address = "10.0.0.21:81" } }

[virtual_server.six]
address   = "[2001:db8::100]:80"
protocol  = "tcp"
check     = "path"
real_server = { six-1 = { address = "[2001:db8::21]:80" } }

[check.path]
type = "tcp"
via  = "vip"

[check.plain]
type = "tcp"
`

// fakePaths notes what it is told.
type fakePaths struct {
	mu   sync.Mutex // guards what follows
	open []string
	vips []string // as it was told last
}

func (f *fakePaths) Avoid(vips map[netip.Addr]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vips = nil
	for _, a := range slices.SortedFunc(maps.Keys(vips), netip.Addr.Compare) {
		f.vips = append(f.vips, a.String())
	}
}

func (f *fakePaths) Open(marks map[uint32]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, mark := range slices.Sorted(maps.Keys(marks)) {
		list = append(list, fmt.Sprint(mark))
	}
	f.open = append(f.open, strings.Join(list, " "))
}

// told is what was opened since the last call, a line for each.
func (f *fakePaths) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.open
	f.open = nil
	return open
}

// marksOf are the marks of a configuration's real servers, by their names.
func marksOf(t *testing.T, toml string) map[string]uint32 {
	t.Helper()
	marks := make(map[string]uint32)
	for p := range probeEnds(parse(t, toml)) {
		marks[p.rs.Name] = p.service.Key.FWMark
	}
	return marks
}

// opened is what fakePaths says of these marks.
func opened(marks ...uint32) string {
	var list []string
	slices.Sort(marks)
	for _, mark := range marks {
		list = append(list, fmt.Sprint(mark))
	}
	return strings.Join(list, " ")
}

// Each real server has one service, for however many virtual servers ask it. What becomes of a
// pool leaves it alone.
func TestCompileProbes(t *testing.T) {
	m := marksOf(t, throughTOML)
	if m["web-1"] != m["api-1"] {
		t.Errorf("web-1 has the mark %d, api-1, which is the same machine, %d", m["web-1"], m["api-1"])
	}
	probes := strings.Join([]string{
		fmt.Sprintf("-A -f %d -s rr -o\n-a -f %[1]d -r 10.0.0.21:0 -g -w 1\n", m["web-1"]),
		fmt.Sprintf("-A -f %d -s rr -o\n-a -f %[1]d -r 203.0.113.22:0 -i -w 1 --tun-type ipip\n", m["web-2"]),
		fmt.Sprintf("-A -f %d -6 -s rr -o\n-a -f %[1]d -6 -r [2001:db8::21]:0 -g -w 1\n", m["six-1"]),
	}, "")
	cfg := parse(t, throughTOML)
	facts := Facts{
		Health:    make(map[healthcheck.Target]healthcheck.Status),
		Overrides: Overrides{{"web", "web-2"}: {Kind: OverrideDisable}},
	}
	for tg := range Targets(cfg) {
		facts.Health[tg] = healthcheck.Down
	}
	want := table(t, "-A -t 10.0.0.100:80 -s wlc\n-A -t 10.0.0.101:81 -s wlc\n-A -t [2001:db8::100]:80 -s wlc\n"+probes)
	d := Compile(cfg, "lb-a", facts)
	if diff := cmp.Diff(want.String(), d.Table.String()); diff != "" {
		t.Errorf("all are down, -want +got:\n%s", diff)
	}
	if keys := []uint32{d.Probes[0].FWMark, d.Probes[1].FWMark, d.Probes[2].FWMark}; len(d.Probes) != 3 || !slices.IsSorted(keys) {
		t.Errorf("services of probes %v", d.Probes)
	}
}

// A target is asked by its path, and is another one than without it.
func TestTargetsThroughTheVIP(t *testing.T) {
	m := marksOf(t, throughTOML)
	path := func(server, vip string, mark uint32) healthcheck.Target {
		return healthcheck.Target{Addr: netip.MustParseAddrPort(server), Check: "path", Path: healthcheck.Path{VIP: netip.MustParseAddr(vip), Mark: mark}}
	}
	want := map[healthcheck.Target]bool{
		path("10.0.0.21:80", "10.0.0.100", m["web-1"]):                  true,
		path("203.0.113.22:80", "10.0.0.100", m["web-2"]):               true,
		path("10.0.0.21:81", "10.0.0.101", m["web-1"]):                  true,
		path("[2001:db8::21]:80", "2001:db8::100", m["six-1"]):          true,
		{Addr: netip.MustParseAddrPort("10.0.0.21:81"), Check: "plain"}: true,
	}
	got := make(map[healthcheck.Target]bool)
	for tg := range Targets(parse(t, throughTOML)) {
		got[tg] = true
	}
	if !maps.Equal(want, got) {
		t.Errorf("targets %v, want %v", got, want)
	}
}

// Probes are let out when the kernel has what they need, and no longer than that.
func TestPathsAreOpenAsLongAsTheKernelIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := marksOf(t, throughTOML)
		w := newWorld(t)
		w.paths = &fakePaths{}
		d, stop := w.run(throughTOML)
		said := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, w.paths.told()); diff != "" {
				t.Errorf("%s, -want +got:\n%s", when, diff)
			}
		}
		all := opened(m["web-1"], m["web-2"], m["six-1"])
		said("at the start", "", all)

		// Another program deletes a service. It is back at once, and the path closed meanwhile.
		w.kernel.Remove(ipvs.FWMarkKey(m["web-2"], false))
		time.Sleep(2 * resyncMin)
		said("after a service was deleted", opened(m["web-1"], m["six-1"]), all)

		// The kernel takes the answers for forged. Those of IPv6 it does not.
		w.params.fail("net.ipv4.conf.eth1.accept_local", errors.New("read-only file system"))
		time.Sleep(2 * resyncMin)
		said("without the parameter", opened(m["six-1"]))
		w.params.fail("net.ipv4.conf.eth1.accept_local", nil)
		time.Sleep(2 * resyncMax)
		said("with the parameter", all)

		// A verdict changes nothing about it.
		w.health.events <- healthcheck.Event{Target: slices.Collect(targetsOf(&parse(t, throughTOML).VirtualServers[0].RealServers[0]))[0], Status: healthcheck.Down, Err: errors.New("x")}
		time.Sleep(2 * resyncMin)
		said("after a verdict")
		if !strings.Contains(w.kernel.String(), fmt.Sprintf("-a -f %d -r 10.0.0.21:0 -g -w 1\n", m["web-1"])) || strings.Contains(w.kernel.String(), "-r 10.0.0.21:80 ") {
			t.Errorf("web-1 is down:\n%s", w.kernel)
		}

		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(throughTOML, `, web-2 = { address = "203.0.113.22:80", forward = "tun" }`, "", 1))); err != nil {
			t.Fatal(err)
		}
		said("without web-2", opened(m["web-1"], m["six-1"]))
		if strings.Contains(w.kernel.String(), fmt.Sprint(m["web-2"])) {
			t.Errorf("the service of web-2 is still there:\n%s", w.kernel)
		}
		if err := stop(); err != nil || w.kernel.String() != "" {
			t.Errorf("after the stop, %v:\n%s", err, w.kernel)
		}
	})
}

// Probes come from none of the addresses that virtual routers move: those of the configuration
// in force.
func TestVirtualAddressesThatProbesAvoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inside = "[vrrp.inside]\ninterface = \"eth1\"\nvrid = 52\npriority = { lb-a = 255, lb-b = 100 }\nvirtual_addresses = [\"10.1.0.1/24\"]\n"
		w := newWorld(t)
		w.paths = &fakePaths{}
		d, stop := w.run(pairTOML)
		defer stop()
		said := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, w.paths.vips); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		said("10.0.0.100")
		excluded := strings.Replace(pairTOML, "virtual_addresses = [", "excluded_addresses = [\"10.2.0.1/24\"]\nvirtual_addresses = [", 1)
		reload(t, d, excluded+inside)
		said("10.0.0.100", "10.2.0.1") // lb-a owns the third one
		reload(t, d, excluded+strings.Replace(inside, "255", "110", 1))
		said("10.0.0.100", "10.1.0.1", "10.2.0.1")
	})
}

// A plan names what the services are for.
func TestPlanOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one = "[virtual_server.web]\naddress = \"10.0.0.100:80\"\nprotocol = \"tcp\"\ncheck = \"path\"\n" +
			"real_server = { web-1 = { address = \"10.0.0.21:80\" } }\n[check.path]\ntype = \"tcp\"\n"
		w := newWorld(t)
		d, stop := w.run(one)
		defer stop()
		mark := marksOf(t, one+"via = \"vip\"\n")["web-1"]
		p, err := d.Plan(t.Context(), parse(t, one+"via = \"vip\"\n"))
		reason := "checks through the address of virtual server web: the answers come from an address that the Master has too"
		want := []string{
			"# check path: changed",
			"# check path: asks 10.0.0.21:80 through 10.0.0.100 too",
			"# check path: asks 10.0.0.21:80 no longer",
			"sysctl -w net.ipv4.conf.bond0/5.accept_local=1  # " + reason,
			"sysctl -w net.ipv4.conf.eth0.accept_local=1  # " + reason,
			fmt.Sprintf("ipvsadm -A -f %d -s rr -o  # probes of 10.0.0.21 through the virtual address", mark),
			fmt.Sprintf("ipvsadm -a -f %d -r 10.0.0.21:0 -g -w 1  # probes of 10.0.0.21 through the virtual address", mark),
		}
		if diff := cmp.Diff(want, p.lines()); err != nil || diff != "" {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
	})
}
