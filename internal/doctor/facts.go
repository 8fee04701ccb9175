package doctor

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/ipvs"
)

// Facts are what a machine looks like.
type Facts struct {
	// Asked, Environment and Hostname are what may name the director that this machine is.
	Asked, Environment, Hostname string

	Interfaces []netif.Interface
	// Sysctls are the kernel parameters' values by their names with slashes. One that is
	// not there does not exist on this machine.
	Sysctls map[string]string

	RealServerFacts RealServerFacts
	DirectorFacts   DirectorFacts

	// Unseen is what could not be looked at.
	Unseen []Unseen
}

// RealServerFacts are those that only a real server's part needs.
type RealServerFacts struct {
	// Answers are the ways that answers take to clients far away, by the own address that
	// they come from. One without any way is not there.
	Answers map[netip.Addr]netif.Way
	// Listeners are the sockets that take clients' packets.
	Listeners []Listener
	// NoListeners says that they could not be read.
	NoListeners bool
	// Tunnels are the interfaces at which tunnels to one own address end, Ports those of
	// UDP at which the kernel takes GUE.
	Tunnels []netif.Tunnel
	Ports   []netif.Port
	// NoTunnels says that they could not be read.
	NoTunnels bool
	// Modules are the kernel modules that tunnels need.
	Modules map[string]Presence
}

// Listener is a socket that takes connections, or UDP packets from anybody.
type Listener struct {
	Protocol ipvs.Protocol
	// Addr may be the unspecified address, of IPv6 for both families.
	Addr netip.AddrPort
}

// takes tells whether packets to the address come to the socket.
func (l Listener) takes(p ipvs.Protocol, to netip.AddrPort) bool {
	a := l.Addr.Addr()
	return l.Protocol == p && l.Addr.Port() == to.Port() &&
		(a == to.Addr() || a.IsUnspecified() && (a.Is6() || to.Addr().Is4()))
}

// Presence is whether the kernel has a module, loaded or to be loaded.
type Presence uint8

// The answers.
const (
	Undecided Presence = iota
	Present
	Absent
)

// Unseen is something that could not be looked at.
type Unseen struct {
	What string // in an operator's words: "the nftables rules"
	Why  string
	// Privilege: as root it could.
	Privilege bool
}

// place is an address and where it is.
type place struct {
	on netif.Interface
	netif.InterfaceAddress
}

// places are where an address is.
func (f Facts) places(a netip.Addr) []place {
	var list []place
	for _, i := range f.Interfaces {
		for _, p := range i.Addresses {
			if p.Prefix.Addr() == a {
				list = append(list, place{i, p})
			}
		}
	}
	return list
}

func (f Facts) isLocal(a netip.Addr) bool { return len(f.places(a)) > 0 }

// local are all addresses of the machine.
func (f Facts) local() []netip.Addr {
	var list []netip.Addr
	for _, i := range f.Interfaces {
		for _, p := range i.Addresses {
			list = append(list, p.Prefix.Addr())
		}
	}
	return list
}

// ownText lists the addresses that tell machines apart.
func (f Facts) ownText() string {
	var own []netip.Addr
	for _, a := range f.local() {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			own = append(own, a)
		}
	}
	if len(own) == 0 {
		return "no address"
	}
	return join(own)
}

func (f Facts) named(name string) (netif.Interface, bool) {
	i := slices.IndexFunc(f.Interfaces, func(i netif.Interface) bool { return i.Name == name })
	if i < 0 {
		return netif.Interface{}, false
	}
	return f.Interfaces[i], true
}

// number is a kernel parameter's value, 0 if it is not there.
func (f Facts) number(name string) int {
	n, _ := strconv.Atoi(f.Sysctls[name])
	return n
}

// inForce is what counts of an IPv4 parameter on an interface for which the kernel takes
// the greater of the interface's value and that of all (IN_DEV_MAXCONF,
// include/linux/inetdevice.h): arp_ignore, arp_announce, rp_filter.
func (f Facts) inForce(ifname, name string) int {
	return max(f.number("net/ipv4/conf/all/"+name), f.number("net/ipv4/conf/"+ifname+"/"+name))
}
