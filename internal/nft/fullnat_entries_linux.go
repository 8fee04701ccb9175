package nft

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/hadirector/hadirector/ipvs"
)

// natSet is a set of [natTable] by its name.
type natSet string

// The sets. What is in one of the first three comes from the address that the client
// connected to; the maps have the addresses of what does not.
const (
	byService natSet = "services"  // real server, address and port of the service, protocol
	byAddress natSet = "addresses" // the same of services for every port
	byMark    natSet = "marks"     // real server, firewall mark

	byServiceFrom natSet = byService + fromSuffix
	byAddressFrom natSet = byAddress + fromSuffix
	byMarkFrom    natSet = byMark + fromSuffix

	// markedServers are the real servers of byMark: what was addressed to them has not been
	// through IPVS, whatever mark it has.
	markedServers natSet = "marked_servers"
	// guardedServers are real servers with their ports.
	guardedServers natSet = "servers"
	// anyPortServers are real servers that keep the port that the client chose.
	anyPortServers natSet = "any_port_servers"

	fromSuffix = "_from"
)

// natSets are all of them, in the order of their rules.
var natSets = []natSet{byService, byServiceFrom, byAddress, byAddressFrom, byMark, byMarkFrom, markedServers, guardedServers, anyPortServers}

func (s natSet) isMap() bool { return strings.HasSuffix(string(s), fromSuffix) }

// key are the parts of a set's keys.
func (t natTable) key(s natSet) []nftables.SetDatatype {
	switch s {
	case byService, byServiceFrom:
		return []nftables.SetDatatype{t.addr, t.addr, nftables.TypeInetService, nftables.TypeInetProto}
	case byAddress, byAddressFrom:
		return []nftables.SetDatatype{t.addr, t.addr, nftables.TypeInetProto}
	case byMark, byMarkFrom:
		return []nftables.SetDatatype{t.addr, nftables.TypeMark}
	case guardedServers:
		return []nftables.SetDatatype{t.addr, nftables.TypeInetService}
	}
	return []nftables.SetDatatype{t.addr}
}

// natEntries are a table's entries: of each set the keys, and in a map their values, as the
// kernel has them.
type natEntries map[natSet]map[string]string

func (e natEntries) add(s natSet, val []byte, key ...[]byte) {
	if val != nil {
		s += fromSuffix
	}
	if e[s] == nil {
		e[s] = make(map[string]string)
	}
	e[s][string(slices.Concat(key...))] = string(val)
}

// entriesOf returns what the tables have for some translations; none for a family without.
func entriesOf(want []ipvs.Translation) map[nftables.TableFamily]natEntries {
	entries := map[nftables.TableFamily]natEntries{nftables.TableFamilyIPv4: {}, nftables.TableFamilyIPv6: {}}
	for _, t := range want {
		e := entries[nftables.TableFamilyIPv4]
		if t.Server.Addr().Is6() {
			e = entries[nftables.TableFamilyIPv6]
		}
		server, vip, protocol := t.Server.Addr().AsSlice(), t.Service.Addr.Addr().AsSlice(), padded(byte(t.Service.Protocol))
		var source []byte
		if t.Source.IsValid() {
			source = t.Source.AsSlice()
		}
		switch {
		case t.Service.FWMark != 0:
			e.add(byMark, source, server, binaryutil.NativeEndian.PutUint32(t.Service.FWMark))
			e.add(markedServers, nil, server)
		case t.Service.Addr.Port() == 0:
			e.add(byAddress, source, server, vip, protocol)
		default:
			e.add(byService, source, server, vip, port(t.Service.Addr), protocol)
		}
		switch {
		case t.Service.FWMark == 0 && t.Service.Protocol != ipvs.TCP:
		case t.Server.Port() != 0:
			e.add(guardedServers, nil, server, port(t.Server))
		default:
			e.add(anyPortServers, nil, server)
		}
	}
	return entries
}

// Parts of a key fill whole registers of four bytes.

func padded(b byte) []byte { return []byte{b, 0, 0, 0} }

func port(a netip.AddrPort) []byte {
	return append(binary.BigEndian.AppendUint16(nil, a.Port()), 0, 0)
}
