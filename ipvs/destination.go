package ipvs

import "net/netip"

// ForwardMethod is how packets reach a destination (IP_VS_CONN_F_FWD_MASK,
// linux/ip_vs.h).
type ForwardMethod uint8

// The forwarding methods, numbered as in the kernel.
const (
	ForwardMasq   ForwardMethod = 0 // NAT; ipvsadm -m
	ForwardLocal  ForwardMethod = 1 // seen when reading; the kernel chooses it
	ForwardTunnel ForwardMethod = 2 // ipvsadm -i
	ForwardDirect ForwardMethod = 3 // direct routing; ipvsadm -g
)

// TunnelType is the encapsulation of ForwardTunnel (IP_VS_CONN_F_TUNNEL_TYPE_*).
type TunnelType uint8

// The tunnel types, numbered as in the kernel.
const (
	TunnelIPIP TunnelType = 0
	TunnelGUE  TunnelType = 1
	TunnelGRE  TunnelType = 2
)

// DestinationKey identifies a destination within its service.
type DestinationKey = netip.AddrPort

// Destination is one destination of a service, as it is configured.
type Destination struct {
	Key     DestinationKey
	Forward ForwardMethod
	// Weight is the kernel's, 0 to 2147483647. 0 takes no new connections.
	Weight uint32
	// UpperThreshold and LowerThreshold bound the connections; 0 is no bound.
	UpperThreshold, LowerThreshold uint32
	Tunnel                         TunnelType
	TunnelPort                     uint16 // GUE only
	TunnelFlags                    uint16 // IP_VS_TUNNEL_ENCAP_FLAG_*
}

// Connections are a destination's connection counts as the kernel reports them.
type Connections struct {
	Active, Inactive, Persistent uint32
}
