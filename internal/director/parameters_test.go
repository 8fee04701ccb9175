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

	"github.com/hadirector/hadirector/ipvs"
)

// fakeParameters is a kernel's parameters with their keeper, and the notes that outlive it.
// Those that it has no value for are "0".
type fakeParameters struct {
	mu      sync.Mutex // guards what follows
	values  map[string]string
	was     map[string]string
	err     map[string]error
	history []string
	kernel  fmt.Stringer
}

func newFakeParameters() *fakeParameters {
	return &fakeParameters{values: map[string]string{}, was: map[string]string{}, err: map[string]error{}}
}

func (f *fakeParameters) Rehearsal() Parameters {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &fakeParameters{values: maps.Clone(f.values), was: maps.Clone(f.was), err: maps.Clone(f.err)}
}

// fail makes the kernel refuse a parameter, whatever its value; nil: no longer.
func (f *fakeParameters) fail(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err[name] = err
}

func (f *fakeParameters) now(name string) string {
	if v, ok := f.values[name]; ok {
		return v
	}
	return "0"
}

func (f *fakeParameters) tell(change ipvs.ParameterChange, name, value string) {
	line := fmt.Sprintf("%s %s=%s", change, name, value)
	if f.kernel != nil {
		line = fmt.Sprintf("%d services: %s", strings.Count(f.kernel.String(), "-A "), line)
	}
	f.history = append(f.history, line)
}

func (f *fakeParameters) Ensure(want []ipvs.Parameter) (states []ipvs.ParameterState, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range want {
		if p.From != "" {
			continue // the keeper's own business
		}
		s := ipvs.ParameterState{Parameter: p, Now: f.now(p.Name), Was: f.was[p.Name], Err: f.err[p.Name]}
		if s.Err == nil && s.Now != p.Value {
			if s.Change, s.Found = ipvs.ParameterRepaired, s.Now; s.Was == "" {
				s.Change, s.Found, s.Was = ipvs.ParameterSet, "", s.Now
			}
			s.Now, f.values[p.Name], f.was[p.Name] = p.Value, p.Value, s.Was
			f.tell(s.Change, p.Name, p.Value)
		}
		states = append(states, s)
	}
	return states, nil
}

func (f *fakeParameters) Release(keep []ipvs.Parameter) (states []ipvs.ParameterState, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, was := range f.was {
		if slices.ContainsFunc(keep, func(p ipvs.Parameter) bool { return p.Name == name }) {
			continue
		}
		states = append(states, ipvs.ParameterState{
			Parameter: ipvs.Parameter{Name: name, Value: was}, Now: f.now(name), Was: f.now(name), Change: ipvs.ParameterPutBack, Err: f.err[name],
		})
		if f.err[name] == nil {
			f.values[name] = was
			delete(f.was, name)
			f.tell(ipvs.ParameterPutBack, name, was)
		}
	}
	return states, nil
}

func (f *fakeParameters) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeParameters) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.history
	f.history = nil
	return h
}

