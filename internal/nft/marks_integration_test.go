//go:build integration || ipvs

package nft

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
)

func marking(mark uint32, p ipvs.Protocol, addr string, first, last uint16) ipvs.Marking {
	return ipvs.Marking{Mark: mark, Protocol: p, To: ipvs.Ports{Addr: netip.MustParseAddr(addr), First: first, Last: last}}
}

var someMarks = []ipvs.Marking{
	marking(10, ipvs.TCP, "10.0.0.100", 80, 80),
	marking(10, ipvs.TCP, "10.0.0.100", 8000, 8010),
	marking(4294967295, ipvs.UDP, "2001:db8::100", 53, 53),
	marking(12, ipvs.SCTP, "10.0.0.100", 0, 0),
}

// chain is what nft lists of the marks' chain, or nothing without one.
func chain(t *testing.T, self *netnstest.NS) string {
	t.Helper()
	if !strings.Contains(self.Run(t, "nft", "list", "tables"), "inet hadirector_mark") {
		return ""
	}
	return self.Run(t, "nft", "-n", "list", "chain", "inet", "hadirector_mark", "prerouting")
}

const someChain = `table inet hadirector_mark {
	chain prerouting {
		type filter hook prerouting priority -150; policy accept;
		ip daddr 10.0.0.100 tcp dport 80 meta mark set 0x0000000a
		ip daddr 10.0.0.100 tcp dport 8000-8010 meta mark set 0x0000000a
		ip6 daddr 2001:db8::100 udp dport 53 meta mark set 0xffffffff
		ip daddr 10.0.0.100 meta l4proto 132 meta mark set 0x0000000c
	}
}
`

func TestMarksAreWrittenAndPutBack(t *testing.T) {
	self := netnstest.Self()
	m := NewMarks()
	t.Cleanup(func() {
		_, _, err := m.Ensure(nil)
		must(t, err)
	})
	for _, tt := range []struct {
		name            string
		before          []string // nft's arguments
		want            []ipvs.Marking
		wrote, repaired bool
		chain           string
	}{
		{"nothing to begin with", nil, nil, false, false, ""},
		{"the first", nil, someMarks, true, false, someChain},
		{"the same", nil, someMarks, false, false, someChain},
		{"after a flush of everything", []string{"flush", "ruleset"}, someMarks, true, true, someChain},
		{"after a flush of the chain", []string{"flush", "chain", "inet", "hadirector_mark", "prerouting"}, someMarks, true, true, someChain},
		{"others", nil, someMarks[:1], true, false, strings.Join(append(strings.SplitAfter(someChain, "\n")[:4], "\t}\n}\n"), "")},
		{"none", nil, nil, true, false, ""},
		{"none again", nil, nil, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before != nil {
				self.Run(t, "nft", tt.before...)
			}
			wrote, repaired, err := m.Ensure(tt.want)
			if err != nil || wrote != tt.wrote || repaired != tt.repaired {
				t.Errorf("wrote %t, repaired %t, %v, want %t and %t", wrote, repaired, err, tt.wrote, tt.repaired)
			}
			if diff := cmp.Diff(tt.chain, chain(t, self)); diff != "" {
				t.Errorf("-want +nft:\n%s", diff)
			}
		})
	}
}

// What a run that was killed has left goes at the start of the next, and the filter's table
// is another one.
func TestMarksOfAnEarlierRunGo(t *testing.T) {
	self := netnstest.Self()
	f := New()
	must(t, f.Refuse("eth0", vips))
	t.Cleanup(func() { must(t, f.Close()) })
	if _, _, err := NewMarks().Ensure(someMarks); err != nil {
		t.Fatal(err)
	}
	if wrote, repaired, err := NewMarks().Ensure(nil); err != nil || !wrote || repaired {
		t.Errorf("wrote %t, repaired %t, %v, want a deletion", wrote, repaired, err)
	}
	if tables := self.Run(t, "nft", "list", "tables"); tables != "table inet hadirector\n" {
		t.Errorf("tables %q, want the filter's alone", tables)
	}
}
