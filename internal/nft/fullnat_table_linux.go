package nft

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
)

const (
	fullNATTable = "hadirector_fullnat" // one of the family ip, one of ip6
	fullNATChain = "postrouting"
	guardChain   = "input"
	lateChain    = "late_input"
	// fullNATPriority is before that of others' source NAT: of several the first one wins.
	fullNATPriority = 99
	// natChunk is how many elements go into one message. Those of IPv6 have nearly a hundred
	// bytes, and a message's list of them ends at 64 KiB.
	natChunk = 500
)

// natTable is one of the two tables. Its chains, rules and sets are always the same; what
// is translated is in the sets.
//
//	chain postrouting { type nat hook postrouting priority srcnat - 1; policy accept;
//	  ip daddr . ct original ip daddr . ct original proto-dst . meta l4proto @services snat to ct original ip daddr
//	  snat to ip daddr . ct original ip daddr . ct original proto-dst . meta l4proto map @services_from
//	  ... the same by addresses, and by marks }
//	chain input { type filter hook input priority filter; policy accept;
//	  ip saddr . tcp sport @servers ct state invalid,new drop }
//	chain late_input { type filter hook input priority 110; policy accept;
//	  ip saddr @any_port_servers tcp flags & syn == 0 ct state invalid,new drop }
//
// What IPVS has forwarded by NAT is not where the client sent it: that is how it is told
// from what only passes through.
//
// The second chain is for what a real server sends to a director that has just become
// Master and does not know the connection yet: a reset in answer to it would end the
// connection. The client's next packet makes it known, and then the real server's next
// attempt comes through. Where a real server keeps the client's port, what it answers cannot
// be told from what it asks others. So the third chain comes behind IPVS, which takes what
// real servers ask of virtual servers, and leaves the beginnings of connections alone.
type natTable struct {
	table *nftables.Table
	addr  nftables.SetDatatype // an address of the family
}

func newNATTable(family nftables.TableFamily) natTable {
	t := natTable{&nftables.Table{Family: family, Name: fullNATTable}, nftables.TypeIPAddr}
	if family == nftables.TableFamilyIPv6 {
		t.addr = nftables.TypeIP6Addr
	}
	return t
}

// set returns a set without its elements.
func (t natTable) set(name natSet) *nftables.Set {
	key := t.key(name)
	s := &nftables.Set{Table: t.table, Name: string(name), KeyType: key[0]}
	if len(key) > 1 {
		s.Concatenation, s.KeyType = true, nftables.MustConcatSetType(key...)
	}
	if name.isMap() {
		s.IsMap, s.DataType = true, t.addr
	}
	return s
}

func (t natTable) remove() error {
	c, err := dial()
	if err != nil {
		return err
	}
	c.AddTable(t.table) // to delete a table that is not there would be an error
	c.DelTable(t.table)
	return t.flush(c)
}

func (t natTable) flush(c *nftables.Conn) error {
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write table %s %s: %w", familyWord(t.table.Family), fullNATTable, err)
	}
	return nil
}

func familyWord(f nftables.TableFamily) string {
	if f == nftables.TableFamilyIPv6 {
		return "ip6"
	}
	return "ip"
}

// create puts a table with these entries in the place of the one that is there, if there is
// one. The rules come in a second transaction.
func (t natTable) create(entries natEntries) error {
	c, err := dial()
	if err != nil {
		return err
	}
	c.AddTable(t.table)
	c.DelTable(t.table)
	c.AddTable(t.table)
	c.AddChain(&nftables.Chain{
		Name: fullNATChain, Table: t.table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(fullNATPriority),
	})
	c.AddChain(&nftables.Chain{
		Name: guardChain, Table: t.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddChain(&nftables.Chain{
		Name: lateChain, Table: t.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(inputPriority),
	})
	for _, name := range natSets {
		s := t.set(name)
		if err := c.AddSet(s, nil); err != nil {
			return fmt.Errorf("add set %s: %w", name, err)
		}
		if err := eachChunk(c.SetAddElements, s, entries[name], slices.Collect(maps.Keys(entries[name]))); err != nil {
			return fmt.Errorf("add elements to set %s: %w", name, err)
		}
	}
	if err := t.flush(c); err != nil {
		return err
	}
	return t.addRules()
}

// change makes of a table's actual entries those that are wanted, in one transaction, and
// tells whether anything was to be done.
func (t natTable) change(actual, want natEntries) (bool, error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	changed := false
	for _, name := range natSets {
		var old, fresh []string
		for key, val := range actual[name] {
			if w, ok := want[name][key]; !ok || w != val {
				old = append(old, key)
			}
		}
		for key, val := range want[name] {
			if a, ok := actual[name][key]; !ok || a != val {
				fresh = append(fresh, key)
			}
		}
		changed = changed || len(old)+len(fresh) > 0
		if err := eachChunk(c.SetDeleteElements, t.set(name), actual[name], old); err != nil {
			return false, fmt.Errorf("delete elements of set %s: %w", name, err)
		}
		if err := eachChunk(c.SetAddElements, t.set(name), want[name], fresh); err != nil {
			return false, fmt.Errorf("add elements to set %s: %w", name, err)
		}
	}
	if !changed {
		return false, nil
	}
	return true, t.flush(c)
}

// eachChunk gives some of a set's entries to the library, as many at a time as fit.
func eachChunk(do func(*nftables.Set, []nftables.SetElement) error, s *nftables.Set, entries map[string]string, keys []string) error {
	slices.Sort(keys)
	for part := range slices.Chunk(keys, natChunk) {
		elems := make([]nftables.SetElement, len(part))
		for i, key := range part {
			elems[i] = nftables.SetElement{Key: []byte(key), Val: []byte(entries[key])}
		}
		if err := do(s, elems); err != nil {
			return err
		}
	}
	return nil
}

// read reads the table's entries, and tells whether the rest of it is whole.
func (t natTable) read() (natEntries, bool, error) {
	c, err := dial()
	if err != nil {
		return nil, false, err
	}
	for chain, rules := range t.rules() {
		if n, err := t.countRules(chain); err != nil || n != len(rules) {
			return nil, false, err
		}
	}
	sets, err := c.GetSets(t.table)
	if err != nil {
		return nil, false, fmt.Errorf("list sets of table %s %s: %w", familyWord(t.table.Family), fullNATTable, err)
	}
	actual := make(natEntries)
	for _, s := range sets {
		elems, err := c.GetSetElements(s)
		if err != nil {
			return nil, false, fmt.Errorf("list set %s of table %s %s: %w", s.Name, familyWord(t.table.Family), fullNATTable, err)
		}
		entries := make(map[string]string, len(elems))
		for _, e := range elems {
			entries[string(e.Key)] = string(e.Val)
		}
		actual[natSet(s.Name)] = entries
	}
	for _, name := range natSets {
		if _, ok := actual[name]; !ok {
			return nil, false, nil
		}
	}
	return actual, true, nil
}
