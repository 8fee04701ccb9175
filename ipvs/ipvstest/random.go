package ipvstest

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// RandomTable returns a table that a kernel with all of IPVS takes. Keys come from
// a small set, so that two random tables have services and destinations in common.
// With mixed there may be tunnelled destinations of the other family, which no
// kernel takes while a sync daemon runs.
func RandomTable(r *rand.Rand, mixed bool) ipvs.Table {
	t := ipvs.Table{}
	for range r.IntN(6) {
		s := randomService(r)
		e := ipvs.Entry{Service: s, Destinations: map[ipvs.DestinationKey]ipvs.Destination{}}
		for range r.IntN(6) {
			d := randomDestination(r, s.Key.Is6(), mixed)
			e.Destinations[d.Key] = d
		}
		t[s.Key] = e
	}
	return t
}

// RandomKeys are the keys that [RandomTable] draws from.
func RandomKeys() []ipvs.ServiceKey {
	var keys []ipvs.ServiceKey
	for _, p := range []ipvs.Protocol{ipvs.TCP, ipvs.UDP, ipvs.SCTP} {
		keys = append(keys,
			ipvs.AddrKey(p, netip.MustParseAddrPort("10.0.0.100:80")),
			ipvs.AddrKey(p, netip.MustParseAddrPort("[fd00::100]:80")))
	}
	return append(keys,
		ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.200:0")),
		ipvs.FWMarkKey(10, false), ipvs.FWMarkKey(10, true), ipvs.FWMarkKey(1<<32-1, false))
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func randomService(r *rand.Rand) ipvs.Service {
	s := ipvs.Service{
		Key:       pick(r, RandomKeys()...),
		Scheduler: pick(r, "rr", "wrr", "lc", "wlc", "sh", "mh", "none"),
		Flags:     pick(r, 0, ipvs.FlagOnePacket, ipvs.FlagSched1, ipvs.FlagSched2, ipvs.FlagSched1|ipvs.FlagSched2|ipvs.FlagSched3),
	}
	// Port 0 means every port with persistence only.
	if anyPort := s.Key.FWMark == 0 && s.Key.Addr.Port() == 0; anyPort || r.IntN(3) == 0 {
		s.Flags |= ipvs.FlagPersistent
		s.Persistence = time.Duration(pick(r, 1, 300, 86400)) * time.Second
		s.PersistenceBits = pick(r, 0, 1, 24, 32, ipvs.OddPersistenceMask)
		if s.PersistenceBits == ipvs.OddPersistenceMask {
			s.OddMask = pick(r, [4]byte{}, [4]byte{255, 0, 255, 0})
		}
		if s.Key.Is6() {
			s.PersistenceBits, s.OddMask = pick(r, 0, 1, 64, 128), [4]byte{}
		}
		s.Engine = pick(r, "", "", "sip")
	}
	return s
}

func randomDestination(r *rand.Rand, ipv6, mixed bool) ipvs.Destination {
	d := ipvs.Destination{
		Forward:        pick(r, ipvs.ForwardMasq, ipvs.ForwardTunnel, ipvs.ForwardDirect),
		Weight:         pick[uint32](r, 0, 0, 1, 2, 70000, ipvs.MaxWeight),
		UpperThreshold: pick[uint32](r, 0, 100, 70000),
	}
	if d.UpperThreshold > 0 {
		d.LowerThreshold = pick[uint32](r, 0, 50)
	}
	if mixed && d.Forward == ipvs.ForwardTunnel && r.IntN(4) == 0 {
		ipv6 = !ipv6
	}
	d.Key = netip.AddrPortFrom(pick(r, netip.MustParseAddr("10.0.0.21"), netip.MustParseAddr("10.0.0.22"),
		netip.MustParseAddr("10.0.0.23"), netip.MustParseAddr("192.168.255.1")), pick[uint16](r, 80, 8080))
	if ipv6 {
		d.Key = netip.AddrPortFrom(pick(r, netip.MustParseAddr("fd00::21"), netip.MustParseAddr("fd00::22"),
			netip.MustParseAddr("2001:db8::1")), pick[uint16](r, 80, 8080))
	}
	if d.Forward == ipvs.ForwardTunnel {
		switch d.Tunnel = pick(r, ipvs.TunnelIPIP, ipvs.TunnelGUE, ipvs.TunnelGRE); d.Tunnel {
		case ipvs.TunnelGUE:
			d.TunnelPort = pick[uint16](r, 6080, 6081)
			d.TunnelFlags = pick(r, 0, ipvs.TunnelChecksum, ipvs.TunnelRemoteChecksum)
		case ipvs.TunnelGRE:
			d.TunnelFlags = pick(r, 0, ipvs.TunnelChecksum)
		}
	}
	return d
}
