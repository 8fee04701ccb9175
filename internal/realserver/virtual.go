package realserver

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/ipvs"
)

// Virtual is a virtual address and the way by which the directors send its packets.
type Virtual struct {
	Addr netip.Addr
	// Forward is ipvs.ForwardDirect or ipvs.ForwardTunnel.
	Forward ipvs.ForwardMethod
	// Tunnel counts only with ForwardTunnel.
	Tunnel Tunnel
}

// Tunnel is the end of the directors' tunnels.
type Tunnel struct {
	Type ipvs.TunnelType
	// Local is this machine's own address that the directors send to.
	Local netip.Addr
	Port  uint16 // UDP; GUE only
	// Checksum is that of GRE. The end has to know of it; that of GUE is UDP's own.
	Checksum bool
}

// end is what distinguishes a tunnel's interface from others. What comes in GUE leaves it
// at one for IP in IP.
type end struct {
	Kind     string     `json:"kind"` // as in netif.Tunnel
	Local    netip.Addr `json:"local"`
	Checksum bool       `json:"checksum,omitempty"`
}

func (t Tunnel) end() end {
	e := end{Local: t.Local}
	gre, six := t.Type == ipvs.TunnelGRE, t.Local.Is6()
	switch {
	case gre && six:
		e.Kind = "ip6gre"
	case gre:
		e.Kind = "gre"
	case six:
		e.Kind = "ip6tnl"
	default:
		e.Kind = "ipip"
	}
	e.Checksum = gre && t.Checksum
	return e
}

// same tells whether the kernel takes two ends for one.
func (e end) same(other end) bool { return e.Kind == other.Kind && e.Local == other.Local }

// Direct are virtual addresses of direct routing.
func Direct(addrs ...netip.Addr) []Virtual {
	var list []Virtual
	for _, a := range addrs {
		list = append(list, Virtual{Addr: a, Forward: ipvs.ForwardDirect})
	}
	return list
}

// normal is the virtual addresses once each, in their order.
func normal(virtuals []Virtual) ([]Virtual, error) {
	var out []Virtual
	var ends []end
	for _, v := range virtuals {
		if err := CheckAddress(v.Addr); err != nil {
			return nil, err
		}
		v.Addr = v.Addr.Unmap()
		if v.Forward != ipvs.ForwardTunnel {
			v.Tunnel = Tunnel{}
		} else if err := v.Tunnel.normal(v.Addr); err != nil {
			return nil, err
		}
		if slices.Contains(out, v) {
			continue
		}
		if v.Forward == ipvs.ForwardTunnel {
			e := v.Tunnel.end()
			if slices.ContainsFunc(ends, func(other end) bool { return e.same(other) && e != other }) {
				return nil, fmt.Errorf("gre tunnels to %v cannot be with and without a checksum at once", e.Local)
			}
			ends = append(ends, e)
		}
		out = append(out, v)
	}
	if len(out) == 0 {
		return nil, errors.New("no virtual addresses")
	}
	return out, nil
}

// normal leaves of a tunnel to a virtual address what counts.
func (t *Tunnel) normal(vip netip.Addr) error {
	t.Local = t.Local.Unmap()
	switch {
	case !t.Local.IsValid():
		return fmt.Errorf("the tunnel for %v has no address of this machine to end at", vip)
	case t.Local.Is4() != vip.Is4():
		return fmt.Errorf("the tunnel for %v ends at %v, which is of the other address family", vip, t.Local)
	case t.Local == vip:
		return fmt.Errorf("the tunnel for %v ends at the virtual address itself", vip)
	case t.Type == ipvs.TunnelGUE && t.Port == 0:
		return fmt.Errorf("the gue tunnel for %v has no port", vip)
	}
	if t.Type != ipvs.TunnelGUE {
		t.Port = 0
	}
	if t.Type != ipvs.TunnelGRE {
		t.Checksum = false
	}
	return nil
}

// CheckAddress tells whether clients anywhere could send to the address, which a
// virtual address is for. The error says why not.
func CheckAddress(a netip.Addr) error {
	var kind string
	switch v := a.Unmap(); {
	case !v.IsValid():
		return errors.New("an address is missing")
	case v.Zone() != "" || v.IsLinkLocalUnicast():
		kind = "it is a link-local address"
	case v.IsLoopback():
		kind = "it is a loopback address"
	case v.IsUnspecified():
		kind = "it is the unspecified address"
	case v.IsMulticast():
		kind = "it is a multicast address"
	case v == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		kind = "it is the broadcast address"
	default:
		return nil
	}
	return fmt.Errorf("%v cannot be a virtual address: %s", a, kind)
}

// CheckOwn tells whether one of the addresses is on an interface other than lo, where a
// real server must not have a virtual address: it is this machine's own, or ARP would be
// answered for it. The tunnels' interfaces, where it may be, must not be among them.
func CheckOwn(vips []netip.Addr, byInterface map[string][]netip.Prefix) error {
	for _, v := range vips {
		for _, ifname := range slices.Sorted(maps.Keys(byInterface)) {
			for _, p := range byInterface[ifname] {
				if ifname != loopback && p.Addr() == v.Unmap() {
					return fmt.Errorf("%v cannot be a virtual address: it is this machine's own address on %s", v, ifname)
				}
			}
		}
	}
	return nil
}