// fourInterfaces are those of a director with an inside and an outside.
func fourInterfaces() (map[string][]netip.Prefix, error) {
	return map[string][]netip.Prefix{
		"lo":      {netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.0.0.200/32")},
		"eth0":    {netip.MustParsePrefix("10.0.0.11/24"), netip.MustParsePrefix("2001:db8::11/64")},
		"eth1":    {netip.MustParsePrefix("192.0.2.11/24")},
		"bond0.5": {netip.MustParsePrefix("10.0.0.12/24")},
	}, nil
}

const natTOML = `
[virtual_server.web]
address  = "10.0.0.100:80"
protocol = "tcp"
forward  = "nat"
real_server = { web-1 = { address = "10.0.0.21:8080" }, web-2 = { address = "203.0.113.22:80", forward = "tun" } }
`

func TestParametersThatAConfigurationNeeds(t *testing.T) {
	dr := strings.Replace(natTOML, `"nat"`, `"dr"`, 1)
	dr = strings.Replace(dr, "21:8080", "21:80", 1)
	six := strings.NewReplacer("[virtual_server.web]", "[virtual_server.six]", "10.0.0.100:80", "[2001:db8::100]:80", "10.0.0.21:8080", "[2001:db8::21]:80",
		"203.0.113.22:80", "[2001:db8::22]:80", "tun", "nat").Replace(natTOML)
	for _, tt := range []struct {
		name, toml string
		want       []string
	}{
		{"nothing", "[director.lb-a]\naddress = \"10.0.0.11\"\n[ipvs]\nconntrack = true\n", nil},
		{"direct routing and tunnels", dr, nil},
		{"nat", natTOML, []string{
			"net.ipv4.ip_forward=1, needed (nat of virtual server web" + through + ")",
			"net.ipv4.conf.all.send_redirects=0 (nat of virtual server web" + past + ")",
			"net.ipv4.conf.bond0/5.send_redirects=0 (nat of virtual server web" + past + ")",
			"net.ipv4.conf.eth0.send_redirects=0 (nat of virtual server web" + past + ")",
		}},
		{"nat of a sorry server", dr + `sorry_server = { address = "192.0.2.9:80", forward = "nat" }`, []string{
			"net.ipv4.ip_forward=1, needed (nat of virtual server web" + through + ")",
			"net.ipv4.conf.all.send_redirects=0 (nat of virtual server web" + past + ")",
			"net.ipv4.conf.eth1.send_redirects=0 (nat of virtual server web" + past + ")",
		}},
		{"nat of two", natTOML + strings.NewReplacer(".web", ".api", ":80\"", ":81\"").Replace(natTOML), []string{
			"net.ipv4.ip_forward=1, needed (nat of virtual server web and 1 more" + through + ")",
			"net.ipv4.conf.all.send_redirects=0 (nat of virtual server web and 1 more" + past + ")",
			"net.ipv4.conf.bond0/5.send_redirects=0 (nat of virtual server web and 1 more" + past + ")",
			"net.ipv4.conf.eth0.send_redirects=0 (nat of virtual server web and 1 more" + past + ")",
		}},
		{"nat of IPv6", six, []string{
			"net.ipv6.conf.bond0/5.accept_ra=2 from 1 with net.ipv6.conf.all.forwarding (a machine that forwards ignores router advertisements otherwise, and loses the routes from them)",
			"net.ipv6.conf.eth0.accept_ra=2 from 1 with net.ipv6.conf.all.forwarding (a machine that forwards ignores router advertisements otherwise, and loses the routes from them)",
			"net.ipv6.conf.eth1.accept_ra=2 from 1 with net.ipv6.conf.all.forwarding (a machine that forwards ignores router advertisements otherwise, and loses the routes from them)",
			"net.ipv6.conf.all.forwarding=1, needed (nat of virtual server six" + through + ")",
		}},
		{"fullnat", strings.Replace(fullTOML, `, shop-2 = { address = "10.1.0.22:8080", forward = "nat" }`, "", 1), []string{
			"net.ipv4.ip_forward=1, needed (nat of virtual server shop" + through + ")",
			"net.ipv4.conf.all.send_redirects=0 (nat of virtual server shop" + past + ")",
			"net.ipv4.vs.conntrack=1, needed (fullnat of virtual server shop: nftables translates the connections that it is told of)",
		}},
		{"fullnat with sync, and what an operator sets", fullTOML + "[sync]\ninterface = \"eth1\"\n[ipvs]\nconntrack = true\n[director.lb-a]\naddress = \"10.0.0.11\"\n[director.lb-b]\naddress = \"10.0.0.12\"\n", []string{
			"net.ipv4.ip_forward=1, needed (nat of virtual server shop" + through + ")",
			"net.ipv4.conf.all.send_redirects=0 (nat of virtual server shop" + past + ")",
			"net.ipv4.vs.conntrack=1, needed (fullnat of virtual server shop: nftables translates the connections that it is told of; [ipvs] conntrack)",
			"net.netfilter.nf_conntrack_tcp_be_liberal=1 (fullnat of virtual server shop: connections come back from another director)",
		}},
		{"checks through the address", throughTOML, []string{ // web-2 is behind a router
			"net.ipv4.conf.bond0/5.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
			"net.ipv4.conf.eth0.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
			"net.ipv4.conf.eth1.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
		}},
		{"checks through the address, nearby", strings.Replace(throughTOML, "203.0.113.22", "192.0.2.22", 1), []string{
			"net.ipv4.conf.bond0/5.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
			"net.ipv4.conf.eth0.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
			"net.ipv4.conf.eth1.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
		}},
		{"checks through the address on one network", strings.Replace(throughTOML, "203.0.113.22", "10.0.0.22", 1), []string{
			"net.ipv4.conf.bond0/5.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
			"net.ipv4.conf.eth0.accept_local=1 (checks through the address of virtual server web and 1 more: the answers come from an address that the Master has too)",
		}},
		{"what operators set", dr + "\n[ipvs]\nsloppy_tcp = true\nconntrack = false\nconn_reuse_mode = 2\n", []string{
			"net.ipv4.vs.conn_reuse_mode=2 ([ipvs] conn_reuse_mode)",
			"net.ipv4.vs.conntrack=0 ([ipvs] conntrack)",
			"net.ipv4.vs.sloppy_tcp=1 ([ipvs] sloppy_tcp)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			interfaces, _ := fourInterfaces()
			var got []string
			for _, p := range Spread(Needs(parse(t, tt.toml), nil), interfaces) {
				line := p.Name + "=" + p.Value
				if p.From != "" {
					line += " from " + p.From + " with " + p.With
				}
				if p.Needed {
					line += ", needed"
				}
				got = append(got, line+" ("+p.Reason+")")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParameterWithTwoReasonsIsAskedForOnce(t *testing.T) {
	var l needList
	l.add(need("net.ipv4.vs.conntrack", "1", "[ipvs] conntrack"))
	l.add(needed("net.ipv4.vs.conntrack", "1", "fullnat"))
	l.add(need("net.ipv4.vs.sloppy_tcp", "1", "[ipvs] sloppy_tcp"))
	want := needList{needed("net.ipv4.vs.conntrack", "1", "[ipvs] conntrack; fullnat"), need("net.ipv4.vs.sloppy_tcp", "1", "[ipvs] sloppy_tcp")}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParametersComeBeforeServicesAndGoAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.params.kernel = w.kernel
		w.params.values["net.ipv4.conf.all.send_redirects"] = "1"
		d, stop := w.run(natTOML + "[ipvs]\nconntrack = true\n")
		want := []string{
			"0 services: set net.ipv4.ip_forward=1",
			"0 services: set net.ipv4.conf.all.send_redirects=0",
			"0 services: set net.ipv4.vs.conntrack=1",
		}
		if diff := cmp.Diff(want, w.params.told()); diff != "" {
			t.Errorf("at the start, -want +got:\n%s", diff)
		}
		if lines := w.logged("kernel parameter set"); len(lines) != 3 || lines[0] != `level=INFO msg="kernel parameter set" parameter=net.ipv4.ip_forward value=1 was=0 `+
			`reason="nat of virtual server web: the real servers' answers pass through this machine"` {
			t.Errorf("log %q", lines)
		}
		s := d.Status().Parameters
		if len(s) != 5 || s[1] != (ParameterStatus{
			Parameter: "net.ipv4.conf.all.send_redirects", Value: "0", Wanted: "0", Was: "1", Reason: "nat of virtual server web" + past, OK: true,
		}) {
			t.Errorf("status %+v", s)
		}
		// What a reload removes and the table still has goes on to need it.
		connections := func(n uint32) {
			w.kernel.SetConnections(ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80")),
				netip.MustParseAddrPort("10.0.0.21:8080"), ipvs.Connections{Active: n})
		}
		connections(1)
		none := strings.ReplaceAll(natTOML, "21:8080", "23:80")
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(none, `"nat"`, `"dr"`, 1))); err != nil {
			t.Fatal(err)
		}
		d.Settle(t.Context())
		if diff := cmp.Diff([]string{"1 services: put-back net.ipv4.vs.conntrack=0"}, w.params.told()); diff != "" {
			t.Errorf("after a reload, -want +got:\n%s", diff)
		}
		connections(0)
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		released := w.params.told()
		slices.Sort(released)
		if diff := cmp.Diff([]string{
			"1 services: put-back net.ipv4.conf.all.send_redirects=1",
			"1 services: put-back net.ipv4.ip_forward=0",
		}, released); diff != "" {
			t.Errorf("when the last real server with nat is gone, -want +got:\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestParametersGoWithTheServicesAtTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(natTOML + "[ipvs]\non_stop = \"keep\"\n")
		w.params.told()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := w.params.told(); len(got) != 0 {
			t.Errorf("put back though the services stay: %q", got)
		}
		w.params.kernel = w.kernel
		_, stop = w.run(natTOML)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"0 services: put-back net.ipv4.ip_forward=0"}, w.params.told()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if lines := w.logged("kernel parameter put back"); len(lines) != 1 || lines[0] != `level=INFO msg="kernel parameter put back" parameter=net.ipv4.ip_forward value=0 was=1` {
			t.Errorf("log %q", lines)
		}
	})
}

func TestParameterThatCannotBePutBackIsAnErrorOfTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.run(natTOML)
		w.params.set(func() { w.params.err["net.ipv4.ip_forward"] = errors.New("read-only file system") })
		if err := stop(); err == nil || err.Error() != "put back kernel parameter net.ipv4.ip_forward: read-only file system" {
			t.Errorf("error %v", err)
		}
	})
}

