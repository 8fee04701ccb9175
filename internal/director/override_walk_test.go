package director

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Two directors are operated at random, lose each other, and are restarted. Whenever they
// hear each other, both kernels have what was last asked of each real server, wherever.
func TestClusterWalk(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				defer func() { s.end() }()
				r := rand.New(rand.NewPCG(seed, 0))
				asked := make(map[string]Override) // by real server
				var steps []string
				for range 40 {
					m := pick(r, s.a, s.b)
					switch r.IntN(8) {
					case 0:
						steps = append(steps, "cut")
						s.link(false)
					case 1, 2:
						steps = append(steps, "heal")
						s.link(true)
					case 3:
						steps = append(steps, "restart "+m.name)
						if err := m.stop(); err != nil {
							t.Fatal(err)
						}
						m.start(keyedTOML)
					default:
						name := pick(r, "web-1", "web-2")
						req := OverrideRequest{Target: "web/" + name, Kind: pick(r, OverrideDrain, OverrideDisable, OverrideWeight, OverrideNone)}
						if req.Kind == OverrideWeight {
							req.Weight = uint32(r.IntN(9))
						}
						o := Override{Kind: req.Kind, Weight: req.Weight}
						if req.Kind != OverrideNone && r.IntN(2) == 0 {
							req.For = time.Duration(1+r.IntN(20)) * time.Second
							o.Until = time.Now().Round(0).Add(req.For)
						}
						steps = append(steps, fmt.Sprintf("%s weight %d of %s for %v on %s", req.Kind, req.Weight, name, req.For, m.name))
						m.change(m.d, req)
						asked[name] = o
					}
					time.Sleep(time.Second + time.Millisecond)
					synctest.Wait()
					if s.cut {
						continue
					}
					s.wants(walked(asked))
					if t.Failed() {
						t.Fatalf("after\n%s", strings.Join(steps, "\n"))
					}
				}
			})
		})
	}
}

// walked is the table with what was asked of the two real servers.
func walked(asked map[string]Override) string {
	text, serving := "", false
	for i, weight := range []uint32{1, 2} {
		o := asked[fmt.Sprintf("web-%d", i+1)]
		if o.over(time.Now()) {
			o = Override{}
		}
		switch o.Kind {
		case OverrideDisable:
			continue
		case OverrideDrain:
			weight = 0
		case OverrideWeight:
			weight = o.Weight
		}
		serving = serving || weight > 0
		text += fmt.Sprintf("-a -t 10.0.0.100:80 -r 10.0.0.2%d:80 -g -w %d\n", i+1, weight)
	}
	if !serving {
		text = "-a -t 10.0.0.100:80 -r 10.0.0.9:80 -g -w 1\n" + text
	}
	return "-A -t 10.0.0.100:80 -s wrr\n" + text
}
