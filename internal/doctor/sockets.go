package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/ipvs"
)

// parseSockets reads a table of /proc/net, tcp, tcp6, udp or udp6, and returns the sockets
// in a state, named by its two digits there (proc(5)):
//
//	sl  local_address rem_address   st ...
//	 0: 0100007F:0050 00000000:0000 0A ...
func parseSockets(table []byte, protocol ipvs.Protocol, state string) ([]Listener, error) {
	var list []Listener
	first := true
	for line := range strings.Lines(string(table)) {
		if first {
			first = false
			continue
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 4 {
			return nil, fmt.Errorf("%q is no line of sockets", strings.TrimSpace(line))
		}
		if words[3] != state {
			continue
		}
		addr, err := parseSocketAddress(words[1])
		if err != nil {
			return nil, err
		}
		list = append(list, Listener{Protocol: protocol, Addr: addr})
	}
	return list, nil
}

// parseSocketAddress reads an address in the kernel's form: 32 bits at a time as the
// machine's own numbers, and the port in hexadecimal.
func parseSocketAddress(s string) (netip.AddrPort, error) {
	text, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(text)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no socket's address", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}
