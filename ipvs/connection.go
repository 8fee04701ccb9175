package ipvs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Connection is an entry of the kernel's connection table as /proc/net/ip_vs_conn
// tells it (ip_vs_conn_seq_show, net/netfilter/ipvs/ip_vs_conn.c).
type Connection struct {
	Protocol    string // "TCP", "UDP", "SCTP"; "IP" for a template of a firewall mark
	Client      netip.AddrPort
	Virtual     netip.AddrPort
	Destination netip.AddrPort
	State       string        // "ESTABLISHED"; "NONE" for a template
	Expires     time.Duration // in whole seconds
	// Engine and EngineData are the persistence engine's; empty for none.
	Engine, EngineData string
}

// ParseConnection reads a line of /proc/net/ip_vs_conn other than the first:
//
//	TCP 0A000033 A0F2 0A000064 0050 0A000015 0050 ESTABLISHED     899
func ParseConnection(line string) (Connection, error) {
	words := strings.Fields(line)
	if len(words) < 9 {
		return Connection{}, fmt.Errorf("connection of %d words, want at least 9", len(words))
	}
	c := Connection{Protocol: words[0], State: words[7]}
	for i, side := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Destination} {
		var err error
		if *side, err = parseHexAddrPort(words[1+2*i], words[2+2*i]); err != nil {
			return Connection{}, err
		}
	}
	seconds, err := strconv.ParseUint(words[8], 10, 31)
	if err != nil {
		return Connection{}, fmt.Errorf("expiry %q of a connection: not a number of seconds", words[8])
	}
	c.Expires = time.Duration(seconds) * time.Second
	if len(words) > 10 {
		c.Engine, c.EngineData = words[9], words[10]
	}
	return c, nil
}

// parseHexAddrPort reads an address, of which IPv4 is eight hexadecimal digits and IPv6
// is as usual but at full length, and a port of four.
func parseHexAddrPort(addr, port string) (netip.AddrPort, error) {
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q of a connection: not four hexadecimal digits", port)
	}
	a, err := netip.ParseAddr(addr)
	if err != nil {
		n, err := strconv.ParseUint(addr, 16, 32)
		if err != nil || len(addr) != 8 {
			return netip.AddrPort{}, fmt.Errorf("address %q of a connection: neither IPv6 nor eight hexadecimal digits", addr)
		}
		a = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

// ConnectionTitles returns the two lines above the connections, as `ipvsadm -Lnc`
// prints them; with engines, those of `ipvsadm -Lnc --persistent-conn`.
func ConnectionTitles(engines bool) string {
	s := "IPVS connection entries\n" + fmt.Sprintf("pro expire %-11s %-18s %-18s ", "state", "source", "virtual")
	if engines {
		return s + fmt.Sprintf("%-18s %-16s %s\n", "destination", "pe name", "pe_data")
	}
	return s + "destination\n"
}

// Listed returns the connection's line as `ipvsadm -Lnc` prints it; with engines, as
// `ipvsadm -Lnc --persistent-conn` does.
func (c Connection) Listed(engines bool) string {
	seconds := int64(c.Expires / time.Second)
	s := fmt.Sprintf("%-3s %-6s %-11s %-18s %-18s ", c.Protocol,
		fmt.Sprintf("%02d:%02d", seconds/60, seconds%60), c.State, c.Client, c.Virtual)
	if engines && c.Engine != "" {
		return s + fmt.Sprintf("%-16s %-18s %s\n", c.Destination, c.Engine, c.EngineData)
	}
	return s + c.Destination.String() + "\n"
}
