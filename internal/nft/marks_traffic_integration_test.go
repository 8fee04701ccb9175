//go:build integration

package nft

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/ipvs"
)

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
