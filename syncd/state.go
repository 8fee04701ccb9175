package syncd

import (
	"fmt"
	"time"
)

// Protocol is an IP protocol number.
type Protocol uint8

// The protocols that IPVS balances, and the one of templates of a firewall mark.
const (
	ProtocolIP   Protocol = 0
	ProtocolTCP  Protocol = 6
	ProtocolUDP  Protocol = 17
	ProtocolESP  Protocol = 50
	ProtocolAH   Protocol = 51
	ProtocolSCTP Protocol = 132
)

var protocolNames = map[Protocol]string{
	ProtocolIP: "IP", ProtocolTCP: "TCP", ProtocolUDP: "UDP", ProtocolESP: "ESP", ProtocolAH: "AH", ProtocolSCTP: "SCTP",
}

// String returns the protocol's name as /proc/net/ip_vs_conn has it: "TCP".
func (p Protocol) String() string {
	if name, ok := protocolNames[p]; ok {
		return name
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// ParseProtocol is the inverse of [Protocol.String] for the protocols of IPVS.
func ParseProtocol(name string) (Protocol, error) {
	for p, n := range protocolNames {
		if n == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("protocol %q: IPVS knows no such protocol", name)
}

// State is the state of a connection. What it means depends on the protocol, and on
// whether it is a connection or a template.
type State uint16

// The states that matter to others (IP_VS_TCP_S_*, IP_VS_SCTP_S_*, net/ip_vs.h).
const (
	StateTCPEstablished  State = 1
	StateSCTPEstablished State = 8
)

// HalfOpen tells whether c is a connection of TCP or SCTP that nobody has answered yet, as a
// flood of them would be. The kernel never tells its peers of one.
func (c Conn) HalfOpen() bool {
	switch name := c.StateName(); {
	case c.Template():
		return false
	case c.Protocol == ProtocolTCP:
		return name == "NONE" || name == "SYN_SENT" || name == "SYN_RECV" || name == "SYNACK"
	case c.Protocol == ProtocolSCTP:
		return c.State < StateSCTPEstablished
	}
	return false
}

// state is a state's name in /proc/net/ip_vs_conn, and how long the kernel keeps a
// connection in it by default.
type state struct {
	name    string
	timeout time.Duration
}

// otherTimeout is for connections and templates whose state has no timeout.
const otherTimeout = 3 * time.Minute

const sctpMaxRTO = 61 * time.Second

// states are each protocol's states, by their number: tcp_timeouts, udp_timeouts and
// sctp_timeouts in net/netfilter/ipvs/ip_vs_proto_*.c.
var states = map[Protocol][]state{
	ProtocolTCP: {
		{"NONE", 2 * time.Second},
		{"ESTABLISHED", 15 * time.Minute},
		{"SYN_SENT", 2 * time.Minute},
		{"SYN_RECV", time.Minute},
		{"FIN_WAIT", 2 * time.Minute},
		{"TIME_WAIT", 2 * time.Minute},
		{"CLOSE", 10 * time.Second},
		{"CLOSE_WAIT", time.Minute},
		{"LAST_ACK", 30 * time.Second},
		{"LISTEN", 2 * time.Minute},
		{"SYNACK", 2 * time.Minute},
	},
	ProtocolUDP: {{"UDP", 5 * time.Minute}},
	ProtocolSCTP: {
		{"NONE", 2 * time.Second},
		{"INIT1", 4 * time.Second},
		{"INIT", sctpMaxRTO},
		{"C-SENT", sctpMaxRTO},
		{"C-REPLIED", sctpMaxRTO},
		{"C-WAIT", sctpMaxRTO},
		{"COOKIE", sctpMaxRTO},
		{"C-ECHOED", sctpMaxRTO},
		{"ESTABLISHED", 15 * time.Minute},
		{"S-SENT", sctpMaxRTO},
		{"S-RECEIVED", sctpMaxRTO},
		{"S-ACK-SENT", sctpMaxRTO},
		{"REJECTED", 4 * time.Second},
		{"CLOSED", sctpMaxRTO},
	},
	ProtocolESP: {{"ERR!", otherTimeout}}, // the kernel has no name
	ProtocolAH:  {{"ERR!", otherTimeout}},
}

// templateAssured is the bit of a template's state that says that one of its
// connections was established (IP_VS_CTPL_S_ASSURED).
const templateAssured = 1

// StateName returns the name of c's state as /proc/net/ip_vs_conn has it:
// "ESTABLISHED", "UDP"; for a template "NONE" or "ASSURED".
func (c Conn) StateName() string {
	if c.Template() {
		if c.State&templateAssured != 0 {
			return "ASSURED"
		}
		return "NONE"
	}
	if of := states[c.Protocol]; int(c.State) < len(of) {
		return of[c.State].name
	}
	return fmt.Sprintf("state-%d", uint16(c.State))
}

// ParseState is the inverse of [Conn.StateName], for a connection or a template.
func ParseState(p Protocol, template bool, name string) (State, error) {
	if template {
		switch name {
		case "NONE":
			return 0, nil
		case "ASSURED":
			return templateAssured, nil
		}
		return 0, fmt.Errorf("state %q of a template: want NONE or ASSURED", name)
	}
	for i, s := range states[p] {
		if s.name == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("state %q: %s has no such state", name, p)
}

// checkState tells why a kernel drops c. It does not look at a template's.
func (c Conn) checkState() error {
	if c.Template() {
		return nil
	}
	of, ok := states[c.Protocol]
	switch {
	case !ok:
		return fmt.Errorf("%w: connection of %s", ErrNotTaken, c.Protocol)
	case int(c.State) >= len(of):
		return fmt.Errorf("%w: %s has no state %d", ErrNotTaken, c.Protocol, c.State)
	}
	return nil
}

// lifetime returns how long c lives from when it is told: its timeout, or the
// kernel's default for its state.
func (c Conn) lifetime() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	if of := states[c.Protocol]; !c.Template() && int(c.State) < len(of) {
		return of[c.State].timeout
	}
	return otherTimeout
}
