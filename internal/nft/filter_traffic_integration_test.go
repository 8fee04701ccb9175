//go:build integration

package nft

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
)

func TestRefusedAddressesAreNotAnswered(t *testing.T) {
	_, client, _ := filterNet(t)
	f := New()
	check := func(when string, accepted bool) {
		t.Helper()
		client.IP(t, "neigh flush dev eth0") // so that each ping asks for the MAC address first
		// What is for others goes on: through the machine, and to its own addresses.
		virtual, want := []string{"10.0.0.100", "2001:db8::100"}, []string{"10.0.0.1", "10.1.0.9", "2001:db8:1::9", "2001:db8::1"}
		got := answering(t, client, slices.Concat(virtual, want)...)
		if accepted {
			want = slices.Sorted(slices.Values(slices.Concat(virtual, want)))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: addresses that answer (-want +got):\n%s", when, diff)
		}
		for _, vip := range virtual {
			if neigh := client.IP(t, "neigh show "+vip+" dev eth0"); !strings.Contains(neigh, "lladdr") {
				t.Errorf("%s: no neighbour entry for %s: %q", when, vip, neigh)
			}
		}
	}
	check("at first", true)
	for range 2 {
		must(t, f.Refuse("eth0", vips))
		check("refused", false)
	}
	if got := tables(t); got != "table inet hadirector\n" {
		t.Errorf("tables are %q", got)
	}
	for range 2 {
		must(t, f.Accept("eth0", vips))
		check("accepted", true)
		if got := tables(t); got != "" {
			t.Errorf("tables are left: %q", got)
		}
	}
}

func TestManyAddresses(t *testing.T) {
	f := New()
	var many []netip.Prefix
	for i := range 6000 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	must(t, f.Refuse("eth0", many))
	if got := strings.Count(netnstest.Self().Run(t, "nft", "list", "set", "inet", "hadirector", "refused4"), "10.1."); got != len(many) {
		t.Errorf("%d addresses are in the table, want %d", got, len(many))
	}
	must(t, f.Close())
}

// Virtual routers that become Master together share transactions: each of them takes the
// kernel some milliseconds.
func TestManyAtOnceShareATransaction(t *testing.T) {
	f := New()
	refuse := func(i int) {
		if err := f.Refuse("eth0", []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 32)}); err != nil {
			t.Error(err)
		}
	}
	began := time.Now()
	for i := range 50 {
		refuse(i)
	}
	oneByOne := time.Since(began)
	began = time.Now()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { refuse(100 + i) })
	}
	all.Wait()
	if together := time.Since(began); together > oneByOne/3 {
		t.Errorf("%v together, %v one by one", together, oneByOne)
	}
	if got := strings.Count(netnstest.Self().Run(t, "nft", "list", "set", "inet", "hadirector", "refused4"), "10.1.0."); got != 100 {
		t.Errorf("%d addresses are in the table, want 100", got)
	}
	must(t, f.Close())
}