func TestParameterThatSomebodyChangesIsRepairedAndSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(natTOML)
		defer stop()
		for range 3 {
			w.params.set(func() { w.params.values["net.ipv4.ip_forward"] = "0" })
			time.Sleep(2 * resyncMin)
			synctest.Wait()
		}
		if s := d.Status(); s.ParametersRepaired != 3 || !s.Parameters[0].OK || s.Parameters[0].Was != "0" {
			t.Errorf("%d repairs, %+v", s.ParametersRepaired, s.Parameters[0])
		}
		want := []string{"parameter-repair parameters: changed by another program, repaired: net.ipv4.ip_forward=1, was 0"}
		if diff := cmp.Diff(want, w.recorded("parameter-")); diff != "" {
			t.Errorf("journal, -want +got:\n%s", diff)
		}
		if lines := w.logged("kernel parameter was changed"); len(lines) != 1 {
			t.Errorf("log %q", lines)
		}
	})
}

func TestParameterThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.params.err = map[string]error{"net.ipv4.ip_forward": errors.New("read-only file system"), "net.ipv4.vs.conntrack": errors.New("no such parameter")}
		d, stop := w.run(natTOML + "[ipvs]\nconntrack = true\nsloppy_tcp = true\n")
		defer stop()
		time.Sleep(5 * resyncMin)
		synctest.Wait()
		s := d.Status()
		if !s.IPVS.InSync || len(s.IPVS.Errors) > 0 {
			t.Errorf("the table is not what is wrong: %+v", s.IPVS)
		}
		if diff := cmp.Diff([]string{"kernel parameter net.ipv4.ip_forward is not 1"}, s.NotReady); diff != "" {
			t.Errorf("not ready, -want +got:\n%s", diff)
		}
		if p := s.Parameters[0]; p.OK || p.Error != "read-only file system" || p.Value != "0" || p.Wanted != "1" {
			t.Errorf("status %+v", p)
		}
		if p := s.Parameters[len(s.Parameters)-1]; p.Parameter != "net.ipv4.vs.sloppy_tcp" || !p.OK {
			t.Errorf("the others were not set: %+v", p)
		}
		want := []string{
			"parameter-refused net.ipv4.ip_forward: read-only file system",
			"parameter-refused net.ipv4.vs.conntrack: no such parameter",
		}
		if diff := cmp.Diff(want, w.recorded("parameter-")); diff != "" {
			t.Errorf("journal, -want +got:\n%s", diff)
		}
		if lines := w.logged("level=ERROR"); len(lines) != 1 || !strings.Contains(lines[0], "kernel parameter refused, trying again") || !strings.Contains(lines[0], "parameter=net.ipv4.ip_forward value=1") {
			t.Errorf("log %q", lines)
		}
		w.params.set(func() { clear(w.params.err) })
		time.Sleep(2 * resyncMin)
		synctest.Wait()
		if s := d.Status(); len(s.NotReady) > 0 || !s.Parameters[0].OK {
			t.Errorf("after the end of the trouble: not ready %q, %+v", s.NotReady, s.Parameters[0])
		}
	})
}

// What is not known is not taken for gone.
func TestInterfacesThatCannotBeReadKeepTheirParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.params.values["net.ipv4.conf.eth0.send_redirects"] = "1"
		var failure error
		var mu sync.Mutex
		w.interfaces = func() (map[string][]netip.Prefix, error) {
			mu.Lock()
			defer mu.Unlock()
			if failure != nil {
				return nil, failure
			}
			return fourInterfaces()
		}
		_, stop := w.run(natTOML)
		defer stop()
		w.params.told()
		mu.Lock()
		failure = errors.New("list links: no buffer space")
		mu.Unlock()
		time.Sleep(3 * resyncMin)
		synctest.Wait()
		if got := w.params.told(); len(got) != 0 {
			t.Errorf("changes %q", got)
		}
		if lines := w.logged("kernel parameters are not all kept"); len(lines) != 1 || !strings.Contains(lines[0], "list links: no buffer space") {
			t.Errorf("log %q", lines)
		}
		mu.Lock()
		failure = nil
		mu.Unlock()
	})
}
