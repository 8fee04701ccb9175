package ipvs_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

// services are listed as they come, by their keys alone.
func services(keys ...ipvs.ServiceKey) ipvs.Listing {
	var l ipvs.Listing
	for _, k := range keys {
		l = append(l, ipvs.ListedService{Service: ipvs.Service{Key: k, Scheduler: "rr"}})
	}
	return l
}

func keysOf(l ipvs.Listing) string {
	var keys []string
	for _, s := range l {
		keys = append(keys, s.Key.String())
	}
	return strings.Join(keys, "\n")
}

// Where no two numbers are more than half the range apart the order is the natural one,
// whatever the kernel's was.
func TestSort(t *testing.T) {
	want := services(
		tcp("10.0.0.100:80"), tcp("10.0.0.100:443"), tcp("10.0.1.1:80"), tcp("100.64.0.1:1"),
		ipvs.AddrKey(ipvs.UDP, addr("10.0.0.100:53")), ipvs.AddrKey(ipvs.SCTP, addr("10.0.0.100:53")),
		tcp("[2001:db8::1]:80"), tcp("[2001:db8::2]:79"), tcp("[2001:db8:0:1::1]:80"), tcp("[2001:db8:0:1::1]:81"),
		ipvs.AddrKey(ipvs.UDP, addr("[2001:db8::1]:53")),
		ipvs.FWMarkKey(1, false), ipvs.FWMarkKey(1, true), ipvs.FWMarkKey(2, false),
	)
	r := rand.New(rand.NewPCG(1, 0))
	for range 100 {
		got := slices.Clone(want)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		got.Sort()
		if diff := cmp.Diff(keysOf(want), keysOf(got)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

func TestSortDestinations(t *testing.T) {
	l := services(tcp("10.0.0.100:80"))
	want := []string{"10.0.0.21:80", "10.0.0.21:81", "10.0.0.22:80", "100.0.0.1:80"}
	for _, i := range []int{2, 0, 3, 1} {
		l[0].Destinations = append(l[0].Destinations, ipvs.ListedDestination{Destination: ipvs.Destination{Key: addr(want[i])}})
	}
	l.Sort()
	for i, d := range l[0].Destinations {
		if d.Key.String() != want[i] {
			t.Errorf("destination %d is %s, want %s", i, d.Key, want[i])
		}
	}
}

// Further apart the difference of two numbers changes its sign. ipvsadm 1.31 listed each
// of these in this order.
func TestSortFarApart(t *testing.T) {
	for _, want := range []ipvs.Listing{
		services(tcp("192.168.1.1:80"), tcp("10.0.0.100:80")),
		services(ipvs.FWMarkKey(1<<32-1, false), tcp("10.0.0.100:80"), ipvs.FWMarkKey(10, false)),
		services(tcp("[fd00::100]:80"), tcp("[2001:db8::1]:80")),
	} {
		got := slices.Clone(want)
		slices.Reverse(got)
		got.Sort()
		if diff := cmp.Diff(keysOf(want), keysOf(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	// Of a circle the kernel's order decides: 10.0.0.1 is before 100.64.0.1, which is
	// before 192.168.1.1, which is before 10.0.0.1.
	a, b, c := tcp("10.0.0.1:80"), tcp("100.64.0.1:80"), tcp("192.168.1.1:80")
	for _, tt := range []struct{ kernel, want ipvs.Listing }{
		{services(a, b, c), services(a, b, c)}, // a; b before c; a before b
		{services(b, c, a), services(b, c, a)}, // b; c before a; b before c
		{services(c, b, a), services(c, a, b)}, // c; a before b; c before a
	} {
		got := slices.Clone(tt.kernel)
		got.Sort()
		if diff := cmp.Diff(keysOf(tt.want), keysOf(got)); diff != "" {
			t.Errorf("from\n%s\n(-want +got):\n%s", keysOf(tt.kernel), diff)
		}
	}
}
