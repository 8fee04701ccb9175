package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

// Whatever is changed later, the table that readers were shown stays as it was.
func TestShownTablesStayWhatTheyWere(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rand, kernel := rand.New(rand.NewPCG(seed, 0)), ipvstest.New()
			r := &reconciler{kernel: kernel}
			type moment struct {
				shown Pass
				was   string
			}
			var moments []moment
			for range 200 {
				if rand.IntN(10) == 0 || r.known == nil {
					r.learn(r.read(t.Context(), nil))
				}
				s := ipvs.Service{Key: ipvs.FWMarkKey(uint32(1+rand.IntN(3)), false), Scheduler: pick(rand, "rr", "wrr")}
				d := ipvs.Destination{Key: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rand.IntN(3))}), 80), Weight: uint32(rand.IntN(3))}
				op := pick[ipvs.Op](rand,
					ipvs.AddService{Service: s}, ipvs.EditService{Service: s}, ipvs.DeleteService{Key: s.Key},
					ipvs.AddDestination{Service: s.Key, Destination: d}, ipvs.AddDestination{Service: s.Key, Destination: d},
					ipvs.EditDestination{Service: s.Key, Destination: d}, ipvs.DeleteDestination{Service: s.Key, Key: d.Key})
				if kernel.Apply(t.Context(), op) == nil {
					r.applied(op)
				}
				var p Pass
				r.tell(&p)
				moments = append(moments, moment{p, kernel.String()})
				if rand.IntN(2) == 0 {
					p.Table()
				}
			}
			for i, m := range moments {
				if got := m.shown.Table().String(); got != m.was {
					t.Fatalf("after %d operations there was\n%s\nand is shown\n%s", i+1, m.was, got)
				}
			}
		})
	}
}
