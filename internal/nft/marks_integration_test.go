//go:build integration || ipvs

package nft

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

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

// Packets get their marks on their way in, by address, protocol and port.
func TestPacketsAreMarked(t *testing.T) {
	self, client, _ := filterNet(t)
	m := NewMarks()
	if _, _, err := m.Ensure([]ipvs.Marking{marking(10, ipvs.UDP, "10.0.0.100", 5000, 5001), marking(11, ipvs.UDP, "2001:db8::100", 0, 0)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, err := m.Ensure(nil)
		must(t, err)
	})
	self.Run(t, "nft", "add", "table", "inet", "count")
	t.Cleanup(func() { self.Run(t, "nft", "delete", "table", "inet", "count") })
	self.Run(t, "nft", "add", "chain", "inet", "count", "input", "{ type filter hook input priority 0; }")
	for _, mark := range []string{"0", "10", "11"} {
		self.Run(t, "nft", "add", "rule", "inet", "count", "input", "meta l4proto udp meta mark "+mark+" counter")
	}
	for _, to := range []string{"10.0.0.100:4999", "10.0.0.100:5000", "10.0.0.100:5001", "10.0.0.100:5002", "10.0.0.1:5000", "[2001:db8::100]:7", "[2001:db8::1]:7"} {
		client.Do(func() {
			c, err := net.DialTimeout("udp", to, time.Second)
			must(t, err)
			defer c.Close()
			_, err = c.Write([]byte("x"))
			must(t, err)
		})
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		list := self.Run(t, "nft", "list", "chain", "inet", "count", "input")
		if strings.Contains(list, "0x00000000 counter packets 4 ") && strings.Contains(list, "0x0000000a counter packets 2 ") && strings.Contains(list, "0x0000000b counter packets 1 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want 4 without a mark, 2 with 10, 1 with 11:\n%s", list)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
