package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseRule reads a policy rule in the words of ip-rule(8):
//
//	[not] [from PREFIX|all] [to PREFIX|all] [iif IF] [oif IF] [fwmark N[/MASK]]
//	[priority N] table N|main|local|default | blackhole | unreachable | prohibit
//
// A rule is of the family of its prefixes, or of the given one if it has none. An
// error names the word that is wrong.
func ParseRule(s string, family Family) (Rule, error) {
	var r Rule
	var families familyOf
	w := newWords(s)
	if w.peek() == "not" {
		w.next()
		r.Not = true
	}
	for !w.done() {
		word := w.next()
		var err error
		switch word {
		case "from":
			r.From, err = w.network(&families)
		case "to":
			r.To, err = w.network(&families)
		case "iif", "dev":
			word = "iif"
			r.In, err = w.ifname()
		case "oif":
			r.Out, err = w.ifname()
		case "fwmark":
			r.Mark, r.Mask, err = w.mark()
		case "priority", "preference", "pref", "order":
			word = "priority"
			r.Priority, err = w.number(1, 1<<32-1)
		case "table", "lookup":
			word = "table"
			r.Table, err = w.table()
		case "blackhole", "unreachable", "prohibit":
			r.Action, word = word, "action"
		default:
			return Rule{}, fmt.Errorf("%q is no word of a rule", word)
		}
		if err == nil {
			err = w.once(word)
		}
		if err != nil {
			return Rule{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	if families.err != nil {
		return Rule{}, families.err
	}
	r.Family = family
	if families.is != 0 {
		r.Family = families.is
	}
	switch {
	case r.Action == "" && r.Table == 0:
		return Rule{}, fmt.Errorf("neither table nor blackhole, unreachable or prohibit")
	case r.Action != "" && r.Table != 0:
		return Rule{}, fmt.Errorf("table: the rule is %s as well", r.Action)
	}
	return r, nil
}

// String is the rule as ip-rule(8) takes it; [ParseRule] reads it.
func (r Rule) String() string {
	var b strings.Builder
	if r.Not {
		b.WriteString("not ")
	}
	b.WriteString("from " + networkName(r.From))
	if r.To.IsValid() {
		b.WriteString(" to " + networkName(r.To))
	}
	if r.In != "" {
		b.WriteString(" iif " + r.In)
	}
	if r.Out != "" {
		b.WriteString(" oif " + r.Out)
	}
	if r.Mark != 0 || r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
		if r.Mask != 0 {
			fmt.Fprintf(&b, "/%#x", r.Mask)
		}
	}
	if r.Priority != 0 {
		fmt.Fprintf(&b, " priority %d", r.Priority)
	}
	if r.Action != "" {
		b.WriteString(" " + r.Action)
	} else {
		b.WriteString(" table " + tableName(r.Table))
	}
	return b.String()
}

func networkName(p netip.Prefix) string {
	if !p.IsValid() {
		return "all"
	}
	return p.String()
}
