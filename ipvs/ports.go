package ipvs

import (
	"cmp"
	"fmt"
	"net/netip"
)

// Ports are one address with the ports First to Last, both included. Port 0, alone,
// stands for every port.
type Ports struct {
	Addr        netip.Addr
	First, Last uint16
}

// String returns "10.0.0.100:80", "10.0.0.100:8000-8010" or "[fd00::100]:80".
func (p Ports) String() string {
	s := netip.AddrPortFrom(p.Addr, p.First).String()
	if p.Last != p.First {
		s += fmt.Sprintf("-%d", p.Last)
	}
	return s
}

// Count is the number of ports, and of the services that have them.
func (p Ports) Count() int { return int(p.Last) - int(p.First) + 1 }

// Has tells whether a port is among them. Every port is if they are port 0.
func (p Ports) Has(port uint16) bool {
	return p.First == 0 || p.First <= port && port <= p.Last
}

// Overlaps tells whether a packet can be to both p and q.
func (p Ports) Overlaps(q Ports) bool {
	return p.Addr == q.Addr && (p.First == 0 || q.First == 0 || p.First <= q.Last && q.First <= p.Last)
}

// Marking says that the packets of a protocol to some ports get a firewall mark.
type Marking struct {
	Mark     uint32
	Protocol Protocol
	To       Ports
}

// String returns "fwmark 10 for tcp 10.0.0.100:80".
func (m Marking) String() string {
	return fmt.Sprintf("fwmark %d for %s %s", m.Mark, m.Protocol, m.To)
}

// Compare orders markings by address, protocol, port and mark.
func (m Marking) Compare(o Marking) int {
	return cmp.Or(m.To.Addr.Compare(o.To.Addr), cmp.Compare(m.Protocol, o.Protocol), cmp.Compare(m.To.First, o.To.First),
		cmp.Compare(m.To.Last, o.To.Last), cmp.Compare(m.Mark, o.Mark))
}
