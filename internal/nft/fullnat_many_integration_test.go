//go:build integration

package nft

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/ipvs"
)

// It compares times of a long table, for which an emulated machine is no place.
func TestManyTranslations(t *testing.T) {
	self := netnstest.Self()
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	var many []ipvs.Translation
	for i := range 6000 {
		vip := netip.AddrFrom16([16]byte{0xfd, 1, 14: byte(i >> 8), 15: byte(i)})
		many = append(many, translation(ipvs.AddrKey(ipvs.TCP, netip.AddrPortFrom(vip, 80)), "[fd02::1]:80", "fd03::1"))
	}
	f := NewFullNAT()
	if _, _, err := f.Ensure(many); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(self.Run(t, "nft", "list", "map", "ip6", "hadirector_fullnat", "services_from"), "fd03::1"); got != len(many) {
		t.Errorf("%d entries, want %d", got, len(many))
	}
	// To look whether they are still there is not to read them all.
	began := time.Now()
	if wrote, _, err := NewFullNAT().Ensure(many); err != nil || wrote {
		t.Fatalf("wrote %t, %v", wrote, err)
	}
	reading := time.Since(began)
	if wrote, _, err := f.Ensure(many); err != nil || wrote {
		t.Fatalf("wrote %t, %v", wrote, err)
	}
	began = time.Now()
	if wrote, _, err := f.Ensure(many); err != nil || wrote {
		t.Fatalf("wrote %t, %v", wrote, err)
	}
	if looking := time.Since(began); looking > reading/3 {
		t.Errorf("looking took %v, and reading all %v", looking, reading)
	}
}
