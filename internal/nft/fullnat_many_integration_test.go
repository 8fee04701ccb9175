//go:build integration

package nft

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

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

// Any sequence of changes ends where writing the last state at once would.
func TestFullNATRandomWalk(t *testing.T) {
	self := netnstest.Self()
	t.Cleanup(func() { self.Run(t, "nft", "flush", "ruleset") })
	r := rand.New(rand.NewPCG(1, 2))
	f := NewFullNAT()
	for range 60 {
		var want []ipvs.Translation
		for _, tr := range someTranslations {
			if r.IntN(2) == 0 {
				continue
			}
			if r.IntN(3) == 0 && tr.Server.Addr().Is4() {
				tr.Source = netip.AddrFrom4([4]byte{10, 1, 0, byte(r.IntN(3))})
			}
			want = append(want, tr)
		}
		if _, _, err := f.Ensure(want); err != nil {
			t.Fatal(err)
		}
		entries := entriesOf(want)
		for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
			there, err := exists(fullNATTable, family)
			must(t, err)
			if there != (len(entries[family]) > 0) {
				t.Fatalf("%v: a table of family %d: %t", want, family, there)
			}
			if !there {
				continue
			}
			actual, whole, err := newNATTable(family).read()
			maps.DeleteFunc(actual, func(_ natSet, e map[string]string) bool { return len(e) == 0 })
			if err != nil || !whole || !reflect.DeepEqual(actual, entries[family]) {
				t.Fatalf("%v: the table is whole %t, %v, and has\n%v\nwant\n%v", want, whole, err, actual, entries[family])
			}
		}
	}
}
