package nft

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/hadirector/hadirector/ipvs"
)

// marksTable is apart from the table of [Filter], which another process writes and each
// change replaces as a whole.
const (
	marksTable = "hadirector_mark"
	marksChain = "prerouting"
)

// Marks gives packets firewall marks, by a table of its own. It may be used by any
// goroutine.
type Marks struct {
	mu      sync.Mutex // makes one transaction follow the other, and guards what follows
	known   bool       // written is what the table was last made
	written []ipvs.Marking
}

// NewMarks returns a Marks. It writes nothing yet.
func NewMarks() *Marks { return &Marks{} }

// Ensure makes the packets that come to the machine get these marks and no others; the last
// of several that fit wins. Without any there is no table, and one that an earlier run has
// left is deleted. It is cheap when there is nothing to do, so it may be called every
// second. It tells whether it wrote anything, and whether that was to put back what somebody
// else had taken away.
func (m *Marks) Ensure(want []ipvs.Marking) (wrote, repaired bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	same := m.known && slices.Equal(want, m.written)
	if same {
		whole, err := intact(want)
		if err != nil || whole {
			return false, false, err
		}
	}
	if !m.known && len(want) == 0 {
		there, err := exists(marksTable, nftables.TableFamilyINet)
		if noTables(err) || err == nil && !there {
			m.known = true
			return false, false, nil
		}
		if err != nil {
			return false, false, fmt.Errorf("look for firewall marks of an earlier run: %w", err)
		}
	}
	m.known = false
	if err := replaceMarks(want); err != nil {
		if noTables(err) {
			err = errNoTables(err)
		}
		return false, false, fmt.Errorf("set firewall marks%s: %w", some(want), err)
	}
	m.known, m.written = true, slices.Clone(want)
	return true, same, nil
}

// intact tells whether the chain still has as many rules as were written. That finds what
// a flush, of whatever extent, has taken away.
func intact(want []ipvs.Marking) (bool, error) {
	if len(want) == 0 {
		return true, nil
	}
	c, err := dial()
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: marksTable}
	there, err := exists(marksTable, nftables.TableFamilyINet)
	if err != nil || !there {
		return false, err
	}
	rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: marksChain})
	if err != nil {
		return false, fmt.Errorf("list firewall marks: %w", err)
	}
	return len(rules) == len(want), nil
}

// replaceMarks puts a table with these marks in the place of the one that is there, if
// there is one, or deletes that one, in one transaction:
//
//	chain prerouting { type filter hook prerouting priority mangle; policy accept;
//	  ip daddr 10.0.0.100 tcp dport 80 meta mark set 0xa
//	  ip daddr 10.0.0.100 tcp dport 8000-8999 meta mark set 0xa }
func replaceMarks(want []ipvs.Marking) error {
	c, err := dial()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: marksTable}
	// To delete a table that is not there would be an error.
	c.AddTable(t)
	c.DelTable(t)
	if len(want) > 0 {
		t = c.AddTable(t)
		chain := c.AddChain(&nftables.Chain{
			Name: marksChain, Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
		})
		for _, m := range want {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(
				to(m.To), isProtocol(byte(m.Protocol)), destinationPort(m.To), setMark(m.Mark))})
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write table inet %s: %w", marksTable, err)
	}
	return nil
}

// to matches the destination address.
func to(p ipvs.Ports) []expr.Any {
	if p.Addr.Is4() {
		return slices.Concat(isIPv4(), header(16, 4), equal(p.Addr.AsSlice()))
	}
	return slices.Concat(isIPv6(), header(24, 16), equal(p.Addr.AsSlice()))
}

// destinationPort matches the ports; port 0 matches all. The three protocols of IPVS have
// the destination port at the same place.
func destinationPort(p ipvs.Ports) []expr.Any {
	port := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
	first, last := binary.BigEndian.AppendUint16(nil, p.First), binary.BigEndian.AppendUint16(nil, p.Last)
	switch {
	case p.First == 0:
		return nil
	case p.First == p.Last:
		return append(port, equal(first)...)
	}
	return append(port, &expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: first}, &expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: last})
}

func setMark(mark uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}
