package vrrp_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

// TestRandomWalk feeds random events and checks after each what must always hold:
// the invariants of the package comment.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(100) {
		walk(t, rand.New(rand.NewPCG(seed, 1)))
	}
}

func walk(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	p := randomParams(rnd)
	vr := vrrp.NewVirtualRouter(51, p)
	holds := map[netip.Prefix]bool{} // what the interface has
	now := t0
	var story []string
	for range 200 {
		ev := randomEvent(rnd, vr)
		now = now.Add(time.Duration(rnd.Int64N(int64(2 * time.Second))))
		if _, ok := ev.(vrrp.Timeout); ok {
			if d, armed := vr.Deadline(); armed && d.After(now) {
				now = d
			}
		}
		before := vr.Snapshot()
		deadlineBefore, _ := vr.Deadline()
		actions := vr.Handle(now, ev)
		after := vr.Snapshot()
		story = append(story, fmt.Sprintf("%v %T %v: %v", now.Sub(t0), ev, before.State, vrrptest.DescribeAll(actions)))
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(story[max(0, len(story)-8):], "\n"))
		}

		released := false
		for i, a := range actions {
			switch a := a.(type) {
			case vrrp.AcquireAddrs:
				for _, addr := range a.Addresses {
					holds[addr] = true
				}
			case vrrp.ReleaseAddrs:
				released = true
				for _, addr := range a.Addresses {
					delete(holds, addr)
				}
			case vrrp.SendAdvert:
				if a.Advert.Priority == vrrp.PriorityRelease && (released || before.State != vrrp.Master) {
					fail("priority 0 in the wrong place")
				}
			case vrrp.Transitioned:
				if i != len(actions)-1 || a.From != before.State || a.To != after.State || a.From == a.To {
					fail("wrong transition %+v", a)
				}
			}
		}
		// The addresses are there exactly as long as we are Master.
		want := 0
		if after.State == vrrp.Master {
			want = len(after.Params.Addresses)
			for _, addr := range after.Params.Addresses {
				if !holds[addr] {
					fail("a Master without %v", addr)
				}
			}
		}
		if len(holds) != want {
			fail("%v holds %v", after.State, holds)
		}
		next, armed := vr.Deadline()
		if armed != (after.State == vrrp.Backup || after.State == vrrp.Master) {
			fail("%v with a deadline: %v", after.State, armed)
		}
		// A timeout that is due moves the deadline on, or the shell would spin.
		if _, ok := ev.(vrrp.Timeout); ok && armed && !next.After(now) {
			fail("the deadline stays at %v", next.Sub(t0))
		}
		// What is refused leaves every timer as it was.
		if rx, ok := ev.(vrrp.AdvertReceived); ok && before.Params.Check(rx.From, rx.Advert) != nil &&
			(len(actions) > 0 || !next.Equal(deadlineBefore)) {
			fail("a refused advertisement had an effect")
		}
	}
}

func randomParams(rnd *rand.Rand) vrrp.Params {
	p := params()
	p.Priority = vrrp.Priority(1 + rnd.IntN(255))
	p.Preempt = rnd.IntN(2) == 0
	p.PreemptDelay = time.Duration(rnd.IntN(3)) * time.Second
	p.AdvertInterval = time.Duration(1+rnd.IntN(3)) * time.Second
	p.Version = []vrrp.Version{vrrp.Version2, vrrp.Version3}[rnd.IntN(2)]
	all := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.100/24"), netip.MustParsePrefix("192.0.2.101/24"),
		netip.MustParsePrefix("192.0.2.102/32"), netip.MustParsePrefix("192.0.2.100/32"),
	}
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	p.Addresses = all[:1+rnd.IntN(len(all))]
	return p
}

func randomEvent(rnd *rand.Rand, vr *vrrp.VirtualRouter) vrrp.Event {
	switch n := rnd.IntN(20); {
	case n < 2:
		return vrrp.Startup{}
	case n < 3:
		return vrrp.Shutdown{}
	case n < 4:
		return vrrp.Failed{Detail: "link eth0 is down"}
	case n < 6:
		return vrrp.Recovered{}
	case n < 9:
		return vrrp.ParamsChanged{Params: randomParams(rnd)}
	case n < 15:
		p := vr.Snapshot().Params
		from := fmt.Sprintf("192.0.2.%d", 4+rnd.IntN(3)) // ours is in the middle
		ev := heardEvery(from, vrrp.Priority(rnd.IntN(256)), p.AdvertInterval)
		if rnd.IntN(3) == 0 {
			ev.Advert.Priority = p.Priority
		}
		if rnd.IntN(8) > 0 {
			ev.Advert.Version = p.Version
		}
		return ev
	}
	return vrrp.Timeout{}
}

// TestConvergence does random things to three directors, then leaves them in peace:
// within a minute exactly one of them has the address, whatever happened before.
func TestConvergence(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		names := []string{"a", "b", "c"}
		var script []string
		for i, name := range names {
			script = append(script, fmt.Sprintf("router %s addr=192.0.2.%d priority=%d preempt=%v interval=%dms delay=%ds", name, i+1,
				100+10*rnd.IntN(3), rnd.IntN(2) == 0, 100*(1+rnd.IntN(10)), rnd.IntN(4)))
		}
		script = append(script, "start")
		for range 30 {
			name := names[rnd.IntN(len(names))]
			commands := []string{"cut " + name, "heal " + name, "stop " + name + "; start " + name, "kill " + name + "; start " + name,
				"crash " + name + "; start " + name, fmt.Sprintf("set %s priority=%d", name, 1+rnd.IntN(254))}
			command := commands[rnd.IntN(len(commands))]
			if rnd.IntN(8) == 0 {
				command = "fail " + name + " by chance"
			}
			script = append(script, command, fmt.Sprintf("run %dms", rnd.IntN(3000)))
		}
		for _, name := range names {
			script = append(script, "heal "+name, "recover "+name)
		}
		script = append(script, "run 1m")
		transcript, err := vrrptest.Run(strings.Join(script, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(transcript), "\n")
		end := lines[len(lines)-1]
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(end, " 192.0.2.100/24 is on "+n) }) {
			t.Fatalf("seed %d ends with %q\n%s", seed, end, strings.Join(script, "\n"))
		}
	}
}
