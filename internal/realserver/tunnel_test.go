package realserver

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

// tunnelOf is 10.0.0.100 by ipip (0), gre (1), gue (2) or direct routing (3).
func tunnelOf(n int, checksum bool) Virtual {
	v := Virtual{Addr: addr("10.0.0.100"), Forward: ipvs.ForwardTunnel, Tunnel: Tunnel{Local: addr("10.0.0.21")}}
	switch n {
	case 1:
		v.Tunnel.Type, v.Tunnel.Checksum = ipvs.TunnelGRE, checksum
	case 2:
		v.Tunnel.Type, v.Tunnel.Port = ipvs.TunnelGUE, 6080
	case 3:
		v.Forward = ipvs.ForwardDirect
	}
	return v
}

// six is the same of IPv6.
func six(v Virtual) Virtual {
	v.Addr, v.Tunnel.Local = addr("2001:db8::100"), addr("2001:db8::21")
	return v
}

func TestPlanStartOfTunnels(t *testing.T) {
	silent := []string{
		"sysctl -w net.ipv4.conf.all.arp_ignore=1",
		"sysctl -w net.ipv4.conf.lo.arp_ignore=1",
		"sysctl -w net.ipv4.conf.all.arp_announce=2",
		"sysctl -w net.ipv4.conf.lo.arp_announce=2",
	}
	for _, tt := range []struct {
		name     string
		virtuals []Virtual
		with     func(*facts)
		want     []string
	}{
		{"ipip", []Virtual{tunnelOf(0, false)}, func(*facts) {}, append(slices.Clone(silent),
			"ip link add ha-ipip type ipip local 10.0.0.21", "ip link set ha-ipip up",
			"ip addr add 10.0.0.100/32 dev ha-ipip")},
		{"ipip of IPv6", []Virtual{six(tunnelOf(0, false))}, func(*facts) {}, []string{
			"ip link add ha-ip6tnl type ip6tnl local 2001:db8::21 mode ip6ip6 allow-localremote", "ip link set ha-ip6tnl up",
			"ip addr add 2001:db8::100/128 dev ha-ip6tnl"}},
		{"gre", []Virtual{tunnelOf(1, false), six(tunnelOf(1, false))}, func(*facts) {}, append(slices.Clone(silent),
			"ip link add ha-gre type gre local 10.0.0.21", "ip link set ha-gre up",
			"ip link add ha-ip6gre type ip6gre local 2001:db8::21", "ip link set ha-ip6gre up",
			"ip addr add 10.0.0.100/32 dev ha-gre", "ip addr add 2001:db8::100/128 dev ha-ip6gre")},
		{"gre with a checksum", []Virtual{tunnelOf(1, true)}, func(*facts) {}, append(slices.Clone(silent),
			"ip link add ha-gre type gre local 10.0.0.21 icsum", "ip link set ha-gre up",
			"ip addr add 10.0.0.100/32 dev ha-gre")},
		{"gue", []Virtual{tunnelOf(2, false), six(tunnelOf(2, false))}, func(*facts) {}, append(slices.Clone(silent),
			"ip link add ha-ipip type ipip local 10.0.0.21", "ip link set ha-ipip up",
			"ip link add ha-ip6tnl type ip6tnl local 2001:db8::21 mode ip6ip6 allow-localremote", "ip link set ha-ip6tnl up",
			"ip addr add 10.0.0.100/32 dev ha-ipip", "ip addr add 2001:db8::100/128 dev ha-ip6tnl",
			"modprobe fou", "ip fou add port 6080 gue", "ip fou add port 6080 gue -6")},
		{"one interface for ipip and gue, and direct routing", []Virtual{tunnelOf(0, false), tunnelOf(2, false), tunnelOf(3, false)},
			func(f *facts) { f.fou = true }, append(slices.Clone(silent),
				"ip addr add 10.0.0.100/32 dev lo", "ip route add 10.0.0.100/32 dev lo",
				"ip link add ha-ipip type ipip local 10.0.0.21", "ip link set ha-ipip up",
				"ip addr add 10.0.0.100/32 dev ha-ipip", "ip fou add port 6080 gue")},
		{"strict by default", []Virtual{tunnelOf(0, false)}, func(f *facts) { f.sysctls[rpFilter("default")] = "1" }, append(slices.Clone(silent),
			"ip link add ha-ipip type ipip local 10.0.0.21", "sysctl -w net.ipv4.conf.ha-ipip.rp_filter=2", "ip link set ha-ipip up",
			"ip addr add 10.0.0.100/32 dev ha-ipip")},
		{"strict for all", []Virtual{tunnelOf(1, false)}, func(f *facts) { f.sysctls[rpFilter("all")] = "1" }, append(slices.Clone(silent),
			"ip link add ha-gre type gre local 10.0.0.21", "sysctl -w net.ipv4.conf.ha-gre.rp_filter=2", "ip link set ha-gre up",
			"ip addr add 10.0.0.100/32 dev ha-gre")},
		{"the operator's own tunnel", []Virtual{tunnelOf(0, false)}, func(f *facts) {
			f.tunnels["his"] = tunnel{end: tunnelOf(0, false).Tunnel.end()}
			f.sysctls[rpFilter("his")] = "1"
		}, append(slices.Clone(silent),
			"sysctl -w net.ipv4.conf.his.rp_filter=2", "ip link set his up", "ip addr add 10.0.0.100/32 dev his")},
		{"a second address of this machine", []Virtual{tunnelOf(0, false), {Addr: addr("10.0.0.101"), Forward: ipvs.ForwardTunnel, Tunnel: Tunnel{Local: addr("10.0.0.31")}}},
			func(*facts) {}, append(slices.Clone(silent),
				"ip link add ha-ipip type ipip local 10.0.0.21", "ip link set ha-ipip up",
				"ip link add ha-ipip-2 type ipip local 10.0.0.31", "ip link set ha-ipip-2 up",
				"ip addr add 10.0.0.100/32 dev ha-ipip", "ip addr add 10.0.0.101/32 dev ha-ipip-2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := bare()
			tt.with(&f)
			virtuals, err := normal(tt.virtuals)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, text(planStart(want(virtuals, f), f))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOfTunnels(t *testing.T) {
	f := bare()
	f.sysctls[rpFilter("all")] = "1"
	f.tunnels["ha-ipip"] = tunnel{end: tunnelOf(0, false).Tunnel.end()}
	f.tunnels["ha-gre"] = tunnel{end: tunnelOf(1, false).Tunnel.end(), up: true}
	f.tunnels["his"] = tunnel{end: end{Kind: "gre", Local: addr("10.0.0.31")}, up: true}
	for device, value := range map[string]string{"ha-ipip": "1", "ha-gre": "0", "his": "2"} {
		f.sysctls[rpFilter(device)] = value
	}
	f.addresses["ha-gre"] = []netip.Prefix{host(addr("10.0.0.100"))}
	f.addresses["lo"] = append(f.addresses["lo"], host(addr("10.0.0.100")))
	f.ports = []netif.Port{{Number: 6081}}
	s := state{
		Sysctls: map[string]string{rpFilter("his"): "1"}, Raised: []string{"his"}, Ports: f.ports,
		Tunnels: []namedTunnel{{"ha-gre", tunnelOf(1, false).Tunnel.end()}, {"ha-ipip", tunnelOf(0, false).Tunnel.end()}},
		Places:  []place{{addr("10.0.0.100"), "ha-gre"}},
	}
	check := func(want []string, virtuals ...Virtual) {
		t.Helper()
		if diff := cmp.Diff(want, text(status(virtuals, f, s))[4:]); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	}
	check([]string{
		"MISSING  interface ha-ipip, ipip local 10.0.0.21 (it is down)",
		"MISSING  net.ipv4.conf.ha-ipip.rp_filter = 2 (it is 1)",
		"MISSING  address 10.0.0.100/32 on ha-ipip (it is not there)",
		"MISSING  port 6080 gue (it is not there)",
		"SURPLUS  port 6081 gue (an earlier start added it, and no virtual address needs it now)",
		"SURPLUS  address 10.0.0.100/32 on ha-gre (an earlier start added it, and it is no virtual address now)",
		"SURPLUS  interface his, up (it was down before an earlier start, and no virtual address needs it now)",
		"SURPLUS  net.ipv4.conf.his.rp_filter = 2 (it was 1 before an earlier start, and no virtual address needs it now)",
		"SURPLUS  interface ha-gre, gre local 10.0.0.21 (an earlier start added it, and no virtual address needs it now)",
	}, tunnelOf(2, false))
	s = state{}
	f.addresses["his"] = []netip.Prefix{host(addr("10.0.0.100"))}
	check([]string{
		"ok       interface ha-gre, gre local 10.0.0.21",
		"MISSING  net.ipv4.conf.ha-gre.rp_filter = 2 (it is 0, and 1 for all)",
		"ok       address 10.0.0.100/32 on ha-gre",
		"SURPLUS  address 10.0.0.100/32 on his (the virtual address may be on ha-gre as 10.0.0.100/32 alone)",
	}, tunnelOf(1, false))
}

// With another checksum it is another tunnel, which the kernel refuses beside the first.
func TestStartExchangesATunnel(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	if _, err := Start([]Virtual{tunnelOf(1, false)}, o); err != nil {
		t.Fatal(err)
	}
	done, err := Start([]Virtual{tunnelOf(1, true)}, o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ip addr del 10.0.0.100/32 dev ha-gre", "ip link del ha-gre",
		"ip link add ha-gre-2 type gre local 10.0.0.21 icsum", "ip link set ha-gre-2 up", "ip addr add 10.0.0.100/32 dev ha-gre-2",
	}
	if diff := cmp.Diff(want, text(done)); diff != "" {
		t.Errorf("start took these steps (-want +got):\n%s", diff)
	}
}

func TestTunnelsAreChecked(t *testing.T) {
	m := &fakeMachine{now: bare(), failAt: -1}
	m.now.tunnels["his"] = tunnel{end: end{Kind: "gre", Local: addr("10.0.0.21")}}
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), machine: m}
	with := func(change func(*Virtual)) []Virtual {
		v := tunnelOf(2, false)
		change(&v)
		return []Virtual{v}
	}
	for _, tt := range []struct {
		virtuals []Virtual
		want     string
	}{
		{with(func(v *Virtual) { v.Tunnel.Local = netip.Addr{} }), "the tunnel for 10.0.0.100 has no address of this machine to end at"},
		{with(func(v *Virtual) { v.Tunnel.Local = addr("2001:db8::21") }), "the tunnel for 10.0.0.100 ends at 2001:db8::21, which is of the other address family"},
		{with(func(v *Virtual) { v.Tunnel.Local = v.Addr }), "the tunnel for 10.0.0.100 ends at the virtual address itself"},
		{with(func(v *Virtual) { v.Tunnel.Local = addr("10.0.0.23") }), "the ipip tunnel cannot end at 10.0.0.23: it is no address of this machine"},
		{with(func(v *Virtual) { v.Tunnel.Port = 0 }), "the gue tunnel for 10.0.0.100 has no port"},
		{[]Virtual{tunnelOf(1, true), tunnelOf(1, false)}, "gre tunnels to 10.0.0.21 cannot be with and without a checksum at once"},
		{[]Virtual{tunnelOf(1, true)}, "the interface his, gre local 10.0.0.21, which was not made here, is in the way of gre local 10.0.0.21 icsum"},
	} {
		if _, err := Start(tt.virtuals, o); fmt.Sprint(err) != tt.want {
			t.Errorf("start with %v: %v, want %q", tt.virtuals, err, tt.want)
		}
	}
	if m.count != 0 {
		t.Errorf("%d steps were taken, want none", m.count)
	}
}
