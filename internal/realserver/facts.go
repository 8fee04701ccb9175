package realserver

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/internal/netif"
)

// param is a kernel parameter that keeps a real server silent. The kernel takes the
// greater of the values for "all" and for the interface that a packet comes in on,
// so "all" decides; "lo" is what the classic scripts set as well.
type param struct {
	name string
	want string
	// also is a value that serves as well and is left alone.
	also string
}

// params are in the order in which they are set.
var params = []param{
	// 1: answer ARP only for addresses of the interface that it came in on.
	// 2 also wants the sender in the same subnet.
	{"net/ipv4/conf/all/arp_ignore", "1", "2"},
	{"net/ipv4/conf/lo/arp_ignore", "1", "2"},
	// 2: never name a virtual address as the sender of an ARP request, from which
	// the neighbours would learn it.
	{"net/ipv4/conf/all/arp_announce", "2", "2"},
	{"net/ipv4/conf/lo/arp_announce", "2", "2"},
}

// ok tells whether a value serves.
func (p param) ok(value string) bool { return value == p.want || value == p.also }

// loose is the value of rp_filter with which the kernel takes a packet from a source that
// it has any way to. What leaves a tunnel comes from the clients, and the way to them is
// not the tunnel: with 1, strict, it would be dropped. Loose takes it at an interface with
// an address, which is why the virtual address is there and not on lo.
const loose = "2"

// rpFilter is the parameter of an interface. The greater value of its own and of "all"
// counts (ip-sysctl).
func rpFilter(device string) string { return "net/ipv4/conf/" + device + "/rp_filter" }

// rpFilterDevice is the interface of such a parameter.
func rpFilterDevice(name string) (device string, ok bool) {
	rest, ok := strings.CutPrefix(name, "net/ipv4/conf/")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "/rp_filter")
}

// looseAt tells whether packets from everywhere may come out of the tunnel. One that is
// not there gets the default.
func (f facts) looseAt(device string) bool {
	own, there := f.sysctls[rpFilter(device)]
	if !there {
		own = f.sysctls[rpFilter("default")]
	}
	return max(own, f.sysctls[rpFilter("all")]) != "1"
}

// facts are what the machine looks like.
type facts struct {
	// addresses are all addresses, by interface.
	addresses map[string][]netip.Prefix
	// routes are the destinations of the host routes over the loopback interface.
	routes []netip.Addr
	// tunnels are the interfaces at which tunnels end, by name.
	tunnels map[string]tunnel
	// ports are those for GUE; fou tells whether the kernel can have any, as it is.
	ports []netif.Port
	fou   bool
	// sysctls are the values of parameters.
	sysctls map[string]string
}

// tunnel is the interface at which tunnels end.
type tunnel struct {
	end end
	up  bool
}

// parameters are the kernel parameters that count on a machine with these tunnels.
func (f facts) parameters() []string {
	var names []string
	for _, p := range params {
		names = append(names, p.name)
	}
	names = append(names, rpFilter("all"), rpFilter("default"))
	for _, name := range slices.Sorted(maps.Keys(f.tunnels)) {
		if f.tunnels[name].end.Local.Is4() {
			names = append(names, rpFilter(name))
		}
	}
	return names
}

func (f facts) hasAddress(p place) bool      { return slices.Contains(f.addresses[p.Device], host(p.Addr)) }
func (f facts) hasRoute(a netip.Addr) bool   { return slices.Contains(f.routes, a) }
func (f facts) hasPort(p netif.Port) bool    { return slices.Contains(f.ports, p) }
func (f facts) hasTunnel(t namedTunnel) bool { return f.tunnels[t.Name].end == t.end }

// place is an address on an interface.
type place struct {
	Addr   netip.Addr `json:"address"`
	Device string     `json:"interface"`
}

// namedTunnel is a tunnel's interface and its end.
type namedTunnel struct {
	Name string `json:"name"`
	end
}
