package ipvs

import "net/netip"

// ForwardMethod is how packets reach a destination (IP_VS_CONN_F_FWD_MASK,
// linux/ip_vs.h).
type ForwardMethod uint8

// The forwarding methods, numbered as in the kernel.
const (
	ForwardMasq   ForwardMethod = 0 // NAT; ipvsadm -m
	ForwardLocal  ForwardMethod = 1 // only seen when reading; nothing asks for it
	ForwardTunnel ForwardMethod = 2 // ipvsadm -i
	ForwardDirect ForwardMethod = 3 // direct routing; ipvsadm -g
)

// ForwardFullNAT is ForwardMasq with the source address translated too. Its number is that
// of LVS's FULLNAT patch; a kernel without it gets ForwardMasq, and nftables translates the
// source ([Translation]). So it is in configurations, never in a table.
const ForwardFullNAT ForwardMethod = 5

// Kernel is the method that the kernel's table has.
func (f ForwardMethod) Kernel() ForwardMethod {
	if f == ForwardFullNAT {
		return ForwardMasq
	}
	return f
}

// TunnelType is the encapsulation of ForwardTunnel (IP_VS_CONN_F_TUNNEL_TYPE_*).
type TunnelType uint8

// The tunnel types, numbered as in the kernel.
const (
	TunnelIPIP TunnelType = 0
	TunnelGUE  TunnelType = 1
	TunnelGRE  TunnelType = 2
)

// The tunnel flags (IP_VS_TUNNEL_ENCAP_FLAG_*, linux/ip_vs.h).
const (
	TunnelChecksum       uint16 = 0x1 // ipvsadm --tun-csum; GUE and GRE
	TunnelRemoteChecksum uint16 = 0x2 // ipvsadm --tun-remcsum; GUE
)

// MaxWeight is the kernel's greatest weight; it keeps weights as signed integers
// and refuses negative ones.
const MaxWeight = 1<<31 - 1

// DestinationKey identifies a destination within its service.
type DestinationKey = netip.AddrPort

// Destination is one destination of a service, as it is configured.
type Destination struct {
	Key     DestinationKey
	Forward ForwardMethod
	// Weight is the kernel's, 0 to MaxWeight. 0 takes no new connections.
	Weight uint32
	// UpperThreshold and LowerThreshold bound the connections; 0 is no bound.
	UpperThreshold, LowerThreshold uint32
	// Tunnel and its parameters count only with ForwardTunnel.
	Tunnel      TunnelType
	TunnelPort  uint16 // GUE only
	TunnelFlags uint16 // GUE and GRE only; TunnelChecksum, TunnelRemoteChecksum
}

// Canonical returns d without the values that have no effect: the tunnel's when it
// is not tunnelled, the port of a tunnel without one. Two destinations do the same
// if their canonical forms are equal.
func (d Destination) Canonical() Destination {
	d.Key = netip.AddrPortFrom(d.Key.Addr().Unmap(), d.Key.Port())
	switch {
	case d.Forward != ForwardTunnel:
		d.Tunnel, d.TunnelPort, d.TunnelFlags = TunnelIPIP, 0, 0
	case d.Tunnel == TunnelIPIP:
		d.TunnelPort, d.TunnelFlags = 0, 0
	case d.Tunnel == TunnelGRE:
		d.TunnelPort = 0
		d.TunnelFlags &= TunnelChecksum
	}
	return d
}

// Connections are a destination's connection counts as the kernel reports them.
type Connections struct {
	Active, Inactive, Persistent uint32
}
