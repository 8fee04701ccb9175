package ipvsnl

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strconv"

	"github.com/hadirector/hadirector/ipvs"
)

// glance is a service as /proc/net/ip_vs shows it.
type glance struct {
	// head is the line of the service, with one space between its fields. The key is that of an address; of a firewall mark
	// the file does not tell the family, and it is invalid.
	head string
	key  ipvs.ServiceKey
	// destinations have what the file shows: address, forwarding, weight.
	destinations map[ipvs.DestinationKey]ipvs.Destination
	counts       map[ipvs.DestinationKey]ipvs.Connections
}

// parseProc reads the text of /proc/net/ip_vs (ip_vs_info_seq_show in
// net/netfilter/ipvs/ip_vs_ctl.c), after three lines of headings.
func parseProc(text []byte) ([]glance, error) {
	var list []glance
	n := 0
	for line := range lines(text) {
		if n++; n <= 3 {
			continue
		}
		var err error
		switch fields := bytes.Fields(line); {
		case len(fields) < 3:
			err = errProc
		case string(fields[0]) != "->":
			var g glance
			g, err = parseProcService(fields)
			g.head = string(bytes.Join(fields, []byte(" ")))
			list = append(list, g)
		case len(list) == 0 || len(fields) != 6:
			err = errProc
		default:
			err = list[len(list)-1].parseDestination(fields[1:])
		}
		if err != nil {
			return nil, fmt.Errorf("/proc/net/ip_vs line %d, %q: %w", n, line, err)
		}
	}
	return list, nil
}

var errProc = errors.New("not understood")

func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			line, rest, _ := bytes.Cut(text, []byte("\n"))
			if !yield(line) {
				return
			}
			text = rest
		}
	}
}

// parseProcService reads "TCP 0A000064:0050 rr", and what follows is flags.
func parseProcService(fields [][]byte) (glance, error) {
	g := glance{destinations: make(map[ipvs.DestinationKey]ipvs.Destination), counts: make(map[ipvs.DestinationKey]ipvs.Connections)}
	var protocol ipvs.Protocol
	switch string(fields[0]) {
	case "FWM":
		return g, nil
	case "TCP":
		protocol = ipvs.TCP
	case "UDP":
		protocol = ipvs.UDP
	case "SCTP":
		protocol = ipvs.SCTP
	default:
		return g, errProc
	}
	at, err := parseProcAddr(fields[1])
	g.key = ipvs.AddrKey(protocol, at)
	return g, err
}

// parseDestination reads "0A000015:0050 Route 1 0 0": weight, active and inactive
// connections.
func (g *glance) parseDestination(fields [][]byte) error {
	at, err := parseProcAddr(fields[0])
	if err != nil {
		return err
	}
	d := ipvs.Destination{Key: at}
	switch string(fields[1]) {
	case "Masq":
		d.Forward = ipvs.ForwardMasq
	case "Local":
		d.Forward = ipvs.ForwardLocal
	case "Tunnel":
		d.Forward = ipvs.ForwardTunnel
	case "Route":
		d.Forward = ipvs.ForwardDirect
	default:
		return errProc
	}
	var numbers [3]uint32
	for i, f := range fields[2:] {
		n, err := strconv.ParseInt(string(f), 10, 32) // the kernel prints them signed
		if err != nil {
			return err
		}
		numbers[i] = uint32(n)
	}
	d.Weight = numbers[0]
	g.destinations[at], g.counts[at] = d, ipvs.Connections{Active: numbers[1], Inactive: numbers[2]}
	return nil
}

// parseProcAddr reads 0A000064:0050 or [fd00:0000:0000:0000:0000:0000:0000:0100]:0050.
func parseProcAddr(b []byte) (netip.AddrPort, error) {
	i := bytes.LastIndexByte(b, ':')
	if i < 0 || len(b)-i != len(":0050") {
		return netip.AddrPort{}, errProc
	}
	port, err := strconv.ParseUint(string(b[i+1:]), 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host := b[:i]; len(host) > 2 && host[0] == '[' {
		addr, err := netip.ParseAddr(string(bytes.Trim(host, "[]")))
		return netip.AddrPortFrom(addr.Unmap(), uint16(port)), err
	}
	var v4 [4]byte
	if n, err := hex.Decode(v4[:], b[:min(i, 2*len(v4))]); err != nil || n != len(v4) || i != 2*len(v4) {
		return netip.AddrPort{}, errProc
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4), uint16(port)), nil
}

// shows tells whether the file shows a service as it is in the table. What it does not
// show, such as thresholds, may differ all the same.
func (g *glance) shows(e ipvs.Entry) bool {
	if g.head != procLine(e.Service) || len(g.destinations) != len(e.Destinations) {
		return false
	}
	for key, d := range g.destinations {
		known, there := e.Destinations[key]
		if !there || known.Forward != d.Forward || known.Weight != d.Weight {
			return false
		}
	}
	return true
}

// procLine is the head of a service of an address without persistence; empty: there is no
// telling.
func procLine(s ipvs.Service) string {
	if s = s.Canonical(); !s.Key.Addr.IsValid() || s.Flags&ipvs.FlagPersistent != 0 {
		return ""
	}
	protocol := map[ipvs.Protocol]string{ipvs.TCP: "TCP", ipvs.UDP: "UDP", ipvs.SCTP: "SCTP"}[s.Key.Protocol]
	addr, port := s.Key.Addr.Addr(), s.Key.Addr.Port()
	if addr.Is6() { // the kernel leaves "ops" out
		return fmt.Sprintf("%s [%s]:%04X %s", protocol, addr.StringExpanded(), port, s.Scheduler)
	}
	ops := ""
	if s.Flags&ipvs.FlagOnePacket != 0 {
		ops = " ops"
	}
	return fmt.Sprintf("%s %08X:%04X %s%s", protocol, binary.BigEndian.Uint32(addr.AsSlice()), port, s.Scheduler, ops)
}
