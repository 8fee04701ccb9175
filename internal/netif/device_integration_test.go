//go:build integration

package netif

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/internal/nft"
	"github.com/hadirector/hadirector/internal/sysctl"
	"github.com/hadirector/hadirector/vrrp"
)

// vmacRouter is a virtual router with a link of its own, "vrrp.VRID" or "vrrp6.VRID".
func vmacRouter(base string, id vrrp.VRID, addrs ...string) vrrp.Instance {
	in := vrrp.Instance{
		ID:     vrrp.ID{Interface: base, Family: vrrp.IPv4, VRID: id},
		Params: vrrp.Params{Addresses: prefixes(addrs...)},
		VMAC:   &vrrp.VMAC{Link: fmt.Sprintf("vrrp.%d", id)},
	}
	if in.Addresses[0].Addr().Is6() {
		in.ID.Family = vrrp.IPv6
		in.VMAC.Link = fmt.Sprintf("vrrp6.%d", id)
	}
	return in
}

type noGuard struct{}

func (noGuard) GuardLink(string) error   { return nil }
func (noGuard) UnguardLink(string) error { return nil }

// newDevices makes Devices with the note at path.
func newDevices(t *testing.T, path string) *Devices {
	t.Helper()
	d, err := NewDevices(quiet, path, noGuard{})
	must(t, err)
	return d
}

func notePath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "devices.json")
}

// values reads parameters under net/ipv4/conf or net/ipv6/conf: "eth0/arp_ignore".
func values(t *testing.T, family string, names ...string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, n := range names {
		v, err := sysctl.Get("net/" + family + "/conf/" + n)
		must(t, err)
		got[n] = v
	}
	return got
}

func indexOfLink(t *testing.T, name string) int {
	t.Helper()
	ifi, err := net.InterfaceByName(name)
	must(t, err)
	return ifi.Index
}

func TestDeviceComesAndGoes(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	t.Cleanup(func() { self.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "0") })
	path := notePath(t)
	d := newDevices(t, path)
	in4, in6 := vmacRouter("eth0", 51, "10.0.0.100/24"), vmacRouter("eth0", 52, "fe80::100/64", "2001:db8::100/64")
	var index4, index6 int
	for i := range 2 {
		must(t, d.Make(in4))
		must(t, d.Make(in6))
		for name, mac := range map[string]string{"vrrp.51": "00:00:5e:00:01:33", "vrrp6.52": "00:00:5e:00:02:34"} {
			self.AwaitUp(t, name)
			out := self.IP(t, "-d link show dev "+name)
			for _, want := range []string{name + "@eth0:", "LOWER_UP", "link/ether " + mac, "macvlan mode private"} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in %s", want, out)
				}
			}
			if out := self.IP(t, "addr show dev "+name); strings.Contains(out, "inet") {
				t.Errorf("%s has an address: %s", name, out)
			}
		}
		if i == 0 {
			index4, index6 = indexOfLink(t, "vrrp.51"), indexOfLink(t, "vrrp6.52")
		} else if index4 != indexOfLink(t, "vrrp.51") || index6 != indexOfLink(t, "vrrp6.52") {
			t.Error("the second Make made another link")
		}
	}
	want := map[string]string{
		"eth0/arp_ignore": "1", "eth0/arp_filter": "1", "eth0/arp_announce": "2",
		"vrrp.51/arp_ignore": "1", "vrrp.51/accept_local": "1", "vrrp.51/rp_filter": "0", "vrrp.51/promote_secondaries": "1",
		"vrrp6.52/arp_ignore": "1",
	}
	if diff := cmp.Diff(want, values(t, "ipv4", keys(want)...)); diff != "" {
		t.Errorf("ipv4 (-want +got):\n%s", diff)
	}
	want = map[string]string{"vrrp.51/addr_gen_mode": "1", "vrrp.51/accept_ra": "0", "vrrp6.52/disable_ipv6": "0", "vrrp6.52/addr_gen_mode": "1", "vrrp6.52/accept_ra": "0", "vrrp6.52/router_solicitations": "0"}
	if diff := cmp.Diff(want, values(t, "ipv6", keys(want)...)); diff != "" {
		t.Errorf("ipv6 (-want +got):\n%s", diff)
	}
	for range 2 {
		must(t, d.Delete(in4))
		must(t, d.Delete(in6))
	}
	if out := self.IP(t, "link show type macvlan"); out != "" {
		t.Errorf("left: %s", out)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the note is left: %v", err)
	}
	if len(d.groups) != 0 {
		t.Errorf("groups are left: %v", d.groups)
	}
}

