package ipvs_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// A table to which a difference is applied becomes what the kernel makes of it.
func TestApplyRandomWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 0))
	k, table := ipvstest.New(), ipvs.Table{}
	for range 2000 {
		desired := ipvstest.RandomTable(r, false)
		for _, op := range ipvs.Diff(desired, table, all) {
			if err := k.Apply(t.Context(), op); err != nil {
				t.Fatal(err)
			}
			table.Apply(op)
			if diff := cmp.Diff(k.String(), table.String()); diff != "" {
				t.Fatalf("after %v: kernel - table +:\n%s", op, diff)
			}
		}
		if !table.Equal(desired) {
			t.Fatalf("got\n%s\nwant\n%s", table, desired)
		}
	}
}

func TestApplyToWhatIsNotThere(t *testing.T) {
	web := ipvs.ServiceKey{Protocol: ipvs.TCP, Addr: netip.MustParseAddrPort("10.0.0.100:80")}
	d := ipvs.Destination{Key: netip.MustParseAddrPort("10.0.0.21:80"), Forward: ipvs.ForwardDirect, Weight: 1}
	for _, op := range []ipvs.Op{
		ipvs.EditService{Service: ipvs.Service{Key: web, Scheduler: "rr"}}, ipvs.DeleteService{Key: web},
		ipvs.AddDestination{Service: web, Destination: d}, ipvs.EditDestination{Service: web, Destination: d},
		ipvs.DeleteDestination{Service: web, Key: d.Key},
	} {
		table := ipvs.Table{}
		if table.Apply(op); len(table) != 0 {
			t.Errorf("%v made %q of an empty table", op, table)
		}
	}
	table := ipvs.Table{web: {Service: ipvs.Service{Key: web, Scheduler: "rr"}}}
	table.Apply(ipvs.EditDestination{Service: web, Destination: d})
	if got := table.String(); got != "-A -t 10.0.0.100:80 -s rr\n" {
		t.Errorf("an edit of a destination that is not there: %q", got)
	}
	table.Apply(ipvs.AddDestination{Service: web, Destination: d})
	if got, want := table.String(), "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
