package ipvsnl

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// SyncConns yields connections as the kernel lists them ([Connections]) in the words of a
// sync message. An error ends it.
//
// The listing has what remains of a time, but neither marks, forwarding methods nor a
// template's whole timeout: they are those of the virtual server
// and the real server in table. For a connection to an address that is not a virtual server's
// it is the one of a firewall mark that has the real server. A connection that none explains,
// or more than one, is left out: another kernel would not find its real server, and translate
// its addresses whatever the method is.
func SyncConns(table ipvs.Table, listed iter.Seq2[ipvs.Connection, error]) iter.Seq2[syncd.Living, error] {
	return func(yield func(syncd.Living, error) bool) {
		var marks []ipvs.ServiceKey
		for k := range table {
			if k.FWMark != 0 {
				marks = append(marks, k)
			}
		}
		for l, err := range listed {
			if err != nil {
				yield(syncd.Living{}, err)
				return
			}
			c, err := listedConn(l)
			if err != nil {
				yield(syncd.Living{}, fmt.Errorf("listed connection of %s to %s: %w", l.Client, l.Virtual, err))
				return
			}
			if explain(&c, table, marks) && !yield(syncd.Living{Conn: c, Remaining: l.Expires}, nil) {
				return
			}
		}
	}
}

// listedConn returns what the listing itself tells.
func listedConn(l ipvs.Connection) (syncd.Conn, error) {
	p, err := syncd.ParseProtocol(l.Protocol)
	if err != nil {
		return syncd.Conn{}, err
	}
	// Only templates have no port of a client. A connection of FTP's for data has none
	// at first either, but another state.
	template := l.Client.Port() == 0 && (l.State == "NONE" || l.State == "ASSURED")
	state, err := syncd.ParseState(p, template, l.State)
	if err != nil {
		return syncd.Conn{}, err
	}
	c := syncd.Conn{
		Protocol: p, Client: l.Client, Virtual: l.Virtual, Real: l.Destination, State: state,
		Timeout: l.Expires, Engine: l.Engine, EngineData: l.EngineData,
	}
	switch {
	case template:
		c.Flags = syncd.FlagTemplate | syncd.FlagInactive
		if p == syncd.ProtocolIP {
			c.FWMark = binary.BigEndian.Uint32(c.Virtual.Addr().AsSlice())
		}
	case p == syncd.ProtocolTCP && state == syncd.StateTCPEstablished, p == syncd.ProtocolSCTP && state == syncd.StateSCTPEstablished:
	default:
		c.Flags = syncd.FlagInactive
	}
	return c, nil
}

// explain finds the virtual server and the real server of c and adds what they tell.
func explain(c *syncd.Conn, table ipvs.Table, marks []ipvs.ServiceKey) bool {
	if c.FWMark != 0 {
		return forwardAs(c, table, ipvs.FWMarkKey(c.FWMark, c.Virtual.Addr().Is6()))
	}
	p := ipvs.Protocol(c.Protocol)
	for _, port := range []uint16{c.Virtual.Port(), 0} {
		k := ipvs.AddrKey(p, netip.AddrPortFrom(c.Virtual.Addr(), port))
		if _, ok := table[k]; ok {
			return forwardAs(c, table, k)
		}
	}
	found := 0
	for _, k := range marks {
		if k.IPv6 == c.Virtual.Addr().Is6() && forwardAs(c, table, k) {
			c.FWMark = k.FWMark
			found++
		}
	}
	return found == 1
}

// forwardAs sets what the service tells of c, if it has its real server.
func forwardAs(c *syncd.Conn, table ipvs.Table, k ipvs.ServiceKey) bool {
	for _, port := range []uint16{c.Real.Port(), 0} {
		d, ok := table[k].Destinations[netip.AddrPortFrom(c.Real.Addr(), port)]
		if !ok {
			continue
		}
		c.Flags = c.Flags&^(syncd.ForwardMask|syncd.FlagNoOutput) | syncd.Flags(d.Forward.Kernel())
		if c.Flags.Forward() != syncd.ForwardMasq {
			c.Flags |= syncd.FlagNoOutput
		}
		if persistence := table[k].Service.Persistence; c.Template() && persistence > 0 {
			c.Timeout = persistence
		}
		return true
	}
	return false
}
