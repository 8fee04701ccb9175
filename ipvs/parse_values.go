package ipvs

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func parseServiceAddr(p Protocol, v string) (ServiceKey, error) {
	addr, err := parseAddrPort(v, 0)
	if err != nil {
		return ServiceKey{}, err
	}
	return AddrKey(p, addr), nil
}

// parseAddrPort reads "10.0.0.1:80", "[fd00::1]:80", or an address alone, which
// takes the default port.
func parseAddrPort(v string, port uint16) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(v)
	if err != nil {
		a, errAddr := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"))
		if errAddr != nil {
			return netip.AddrPort{}, errors.New("not a numeric address and port (ipvsadm -S needs -n)")
		}
		ap = netip.AddrPortFrom(a, port)
	}
	if ap.Addr().Zone() != "" {
		return netip.AddrPort{}, errors.New("IPVS knows no address zones")
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// parseFWMark reads a mark from 1 to 4294967295; ipvsadm writes those above
// 2147483647 negative.
func parseFWMark(v string) (ServiceKey, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 || n == 0 {
		return ServiceKey{}, errors.New("not a firewall mark from 1 to 4294967295")
	}
	return FWMarkKey(uint32(n), false), nil
}

func parseNumber(v string, smallest, greatest uint64) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n < smallest || n > greatest {
		return 0, fmt.Errorf("not a number from %d to %d", smallest, greatest)
	}
	return n, nil
}

// maxName is the longest name of a scheduler or persistence engine
// (IP_VS_SCHEDNAME_MAXLEN and IP_VS_PENAME_MAXLEN less the final zero byte).
const maxName = 15

func parseName(v string) (string, error) {
	if v == "" || len(v) > maxName {
		return "", fmt.Errorf("not a name of 1 to %d bytes", maxName)
	}
	return v, nil
}

// ParseTunnelType reads what [TunnelType.String] returns.
func ParseTunnelType(v string) (TunnelType, error) {
	for _, t := range []TunnelType{TunnelIPIP, TunnelGUE, TunnelGRE} {
		if v == t.String() {
			return t, nil
		}
	}
	return 0, errors.New("not one of ipip, gue, gre")
}

// parseMask reads the client mask: dotted for IPv4, a length for IPv6. A dotted one
// that is no prefix of at least one bit is odd, and its length OddPersistenceMask.
func parseMask(v string, ipv6 bool) (length int, odd [4]byte, err error) {
	if ipv6 {
		n, err := parseNumber(v, 1, 128)
		return int(n), odd, err
	}
	a, err := netip.ParseAddr(v)
	if err != nil || !a.Is4() {
		return 0, odd, errors.New("not a dotted mask")
	}
	for length := 1; length <= 32; length++ {
		if prefix, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(length); prefix.Addr() == a {
			return length, odd, nil
		}
	}
	return OddPersistenceMask, a.As4(), nil
}

// parseSchedulerFlags adds the flags of a comma-separated list to those that the
// service has.
func parseSchedulerFlags(list string, s Service) (ServiceFlags, error) {
	flags := s.Flags
	if list == "" {
		return flags, nil
	}
	known := map[string]ServiceFlags{"flag-1": FlagSched1, "flag-2": FlagSched2, "flag-3": FlagSched3}
	for _, f := range []ServiceFlags{FlagSched1, FlagSched2} {
		known[schedulerFlagNames(s.Scheduler, f)[0]] = f
	}
	for name := range strings.SplitSeq(list, ",") {
		f, ok := known[name]
		if !ok {
			return 0, fmt.Errorf("-b %s: scheduler %s has no flag %q, it has %s", list, s.Scheduler, name,
				strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		flags |= f
	}
	return flags, nil
}

// ParseServiceKey reads what [ServiceKey.String] returns.
func ParseServiceKey(text string) (ServiceKey, error) {
	words := strings.Fields(text)
	protocols := map[string]Protocol{"tcp": TCP, "udp": UDP, "sctp": SCTP}
	switch {
	case len(words) == 0:
		return ServiceKey{}, errors.New("no service is named")
	case words[0] == "fwmark" && (len(words) == 2 || len(words) == 3 && words[2] == "ipv6"):
		key, err := parseFWMark(words[1])
		if err != nil {
			return ServiceKey{}, fmt.Errorf("%s: %w", words[1], err)
		}
		key.IPv6 = len(words) == 3
		return key, nil
	case protocols[words[0]] != 0 && len(words) == 2:
		key, err := parseServiceAddr(protocols[words[0]], words[1])
		if err != nil {
			return ServiceKey{}, fmt.Errorf("%s: %w", words[1], err)
		}
		return key, nil
	}
	if _, err := parseAddrPort(words[0], 0); err == nil && len(words) == 1 {
		return ServiceKey{}, fmt.Errorf("%q is no service without its protocol: \"tcp %s\"", text, text)
	}
	return ServiceKey{}, fmt.Errorf("%q is no service: \"tcp 10.0.0.100:80\" or \"fwmark 10\" would be one", text)
}