func keys(m map[string]string) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

// The machine's settings are brought back with the last link that needs them, and not
// before; what somebody else has set meanwhile stays.
func TestSettingsAreBroughtBack(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	for _, eth := range []string{"eth0", "eth1"} {
		netnstest.Cable(t, self, eth, far, eth)
	}
	for name, v := range map[string]string{"all/rp_filter": "1", "default/rp_filter": "0", "eth0/rp_filter": "0", "eth1/rp_filter": "2", "lo/rp_filter": "0", "eth0/arp_ignore": "0", "eth1/arp_ignore": "2"} {
		self.Sysctl(t, "net/ipv4/conf/"+name, v)
	}
	t.Cleanup(func() { self.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0") })
	names := []string{
		"all/rp_filter", "default/rp_filter", "lo/rp_filter", "eth0/rp_filter", "eth1/rp_filter",
		"eth0/arp_ignore", "eth0/arp_filter", "eth0/arp_announce", "eth1/arp_ignore", "eth1/arp_filter", "eth1/arp_announce",
	}
	before := values(t, "ipv4", names...)
	during := map[string]string{
		"all/rp_filter": "0", "default/rp_filter": "1", "lo/rp_filter": "1", "eth0/rp_filter": "1", "eth1/rp_filter": "2",
		"eth0/arp_ignore": "1", "eth0/arp_filter": "1", "eth0/arp_announce": "2", "eth1/arp_ignore": "2", "eth1/arp_filter": "1", "eth1/arp_announce": "2",
	}
	d := newDevices(t, notePath(t))
	routers := []vrrp.Instance{vmacRouter("eth0", 1, "10.0.0.100/24"), vmacRouter("eth0", 2, "10.0.0.101/24"), vmacRouter("eth1", 1, "10.1.0.100/24")}
	routers[2].VMAC.Link = "vrrp1.1"
	for _, in := range routers {
		must(t, d.Make(in))
	}
	if diff := cmp.Diff(during, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	must(t, d.Delete(routers[0]))
	if diff := cmp.Diff(during, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("one of two on eth0 deleted (-want +got):\n%s", diff)
	}
	must(t, d.Delete(routers[1]))
	during["eth0/arp_ignore"], during["eth0/arp_filter"], during["eth0/arp_announce"] = "0", "0", "0"
	if diff := cmp.Diff(during, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("both on eth0 deleted (-want +got):\n%s", diff)
	}
	self.Sysctl(t, "net/ipv4/conf/eth1/arp_announce", "1") // the operator's own
	before["eth1/arp_announce"] = "1"
	must(t, d.Delete(routers[2]))
	if diff := cmp.Diff(before, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("all deleted (-before +after):\n%s", diff)
	}
}

// The links of a process that was killed are adopted while the other directors wait for
// three advertisements: what takes time must not grow with the square of their number.
func TestManyDevicesAreAdoptedAtOnce(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	path := filepath.Join(t.TempDir(), "devices.json")
	var many []vrrp.Instance
	for i := range 60 {
		many = append(many, vmacRouter("eth0", vrrp.VRID(i+1), fmt.Sprintf("10.0.1.%d/32", i+1)))
	}
	first := newDevices(t, path)
	for _, in := range many {
		must(t, first.Make(in))
	}
	next := newDevices(t, path)
	began := time.Now()
	for _, in := range many {
		must(t, next.Make(in))
	}
	// It takes 20 ms, and took 10 s.
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	must(t, next.Clean(nil))
}

func TestForeignAndDamagedLinks(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	in := vmacRouter("eth0", 51, "10.0.0.100/24")
	d := newDevices(t, notePath(t))

	self.IP(t, "link add vrrp.51 link eth0 type macvlan mode bridge")
	err := d.Make(in)
	if err == nil || !strings.Contains(err.Error(), "make link vrrp.51 on eth0: another link has this name, a macvlan in bridge mode with address") {
		t.Errorf("a foreign macvlan: %v", err)
	}
	must(t, d.Delete(in))
	self.IP(t, "link show dev vrrp.51")
	self.IP(t, "link del vrrp.51")

	must(t, d.Make(in))
	for _, damage := range []string{"link set vrrp.51 type macvlan mode bridge", "link set vrrp.51 address 02:00:00:00:00:01", "link set vrrp.51 down", "link del vrrp.51"} {
		self.IP(t, damage)
		must(t, d.Make(in))
		self.AwaitUp(t, "vrrp.51")
		if out := self.IP(t, "-d link show dev vrrp.51"); !strings.Contains(out, "mode private") || !strings.Contains(out, "00:00:5e:00:01:33") {
			t.Errorf("after %q: %s", damage, out)
		}
	}
	must(t, d.Delete(in))

	err = d.Make(vmacRouter("nosuch0", 51, "10.0.0.100/24"))
	if err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("on a missing interface: %v", err)
	}
}

// The link goes with its interface, and is made again when that has returned, with the
// settings; those of the new interface are brought back then.
func TestInterfaceReturns(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	d := newDevices(t, notePath(t))
	in := vmacRouter("eth0", 51, "10.0.0.100/24")
	self.Sysctl(t, "net/ipv4/conf/eth0/arp_announce", "1")
	must(t, d.Make(in))
	self.IP(t, "link del eth0")
	if err := d.Make(in); err == nil {
		t.Error("no error without the interface")
	}
	netnstest.Cable(t, self, "eth0", far, "eth0")
	must(t, d.Make(in))
	self.AwaitUp(t, "vrrp.51")
	want := map[string]string{"eth0/arp_ignore": "1", "eth0/arp_announce": "2"}
	if diff := cmp.Diff(want, values(t, "ipv4", keys(want)...)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	must(t, d.Delete(in))
	want = map[string]string{"eth0/arp_ignore": "0", "eth0/arp_announce": "0"}
	if diff := cmp.Diff(want, values(t, "ipv4", keys(want)...)); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
}

// A run after a killed one adopts what is still wanted, deletes the rest, and brings back
// in the end what the first one found.
func TestLeftoverDevices(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	netnstest.Cable(t, self, "eth1", far, "eth1")
	path := notePath(t)
	kept, gone := vmacRouter("eth0", 51, "10.0.0.100/24"), vmacRouter("eth1", 52, "10.1.0.100/24")
	killed := newDevices(t, path)
	must(t, killed.Make(kept))
	must(t, killed.Make(gone))
	index := indexOfLink(t, "vrrp.51")

	next := newDevices(t, path)
	must(t, next.Clean([]vrrp.Instance{kept}))
	if out := self.IP(t, "-o link show type macvlan"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "vrrp.51@eth0") {
		t.Errorf("after Clean: %s", out)
	}
	names := []string{"eth0/arp_ignore", "eth1/arp_ignore"}
	if diff := cmp.Diff(map[string]string{"eth0/arp_ignore": "1", "eth1/arp_ignore": "0"}, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("after Clean (-want +got):\n%s", diff)
	}
	must(t, next.Make(kept))
	if indexOfLink(t, "vrrp.51") != index {
		t.Error("the link was made anew")
	}
	must(t, next.Delete(kept))
	if diff := cmp.Diff(map[string]string{"eth0/arp_ignore": "0", "eth1/arp_ignore": "0"}, values(t, "ipv4", names...)); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}

	// Without its note a link is still known by its looks.
	must(t, newDevices(t, notePath(t)).Make(kept))
	last := newDevices(t, notePath(t))
	must(t, last.Make(kept))
	must(t, last.Delete(kept))
	if out := self.IP(t, "link show type macvlan"); out != "" {
		t.Errorf("left: %s", out)
	}

	must(t, os.WriteFile(path, []byte("{"), 0o600))
	if d, err := NewDevices(quiet, path, noGuard{}); err == nil || d == nil {
		t.Errorf("a damaged note: %v, %v", d, err)
	}
}

// The neighbours keep one MAC address for the virtual address, whichever director has
// it, and never see it with another; the directors' own addresses keep theirs.
func TestTheMACAddressStaysOnAMove(t *testing.T) {
	sw := netnstest.NewSwitch(t)
	client := netnstest.New(t, "client")
	client.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	sw.Connect(t, client, "eth0", "10.0.0.9/24", "2001:db8::9/64")
	in4, in6 := vmacRouter("eth0", 51, "10.0.0.100/24"), vmacRouter("eth0", 51, "2001:db8::100/64")
	type director struct {
		ns      *netnstest.NS
		devices *Devices
		addrs   *Addresses
		ann     *Announcer
		own     string
	}
	var directors []*director
	for i, name := range []string{"lb-a", "lb-b"} {
		d := &director{ns: netnstest.New(t, name), addrs: NewAddresses(quiet), ann: NewAnnouncer(), own: fmt.Sprintf("10.0.0.%d", i+1), devices: newDevices(t, notePath(t))}
		defer d.ann.Close()
		d.ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
		d.ns.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0") // or its own addresses would be silent at first
		sw.Connect(t, d.ns, "eth0", d.own+"/24", fmt.Sprintf("2001:db8::%d/64", i+1))
		d.ns.Do(func() {
			must(t, d.devices.Make(in4))
			must(t, d.devices.Make(in6))
		})
		for _, link := range []string{"vrrp.51", "vrrp6.51"} {
			d.ns.AwaitUp(t, link)
		}
		directors = append(directors, d)
	}
	macs := map[string]string{"10.0.0.100": "00:00:5e:00:01:33", "2001:db8::100": "00:00:5e:00:02:33"}
	check := func(when string) {
		t.Helper()
		for addr, mac := range macs {
			if out := client.IP(t, "neigh show "+addr+" dev eth0"); !strings.Contains(out, mac) {
				t.Errorf("%s: the client has %s as %q, want %s", when, addr, out, mac)
			}
		}
	}
	for move := range 3 {
		to, from := directors[move%2], directors[(move+1)%2]
		when := fmt.Sprintf("move %d to %s", move, to.ns)
		from.ns.Do(func() {
			must(t, from.addrs.Release("vrrp.51", in4.Addresses))
			must(t, from.addrs.Release("vrrp6.51", in6.Addresses))
		})
		to.ns.Do(func() {
			must(t, to.addrs.Acquire("vrrp.51", in4.Addresses))
			must(t, to.addrs.Acquire("vrrp6.51", in6.Addresses))
			must(t, to.ann.Announce("vrrp.51", in4.Addresses))
			must(t, to.ann.Announce("vrrp6.51", in6.Addresses))
		})
		if move == 1 {
			client.IP(t, "neigh flush dev eth0") // asked for, and not only announced
		}
		client.Run(t, "ping", "-n", "-q", "-c", "1", "-W", "5", "10.0.0.100")
		client.Run(t, "ping", "-n", "-q", "-c", "1", "-W", "5", "2001:db8::100")
		check(when)
		// The director speaks from the virtual address to a neighbour that it does not
		// know: its question must not give the address another MAC address.
		to.ns.IP(t, "neigh flush dev eth0")
		to.ns.Run(t, "ping", "-n", "-q", "-c", "1", "-W", "5", "-I", "10.0.0.100", "10.0.0.9")
		check(when + ", after it has spoken")
		for _, d := range directors {
			client.Run(t, "ping", "-n", "-q", "-c", "1", "-W", "5", d.own)
			if out := client.IP(t, "neigh show "+d.own+" dev eth0"); strings.Contains(out, "00:00:5e") {
				t.Errorf("%s: the client has %s's own address as %q", when, d.ns, out)
			}
			// One route to the subnet, over the interface itself.
			if out := d.ns.IP(t, "route show 10.0.0.0/24"); strings.Contains(out, "vrrp") {
				t.Errorf("%s: %s routes over its virtual link: %s", when, d.ns, out)
			}
		}
	}
}

// A Backup sends nothing from the virtual MAC address, or a switch would send it the
// Master's frames; its interface reports the membership in its place.
func TestABackupIsSilentOnItsLink(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	base, err := net.InterfaceByName("eth0")
	must(t, err)
	filter := nft.New()
	for _, guarded := range []bool{false, true} {
		for _, in := range []vrrp.Instance{vmacRouter("eth0", 51, "10.0.0.100/24"), vmacRouter("eth0", 51, "fe80::100/64")} {
			t.Run(fmt.Sprintf("%v guarded %v", in.ID.Family, guarded), func(t *testing.T) {
				mac := vrrp.VirtualMAC(in.ID.Family, 51)
				heard := listen(t, far, "eth0")
				d, err := NewDevices(slog.New(slog.DiscardHandler), notePath(t), noGuard{})
				must(t, err)
				if guarded {
					d.guard = filter
				}
				must(t, d.Make(in))
				self.AwaitUp(t, in.VMAC.Link)
				fd := memberships{}
				must(t, fd.join(indexOfLink(t, in.VMAC.Link), in.ID.Family)) // as a receiver of advertisements does
				// Reports are sent within two seconds. Without a guard this waits for one
				// from the link, else for all that come.
				var virtual, own int
				for deadline := time.After(2500 * time.Millisecond); ; {
					select {
					case src := <-heard:
						if src.String() == net.HardwareAddr(mac[:]).String() {
							virtual++
						}
						if src.String() == base.HardwareAddr.String() {
							own++
						}
						if guarded || virtual == 0 || own == 0 {
							continue
						}
					case <-deadline:
					}
					break
				}
				if own == 0 || (virtual == 0) != guarded {
					t.Errorf("%d reports of the interface, %d with the virtual MAC address", own, virtual)
				}
				fd.keep(func(membership) bool { return false })
				must(t, d.Delete(in))
			})
		}
	}
}

// listen delivers the sources of the membership reports that arrive on an interface.
func listen(t *testing.T, ns *netnstest.NS, ifname string) <-chan net.HardwareAddr {
	t.Helper()
	var conn *packet.Conn
	ns.Do(func() {
		ifi, err := net.InterfaceByName(ifname)
		must(t, err)
		conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		must(t, err)
	})
	heard := make(chan net.HardwareAddr, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			// IGMP, or IPv6 with a hop-by-hop header, as MLD has it.
			if f := buf[:n]; n > 34 && (f[12] == 0x08 && f[13] == 0x00 && f[23] == unix.IPPROTO_IGMP || f[12] == 0x86 && f[13] == 0xdd && f[20] == unix.IPPROTO_HOPOPTS) {
				heard <- net.HardwareAddr(append([]byte(nil), f[6:12]...))
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return heard
}

// An address on a virtual router's own link brings a route only if there is no other to
// its subnet.
func TestRouteOfAnAddressOnALink(t *testing.T) {
	self, far := netnstest.Self(), netnstest.New(t, "far")
	netnstest.Cable(t, self, "eth0", far, "eth0")
	self.IP(t, "addr add 10.0.0.1/24 dev eth0")
	d := newDevices(t, notePath(t))
	in := vmacRouter("eth0", 51, "10.0.0.100/24")
	must(t, d.Make(in))
	a := NewAddresses(quiet)
	addrs := prefixes("10.0.0.100/24", "192.0.2.100/24")
	must(t, a.Acquire("vrrp.51", addrs))
	if out := self.IP(t, "route show dev vrrp.51"); strings.TrimSpace(out) != "192.0.2.0/24 proto kernel scope link src 192.0.2.100" {
		t.Errorf("routes over the link: %s", out)
	}
	if got := addrsOf(t, "vrrp.51"); !cmp.Equal(got, addrs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("addresses: %v", got)
	}
	must(t, a.Release("vrrp.51", addrs))
	must(t, d.Delete(in))
}
