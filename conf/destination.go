package conf

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/ipvs"
)

// Services yields the kernel's services of the virtual server: one for each address and
// port, or one for its firewall mark. They differ in their keys alone.
func (vs *VirtualServer) Services() iter.Seq[ipvs.Service] {
	return func(yield func(ipvs.Service) bool) {
		s := vs.Service
		if s.Key.FWMark != 0 {
			yield(s)
			return
		}
		for _, a := range vs.Addresses {
			for port := int(a.First); port <= int(a.Last); port++ {
				s.Key = ipvs.AddrKey(vs.Service.Key.Protocol, netip.AddrPortFrom(a.Addr, uint16(port)))
				if !yield(s) {
					return
				}
			}
		}
	}
}

// VIPs are the addresses that clients connect to, as far as the file tells: each once, in
// its order. A firewall mark that somebody else sets has none.
func (vs *VirtualServer) VIPs() []netip.Addr {
	var vips []netip.Addr
	for _, to := range vs.Ports() {
		if !slices.Contains(vips, to.Addr) {
			vips = append(vips, to.Addr)
		}
	}
	return vips
}

// Ports are the addresses and ports that clients connect to: those of the virtual server,
// or those that get its firewall mark.
func (vs *VirtualServer) Ports() []ipvs.Ports {
	if len(vs.Marked) == 0 {
		return vs.Addresses
	}
	list := make([]ipvs.Ports, len(vs.Marked))
	for i, m := range vs.Marked {
		list[i] = m.To
	}
	return list
}

// Destination is the real server as one of the virtual server's services has it. What
// follows the service's port gets that of the key: every real server that is not
// translated to, and one with port 0.
func (vs *VirtualServer) Destination(key ipvs.ServiceKey, rs *RealServer) ipvs.Destination {
	port := rs.Address.Port()
	if vs.follows(rs) {
		port = key.Addr.Port() // 0 for a firewall mark and for every port: the packet's own
	}
	return ipvs.Destination{
		Key:     netip.AddrPortFrom(rs.Address.Addr(), port),
		Forward: rs.Forward.Kernel(), Weight: rs.Weight,
		UpperThreshold: rs.ConnectionsMax, LowerThreshold: rs.ConnectionsMin,
		Tunnel: rs.Tunnel.Type, TunnelPort: rs.Tunnel.Port, TunnelFlags: rs.Tunnel.Flags,
	}
}

// follows tells whether connections keep the port that the client chose. The kernel
// translates it for NAT and full NAT alone, and not for the persistent connections of a service without
// a port (ip_vs_sched_persist).
func (vs *VirtualServer) follows(rs *RealServer) bool {
	s := vs.Service
	switch {
	case rs.Forward.Kernel() != ipvs.ForwardMasq, rs.Address.Port() == 0:
		return true
	case s.Key.FWMark != 0:
		return s.Flags&ipvs.FlagPersistent != 0
	}
	return s.Key.Addr.Port() == 0
}

// protocol is that of the packets; 0 if it is not known.
func (vs *VirtualServer) protocol() ipvs.Protocol {
	if len(vs.Marked) > 0 {
		return vs.Marked[0].Protocol
	}
	return vs.Service.Key.Protocol
}

// located tells whether the file says where packets come to. After a mistake it may not.
func (vs *VirtualServer) located() bool {
	return vs.Service.Key.FWMark != 0 || len(vs.Addresses) > 0
}

// onePort is the only port that clients connect to; 0 if there are several, or every one.
func (vs *VirtualServer) onePort() uint16 {
	if vs.Service.Key.FWMark != 0 {
		return 0
	}
	port := vs.Service.Key.Addr.Port()
	for _, a := range vs.Addresses {
		if a.First != port || a.Last != port {
			return 0
		}
	}
	return port
}

// same tells whether the kernel has one destination for two real servers, in one of the
// services at least.
func (vs *VirtualServer) same(a, b *RealServer) bool {
	if a.Address.Addr() != b.Address.Addr() {
		return false
	}
	if a.Address == b.Address || vs.onePort() != 0 {
		return a.Address == b.Address
	}
	switch followsA, followsB := vs.follows(a), vs.follows(b); {
	case followsA && followsB:
		return true
	case followsA:
		return vs.hasPort(b.Address.Port())
	case followsB:
		return vs.hasPort(a.Address.Port())
	}
	return false
}

func (vs *VirtualServer) hasPort(port uint16) bool {
	return slices.ContainsFunc(vs.Addresses, func(to ipvs.Ports) bool { return to.Has(port) })
}
