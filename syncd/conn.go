package syncd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Conn is a connection, or a persistence template, as a sync message tells of it.
// Two of them can be compared with ==.
type Conn struct {
	// Protocol is the connection's. A template of a firewall mark has ProtocolIP.
	Protocol Protocol
	// Client, Virtual and Real are the client's address, the virtual address and the
	// real server's, all of one family: the kernel synchronises no others. In a
	// template, Client is a network's address with port 0. Virtual of a template of a
	// firewall mark has the mark in its first four bytes, and port 0.
	Client, Virtual, Real netip.AddrPort
	// FWMark is the mark of the packet that opened the connection; 0: none. It names
	// the virtual server if there is one of that mark.
	FWMark uint32
	// Flags are as they were sent. A kernel that receives them takes some of them
	// (IP_VS_CONN_F_BACKUP_MASK), and the forwarding method only if it does not have
	// the destination.
	Flags Flags
	// State is a state of the protocol, or a template's: see [Conn.StateName].
	State State
	// Timeout is how long the connection lives without another packet, in whole
	// seconds on the wire. 0 leaves it to the receiver, which then takes its
	// default for the state.
	Timeout time.Duration
	// Sequences shift TCP's sequence numbers, for what a NAT helper changed.
	Sequences Sequences
	// Engine is the persistence engine of a template, at most 16 bytes ("sip"), and
	// EngineData, at most 255 bytes, is what it goes by. Both are set or none.
	Engine, EngineData string
}

// Sequences are a connection's shifts of sequence numbers (IPVS_OPT_SEQ_DATA): of
// packets to the real server and of those to the client.
type Sequences struct {
	Present bool
	In, Out Sequence
}

// Sequence says that sequence numbers after Init are shifted by Delta, and those
// before by Previous (struct ip_vs_seq).
type Sequence struct{ Init, Delta, Previous uint32 }

// Template tells whether c is a persistence template and not a connection.
func (c Conn) Template() bool { return c.Flags&FlagTemplate != 0 }

// String returns "TCP 10.0.0.1:40000 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED
// 15m0s nat", with further flags and what else is set behind it.
func (c Conn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s > %s > %s %s %s %s", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName(), c.Timeout, c.Flags)
	if c.FWMark != 0 {
		fmt.Fprintf(&b, " fwmark %d", c.FWMark)
	}
	if c.Sequences.Present {
		fmt.Fprintf(&b, " in %d out %d", c.Sequences.In, c.Sequences.Out)
	}
	if c.Engine != "" {
		fmt.Fprintf(&b, " %s %q", c.Engine, c.EngineData)
	}
	return b.String()
}

// The kernel's bounds for what a persistence engine has (IP_VS_PENAME_MAXLEN,
// IP_VS_PEDATA_MAXLEN, linux/ip_vs.h).
const (
	maxEngine     = 16
	maxEngineData = 255
)

// check tells why c cannot be in a message that a kernel takes.
func (c Conn) check() error {
	v4 := c.Client.Addr().Is4()
	for _, a := range []netip.Addr{c.Client.Addr(), c.Virtual.Addr(), c.Real.Addr()} {
		if !a.IsValid() || a.Is4() != v4 {
			return errors.New("addresses are not of one family")
		}
	}
	switch {
	case c.Timeout < 0:
		return fmt.Errorf("negative timeout %s", c.Timeout)
	case (c.Engine == "") != (c.EngineData == ""):
		return errors.New("persistence engine without data, or data without engine")
	case len(c.Engine) > maxEngine || strings.IndexByte(c.Engine, 0) >= 0:
		return fmt.Errorf("persistence engine %q", c.Engine)
	case len(c.EngineData) > maxEngineData:
		return fmt.Errorf("%d bytes of a persistence engine's data, at most %d", len(c.EngineData), maxEngineData)
	}
	return c.checkState()
}

// Flags are a connection's flags (IP_VS_CONN_F_*, linux/ip_vs.h). The lowest three
// bits are no flags but the forwarding method.
type Flags uint32

// The flags.
const (
	FlagSync      Flags = 0x0020  // the entry was created by a sync message
	FlagHashed    Flags = 0x0040  // never sent
	FlagNoOutput  Flags = 0x0080  // the director does not see the real server's packets
	FlagInactive  Flags = 0x0100  // not established: counts as InActConn
	FlagOutSeq    Flags = 0x0200  // Sequences.Out is in use
	FlagInSeq     Flags = 0x0400  // Sequences.In is in use
	FlagNoCPort   Flags = 0x0800  // the client's port is not known yet
	FlagTemplate  Flags = 0x1000  // a persistence template
	FlagOnePacket Flags = 0x2000  // never sent
	FlagNFCT      Flags = 0x10000 // the sender's netfilter tracks it; receivers ignore it
)

// The forwarding methods, numbered as in package ipvs.
const (
	ForwardMask   Flags = 0x7
	ForwardMasq   Flags = 0 // NAT
	ForwardLocal  Flags = 1
	ForwardTunnel Flags = 2
	ForwardDirect Flags = 3
	ForwardBypass Flags = 4 // to the address that the client asked for: sysctl cache_bypass
)

var forwardNames = map[Flags]string{
	ForwardMasq: "nat", ForwardLocal: "local", ForwardTunnel: "tun", ForwardDirect: "dr", ForwardBypass: "bypass",
}

var flagNames = []struct {
	flag Flags
	name string
}{
	{FlagSync, "sync"},
	{FlagHashed, "hashed"},
	{FlagNoOutput, "nooutput"},
	{FlagInactive, "inactive"},
	{FlagOutSeq, "out-seq"},
	{FlagInSeq, "in-seq"},
	{FlagNoCPort, "no-cport"},
	{FlagTemplate, "template"},
	{FlagOnePacket, "one-packet"},
	{FlagNFCT, "nfct"},
}

// Forward returns the forwarding method.
func (f Flags) Forward() Flags { return f & ForwardMask }

// String returns the forwarding method and the names of the flags: "dr,inactive".
// Bits that have no name are a number.
func (f Flags) String() string {
	s, ok := forwardNames[f.Forward()]
	if !ok {
		s = fmt.Sprintf("forward-%d", uint32(f.Forward()))
	}
	f &^= ForwardMask
	for _, n := range flagNames {
		if f&n.flag != 0 {
			s += "," + n.name
			f &^= n.flag
		}
	}
	if f != 0 {
		s += fmt.Sprintf(",%#x", uint32(f))
	}
	return s
}
