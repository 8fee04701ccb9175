package nft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ErrNoTables says that the kernel has no nftables.
var ErrNoTables = errors.New("this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET)")

// protocolVRRP is VRRP's number (RFC 9568 section 5.1.1.4).
const protocolVRRP = 112

// Input is a chain that drops what comes to this machine unless a rule lets it in.
type Input struct {
	Family, Table, Chain string // as nft takes them: "inet", "filter", "input"
	// VRRP and Port tell whether any rule of the table names VRRP's protocol number, the
	// port that was asked for, or one of the senders. What the rule does with it is not
	// looked at. A rule of iptables's own form may be about any port.
	VRRP, Port bool
}

// Barrier is a chain that drops what this machine sends or gets, on a private interface too,
// unless a rule lets it pass.
type Barrier struct {
	Family, Table, Chain string
	Out                  bool // it is about what is sent
}

// Barriers returns the base chains at the input and output hooks whose policy is drop and
// whose tables' rules name neither the interface nor an address of those. What a rule
// does with them is not looked at, and one of iptables's own form may be about either. It
// changes nothing. The error is ErrNoTables on a kernel without nftables.
func Barriers(ifname string, addrs ...netip.Addr) ([]Barrier, error) {
	values := [][]byte{interfaceName(ifname)}
	if ifi, err := net.InterfaceByName(ifname); err == nil {
		values = append(values, binary.NativeEndian.AppendUint32(nil, uint32(ifi.Index)))
	}
	var all []Barrier
	for _, hook := range []nftables.ChainHook{*nftables.ChainHookInput, *nftables.ChainHookOutput} {
		chains, err := droppers(hook, values, addrs)
		if err != nil {
			return nil, err
		}
		for _, c := range chains {
			if !c.Port && c.Family != "ip6" { // the kernel's daemons speak IPv4 there
				all = append(all, Barrier{c.Family, c.Table, c.Chain, hook == *nftables.ChainHookOutput})
			}
		}
	}
	return all, nil
}

// interfaceName is a name as rules compare it (IFNAMSIZ).
func interfaceName(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

var families = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
}

// Inputs returns the base chains at the input hook whose policy is drop, and whether their
// tables' rules name VRRP, the port or the senders. It changes nothing. The error is
// ErrNoTables on a kernel without nftables.
func Inputs(port uint16, senders ...netip.Addr) ([]Input, error) {
	return droppers(*nftables.ChainHookInput, [][]byte{binary.BigEndian.AppendUint16(nil, port)}, senders)
}

// droppers are the base chains at a hook whose policy is drop. Port says of each whether a
// rule names one of the values, or a sender.
func droppers(hook nftables.ChainHook, values [][]byte, senders []netip.Addr) ([]Input, error) {
	c, err := dial()
	if noTables(err) {
		return nil, ErrNoTables
	}
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list the chains of nftables: %w", err)
	}
	var inputs []Input
	for _, chain := range chains {
		family, ok := families[chain.Table.Family]
		if !ok || chain.Hooknum == nil || *chain.Hooknum != hook || chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop {
			continue
		}
		in := Input{Family: family, Table: chain.Table.Name, Chain: chain.Name}
		for _, other := range chains { // a rule may jump
			if other.Table.Name != chain.Table.Name || other.Table.Family != chain.Table.Family {
				continue
			}
			rules, err := c.GetRules(other.Table, other)
			if err != nil {
				return nil, fmt.Errorf("list the rules of %s %s %s: %w", family, other.Table.Name, other.Name, err)
			}
			for _, rule := range rules {
				if err := in.look(c, other.Table, rule.Exprs, values, senders); err != nil {
					return nil, err
				}
			}
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// look finds out what a rule names.
func (in *Input) look(c *nftables.Conn, t *nftables.Table, exprs []expr.Any, values [][]byte, senders []netip.Addr) error {
	for i, e := range exprs {
		if i > 0 {
			e = joined(exprs[i-1], e)
		}
		if lookup, ok := e.(*expr.Lookup); ok {
			set, err := c.GetSetByName(t, lookup.SetName)
			if err != nil {
				return fmt.Errorf("read the set %s of table %s: %w", lookup.SetName, t.Name, err)
			}
			elements, err := c.GetSetElements(set)
			if err != nil {
				return fmt.Errorf("read the set %s of table %s: %w", lookup.SetName, t.Name, err)
			}
			in.VRRP = in.VRRP || contains(elements, []byte{protocolVRRP})
			for _, v := range values {
				in.Port = in.Port || contains(elements, v)
			}
			for _, a := range senders {
				if contains(elements, a.AsSlice()) {
					in.VRRP, in.Port = true, true
				}
			}
			continue
		}
		in.VRRP = in.VRRP || names(e, []byte{protocolVRRP})
		for _, v := range values {
			in.Port = in.Port || names(e, v)
		}
		for _, a := range senders {
			if names(e, a.AsSlice()) {
				in.VRRP, in.Port = true, true
			}
		}
		if _, ok := e.(*expr.Match); ok {
			in.Port = true
		}
	}
	return nil
}

// joined makes one range of two comparisons: as such nft writes "8800-8900".
func joined(from, to expr.Any) expr.Any {
	low, ok := from.(*expr.Cmp)
	high, also := to.(*expr.Cmp)
	if ok && also && low.Op == expr.CmpOpGte && high.Op == expr.CmpOpLte {
		return &expr.Range{Op: expr.CmpOpEq, FromData: low.Data, ToData: high.Data}
	}
	return to
}

// names tells whether an expression compares with a value, in the form of the wire.
func names(e expr.Any, value []byte) bool {
	switch e := e.(type) {
	case *expr.Cmp:
		return e.Op == expr.CmpOpEq && bytes.Equal(e.Data, value)
	case *expr.Range:
		return e.Op == expr.CmpOpEq && len(e.FromData) == len(value) && len(e.ToData) == len(value) && bytes.Compare(e.FromData, value) <= 0 && bytes.Compare(value, e.ToData) <= 0
	}
	return false
}

// contains tells whether a value is in a set. The kernel lists an interval as two
// elements, its beginning and what comes after its end, in no order.
func contains(elements []nftables.SetElement, value []byte) bool {
	var begin, end []byte // the nearest ones that are not after the value
	for _, e := range elements {
		switch {
		case len(e.Key) < len(value) || bytes.Compare(e.Key[:len(value)], value) > 0:
		case e.IntervalEnd:
			if bytes.Compare(e.Key, end) > 0 {
				end = e.Key
			}
		case bytes.Equal(e.Key[:len(value)], value):
			return true
		case bytes.Compare(e.Key, begin) > 0:
			begin = e.Key
		}
	}
	return end != nil && begin != nil && bytes.Compare(end, begin) < 0 || end == nil && begin != nil && hasEnd(elements)
}

// hasEnd tells whether a set is one of intervals.
func hasEnd(elements []nftables.SetElement) bool {
	for _, e := range elements {
		if e.IntervalEnd {
			return true
		}
	}
	return false
}
