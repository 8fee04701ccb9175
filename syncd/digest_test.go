package syncd_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/syncd"
)

// Directors of all versions must get the same sums. These were worked out apart from the
// package.
func TestDigest(t *testing.T) {
	table := syncd.NewTable(100)
	for _, c := range []syncd.Conn{tcp4, udp6, call} {
		table.Observe(began, c, 0)
	}
	want := map[syncd.VirtualServer]syncd.Digest{
		{Protocol: syncd.ProtocolTCP, Addr: addr("10.0.0.100:80")}:   {Conns: 1, Sum: 0xe6b69edccaf0b222},
		{FWMark: 10, IPv6: true}:                                     {Conns: 1, Sum: 0xfe3137d5540bf886},
		{Protocol: syncd.ProtocolUDP, Addr: addr("10.0.0.100:5060")}: {Templates: 1, Sum: 0x26e8243041b2be05},
	}
	if diff := cmp.Diff(want, maps.Collect(table.Digests()), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var names []string
	for v, d := range want {
		names = append(names, v.String())
		if got := table.Digest(v); got != d {
			t.Errorf("%s: %v, want %v", v, got, d)
		}
	}
	slices.Sort(names)
	if want := []string{"TCP 10.0.0.100:80", "UDP 10.0.0.100:5060", "fwmark 10 IPv6"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if v := (syncd.VirtualServer{FWMark: 9}); v.String() != "fwmark 9" || table.Digest(v) != (syncd.Digest{}) {
		t.Errorf("%s: %v", v, table.Digest(v))
	}
}

// What is the same connection to a client has the same digest, whatever its state; what
// is not has another.
func TestDigestCovers(t *testing.T) {
	digest := func(cs ...syncd.Conn) syncd.Digest {
		table := syncd.NewTable(100)
		for _, c := range cs {
			table.Observe(began, c, 0)
		}
		var sum syncd.Digest
		for _, d := range table.Digests() {
			sum = sum.Add(d)
		}
		return sum
	}
	for _, tt := range []struct {
		name   string
		change func(*syncd.Conn)
		same   bool
	}{
		{"state", func(c *syncd.Conn) { c.State = 4 }, true},
		{"timeout", func(c *syncd.Conn) { c.Timeout = time.Second }, true},
		{"flags", func(c *syncd.Conn) { c.Flags = syncd.FlagSync | syncd.FlagInactive }, true},
		{"sequence numbers", func(c *syncd.Conn) { c.Sequences = shifted.Sequences }, true},
		{"template", func(c *syncd.Conn) { c.Flags |= syncd.FlagTemplate }, false},
		{"protocol", func(c *syncd.Conn) { c.Protocol = syncd.ProtocolSCTP }, false},
		{"client", func(c *syncd.Conn) { c.Client = addr("10.0.0.2:40001") }, false},
		{"client's port", func(c *syncd.Conn) { c.Client = addr("10.0.0.1:40002") }, false},
		{"virtual address", func(c *syncd.Conn) { c.Virtual = addr("10.0.0.101:80") }, false},
		{"virtual port", func(c *syncd.Conn) { c.Virtual = addr("10.0.0.100:81") }, false},
		{"real server", func(c *syncd.Conn) { c.Real = addr("10.0.0.22:80") }, false},
		{"its port", func(c *syncd.Conn) { c.Real = addr("10.0.0.21:81") }, false},
		{"family", func(c *syncd.Conn) {
			c.Client, c.Virtual, c.Real = addr("[::ffff:10.0.0.1]:40001"), addr("[::ffff:10.0.0.100]:80"), addr("[::ffff:10.0.0.21]:80")
		}, false},
	} {
		c := tcp4
		tt.change(&c)
		if same := digest(c) == digest(tcp4); same != tt.same {
			t.Errorf("%s: the same digest: %v, want %v", tt.name, same, tt.same)
		}
	}
	other := call
	other.EngineData = "2@example.org"
	if digest(call) == digest(other) {
		t.Error("two calls have the same digest")
	}
	if digest(tcp4, udp6, call) != digest(call, tcp4, udp6, tcp4) {
		t.Error("the digest depends on the order")
	}
}
