package ipvs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The texts of this file are what `ipvsadm -Sn` writes and `ipvsadm -R` reads
// (ipvsadm 1.31). Three things that ipvsadm leaves out when it saves are written
// here, because its reader takes them: the thresholds (-x, -y), scheduler flag 3 of
// the sh and mh schedulers, and marks above 2147483647, which it writes negative.

// String returns the key as logs and errors name it: "tcp 10.0.0.100:80",
// "fwmark 10", "fwmark 10 ipv6".
func (k ServiceKey) String() string {
	if k.FWMark == 0 {
		return k.Protocol.String() + " " + k.Addr.String()
	}
	s := "fwmark " + strconv.FormatUint(uint64(k.FWMark), 10)
	if k.IPv6 {
		s += " ipv6"
	}
	return s
}

// args is the key as ipvsadm's arguments: "-t 10.0.0.100:80", "-f 10 -6".
func (k ServiceKey) args() string {
	switch {
	case k.FWMark != 0 && k.IPv6:
		return fmt.Sprintf("-f %d -6", k.FWMark)
	case k.FWMark != 0:
		return fmt.Sprintf("-f %d", k.FWMark)
	case k.Protocol == TCP:
		return "-t " + k.Addr.String()
	case k.Protocol == UDP:
		return "-u " + k.Addr.String()
	}
	return "--" + k.Protocol.String() + "-service " + k.Addr.String()
}

// String returns s in ipvsadm's arguments, without the command: "-t
// 10.0.0.100:80 -s wrr -p 300".
func (s Service) String() string {
	s = s.Canonical()
	var b strings.Builder
	b.WriteString(s.Key.args())
	b.WriteString(" -s " + s.Scheduler)
	if s.Flags&FlagPersistent != 0 {
		fmt.Fprintf(&b, " -p %d", s.Persistence/time.Second)
		if s.PersistenceBits != s.clientBits() {
			b.WriteString(" -M " + s.maskText())
		}
	}
	if s.Engine != "" {
		b.WriteString(" --pe " + s.Engine)
	}
	if s.Flags&FlagOnePacket != 0 {
		b.WriteString(" -o")
	}
	if names := schedulerFlagNames(s.Scheduler, s.Flags); len(names) > 0 {
		b.WriteString(" -b " + strings.Join(names, ","))
	}
	return b.String()
}

// maskText is the client mask: dotted for IPv4, a length for IPv6.
func (s Service) maskText() string {
	switch {
	case s.PersistenceBits == OddPersistenceMask:
		return netip.AddrFrom4(s.OddMask).String()
	case s.Key.Is6():
		return strconv.Itoa(s.PersistenceBits)
	}
	mask := ^uint32(0) << (32 - s.PersistenceBits)
	return netip.AddrFrom4([4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}).String()
}

// schedulerFlagNames lists the scheduler flags in f by the names that ipvsadm has
// for the scheduler.
func schedulerFlagNames(scheduler string, f ServiceFlags) []string {
	first, second := "flag-1", "flag-2"
	if scheduler == "sh" || scheduler == "mh" {
		first, second = scheduler+"-fallback", scheduler+"-port"
	}
	var names []string
	for _, n := range []struct {
		flag ServiceFlags
		name string
	}{{FlagSched1, first}, {FlagSched2, second}, {FlagSched3, "flag-3"}} {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String returns d in ipvsadm's arguments, without the command and the service:
// "-r 10.0.0.21:80 -g -w 2".
func (d Destination) String() string {
	d = d.Canonical()
	var b strings.Builder
	fmt.Fprintf(&b, "-r %s %s -w %d", d.Key, d.Forward.flag(), d.Weight)
	if d.UpperThreshold != 0 {
		fmt.Fprintf(&b, " -x %d", d.UpperThreshold)
	}
	if d.LowerThreshold != 0 {
		fmt.Fprintf(&b, " -y %d", d.LowerThreshold)
	}
	if d.Forward != ForwardTunnel {
		return b.String()
	}
	b.WriteString(" --tun-type " + d.Tunnel.String())
	if d.Tunnel == TunnelGUE {
		fmt.Fprintf(&b, " --tun-port %d", d.TunnelPort)
	}
	if d.Tunnel != TunnelIPIP {
		switch {
		case d.TunnelFlags&TunnelChecksum != 0:
			b.WriteString(" --tun-csum")
		case d.TunnelFlags&TunnelRemoteChecksum != 0:
			b.WriteString(" --tun-remcsum")
		default:
			b.WriteString(" --tun-nocsum")
		}
	}
	return b.String()
}

// flag is ipvsadm's flag for the method; it has none of its own for ForwardLocal.
func (f ForwardMethod) flag() string {
	switch f {
	case ForwardMasq:
		return "-m"
	case ForwardTunnel:
		return "-i"
	}
	return "-g"
}

// String returns the method as configurations and status name it: "nat", "local",
// "tun", "dr" or "fullnat".
func (f ForwardMethod) String() string {
	switch f {
	case ForwardMasq:
		return "nat"
	case ForwardLocal:
		return "local"
	case ForwardTunnel:
		return "tun"
	case ForwardDirect:
		return "dr"
	case ForwardFullNAT:
		return "fullnat"
	}
	return fmt.Sprintf("forward-%d", uint8(f))
}

// String returns "ipip", "gue" or "gre".
func (t TunnelType) String() string {
	switch t {
	case TunnelIPIP:
		return "ipip"
	case TunnelGUE:
		return "gue"
	case TunnelGRE:
		return "gre"
	}
	return fmt.Sprintf("tunnel-%d", uint8(t))
}

// String returns the table as `ipvsadm -Sn` writes it, one rule per line, in the
// order of [Table.All]. [ParseSave] reads it back.
func (t Table) String() string {
	var b strings.Builder
	for k, e := range t.All() {
		b.WriteString("-A " + e.Service.String() + "\n")
		for _, d := range e.All() {
			b.WriteString("-a " + k.args() + " " + d.String() + "\n")
		}
	}
	return b.String()
}
