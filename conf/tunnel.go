package conf

import (
	"fmt"

	"github.com/hadirector/hadirector/ipvs"
)

// Tunnel is the encapsulation of forward = "tun". The zero value is IP in IP, and what
// everything has that is not tunnelled.
type Tunnel struct {
	Type ipvs.TunnelType
	Port uint16 // the real server's UDP port; GUE alone has one
	// Flags are ipvs.TunnelChecksum, ipvs.TunnelRemoteChecksum or none.
	Flags uint16
}

// tunnelKeys are those that every table with the key forward has.
var tunnelKeys = []string{"tunnel", "tunnel_port", "tunnel_checksum"}

// The tunnel types and checksums by their names in the file.
var (
	tunnelTypes = map[string]ipvs.TunnelType{
		"ipip": ipvs.TunnelIPIP, "gue": ipvs.TunnelGUE, "gre": ipvs.TunnelGRE,
	}
	tunnelTypeNames = []string{"ipip", "gue", "gre"}
	tunnelTypeOther = map[string]string{"ip6ip6": "ipip", "ip6tnl": "ipip", "fou": "gue", "ip6gre": "gre"}

	tunnelChecksums = map[string]uint16{
		"none": 0, "plain": ipvs.TunnelChecksum, "remote": ipvs.TunnelRemoteChecksum,
	}
	tunnelChecksumNames = []string{"none", "plain", "remote"}
	tunnelChecksumOther = map[string]string{
		"nocsum": "none", "no": "none", "csum": "plain", "remcsum": "remote",
	}
)

// tunnel reads the tunnel of a table whose forwarding method is known. What it does not
// say it takes from def, if that is a tunnel of the same type.
func (p *parser) tunnel(t *node, forward ipvs.ForwardMethod, def Tunnel) Tunnel {
	if forward != ipvs.ForwardTunnel {
		for _, key := range tunnelKeys {
			if n := t.kid(key); n != nil {
				p.keyErrorf(n, "has no meaning with forward = %q: only \"tun\" has tunnels", forwardName(forward))
			}
		}
		return Tunnel{}
	}
	tun := Tunnel{Type: def.Type}
	declared := t.kid("tunnel")
	if declared != nil {
		name := p.choice(declared, "a tunnel", "", tunnelTypeNames, tunnelTypeOther)
		typ, ok := tunnelTypes[name]
		if !ok {
			return def
		}
		tun.Type = typ
	}
	if tun.Type == def.Type {
		tun = def
	}
	p.tunnelPort(t, &tun, declared, def)
	p.tunnelChecksum(t, &tun)
	return tun
}

func (p *parser) tunnelPort(t *node, tun *Tunnel, declared *node, def Tunnel) {
	n := t.kid("tunnel_port")
	switch {
	case n != nil && tun.Type != ipvs.TunnelGUE:
		p.keyErrorf(n, "has no meaning with tunnel = %q: only gue has a port", tun.Type)
	case n != nil:
		tun.Port = uint16(p.integer(n, int64(tun.Port), 1, 1<<16-1))
	case tun.Type == ipvs.TunnelGUE && tun.Port == 0 && declared != nil:
		p.errorf(declared, "gue needs tunnel_port, the UDP port that the real server listens on, such as 6080")
	}
}

func (p *parser) tunnelChecksum(t *node, tun *Tunnel) {
	n := t.kid("tunnel_checksum")
	switch {
	case n == nil:
		return
	case tun.Type == ipvs.TunnelIPIP:
		p.keyErrorf(n, "has no meaning with tunnel = \"ipip\": only gue and gre have a checksum of their own")
		return
	}
	flags, ok := tunnelChecksums[p.choice(n, "a tunnel checksum", "", tunnelChecksumNames, tunnelChecksumOther)]
	switch {
	case !ok:
	case flags == ipvs.TunnelRemoteChecksum && tun.Type == ipvs.TunnelGRE:
		p.errorf(n, "gre has no remote checksum, only gue: want none or plain")
	default:
		tun.Flags = flags
	}
}

// checksumName is the checksum as the file has it.
func (t Tunnel) checksumName() string {
	for name, flags := range tunnelChecksums {
		if flags == t.Flags {
			return name
		}
	}
	return ""
}

// settings are the keys and values of the tunnel, none without forward = "tun".
func (t Tunnel) settings(forward ipvs.ForwardMethod) [][2]string {
	if forward != ipvs.ForwardTunnel {
		return nil
	}
	list := [][2]string{{"tunnel", fmt.Sprintf("%q", t.Type)}}
	if t.Type == ipvs.TunnelGUE {
		list = append(list, [2]string{"tunnel_port", fmt.Sprint(t.Port)})
	}
	if t.Type != ipvs.TunnelIPIP {
		list = append(list, [2]string{"tunnel_checksum", fmt.Sprintf("%q", t.checksumName())})
	}
	return list
}
