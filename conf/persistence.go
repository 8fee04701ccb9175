package conf

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

// persistence reads what keeps a client's connections on one real server.
func (p *parser) persistence(t *node, vs *VirtualServer) {
	if t.kid("persistence") == nil {
		for _, key := range []string{"persistence_netmask", "persistence_engine"} {
			if k := t.kid(key); k != nil {
				p.keyErrorf(k, "%s has no meaning without persistence", key)
			}
		}
		return
	}
	d := p.duration(t.kid("persistence"), 0, time.Second, maxPersistence, time.Second)
	s := &vs.Service
	netmask := p.persistenceNetmask(t.kid("persistence_netmask"), *vs)
	engine := p.choice(t.kid("persistence_engine"), "a persistence engine", "", []string{"sip"}, nil)
	if protocol := vs.protocol(); engine != "" && protocol != 0 && protocol != ipvs.UDP {
		p.errorf(t.kid("persistence_engine"), "the engine %s is for udp, and this virtual server is for %s", engine, protocol)
	}
	if d > 0 {
		s.Flags |= ipvs.FlagPersistent
		s.Persistence, s.PersistenceBits, s.Engine = d, netmask, engine
	}
}

// persistenceNetmask reads a dotted mask or a prefix length, and returns the length. The
// default keeps clients apart.
func (p *parser) persistenceNetmask(n *node, vs VirtualServer) int {
	bits := 32
	if vs.Service.Key.Is6() {
		bits = 128
	}
	s, dotted := stringOf(n)
	if !dotted {
		return int(p.integer(n, int64(bits), 1, int64(bits)))
	}
	mask, err := netip.ParseAddr(s)
	switch {
	case err != nil || !mask.Is4():
		p.errorf(n, "%q is neither a mask, such as \"255.255.255.0\", nor a prefix length, such as 24", shorten(s))
		return bits
	case bits == 128:
		p.errorf(n, "%s is a mask of IPv4, and the virtual server is IPv6: want a prefix length from 1 to 128", mask)
		return bits
	}
	for length := 1; length <= bits; length++ {
		if ones, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(length); ones.Addr() == mask {
			return length
		}
	}
	p.errorf(n, "%s is not a mask of leading ones, such as \"255.255.255.0\"", mask)
	return bits
}

// onePacket reads whether each packet is balanced by itself.
func (p *parser) onePacket(n *node, vs *VirtualServer) {
	if !p.boolean(n, false) {
		return
	}
	if protocol := vs.protocol(); protocol != 0 && protocol != ipvs.UDP {
		p.errorf(n, "one_packet is for udp, and this virtual server is for %s", protocol)
		return
	}
	vs.Service.Flags |= ipvs.FlagOnePacket
}

// astray warns of answers that clients do not take for answers. The kernel forgets a
// connection of one packet at once, and has nothing then to translate the answer by. The
// engine sip alone makes one from the answer itself (ip_vs_sip_conn_out).
func (p *parser) astray(t *node, vs VirtualServer) {
	nat := func(rs RealServer) bool { return rs.Forward == ipvs.ForwardMasq }
	if vs.Service.Flags&ipvs.FlagOnePacket == 0 || vs.Service.Engine == "sip" ||
		!slices.ContainsFunc(vs.RealServers, nat) && (vs.SorryServer == nil || !nat(*vs.SorryServer)) {
		return
	}
	p.warnf(t.at("one_packet"), "with forward = \"nat\" answers come from the real server's own address, which clients do not expect: "+
		"the kernel keeps no connections with one_packet; right for packets that nobody answers, or with persistence_engine = \"sip\"")
}
