package relay

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// Whatever happens to two directors, once it has stopped both are in sync by themselves, and the
// Backup's kernel has every connection of the Master's.
func TestRelaysAgree(t *testing.T) {
	seeds := []uint64{92, 97} // in which kernels go on with what messages have ended
	for seed := range uint64(40) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			together(t, func(t *testing.T, d *directors) {
				h := &havoc{t: t, d: d, rng: rand.New(rand.NewPCG(seed, 5)), epochs: [2]uint64{1, 1}}
				for range 150 {
					h.something()
					synctest.Wait()
				}
				h.calm()
			})
		})
	}
}

// havoc does things to two directors.
type havoc struct {
	t      *testing.T
	d      *directors
	rng    *rand.Rand
	master int
	epochs [2]uint64
}

// orders are those of a director as things are.
func (h *havoc) orders(i int) Orders {
	o := ordered
	o.Epoch = h.epochs[i]
	if i == h.master {
		o = master(o)
	}
	return o
}

func (h *havoc) something() {
	i := h.rng.IntN(2)
	s := h.d.sides[i]
	switch n := h.rng.IntN(24); n {
	case 0:
		h.d.wire.set(false)
	case 1, 2:
		h.d.wire.set(true)
	case 3: // a failover
		h.master = 1 - h.master
		for i, s := range h.d.sides {
			s.Apply(h.orders(i))
		}
	case 4: // the daemon starts anew
		h.d.restart(i, h.orders(i), func() {})
	case 5: // the machine does
		h.master = 1 - i
		h.d.sides[1-i].Apply(h.orders(1 - i))
		h.d.restart(i, h.orders(i), func() {
			s.kernel.mu.Lock()
			s.kernel.table = nil
			s.kernel.mu.Unlock()
		})
	case 6:
		s.kernel.fail([]string{"inject", "injector", "list", "capture"}[h.rng.IntN(4)], errBroken)
	case 7, 8:
		clearFailures(s.kernel)
	case 9: // a kernel daemon starts anew
		h.epochs[i]++
		s.Apply(h.orders(i))
	case 10:
		s.Apply(Orders{Ready: h.rng.IntN(2) == 0})
	case 11:
		s.Apply(h.orders(i))
	case 12:
		time.Sleep(time.Duration(h.rng.IntN(200)) * time.Second)
	case 13, 14:
		time.Sleep(time.Duration(h.rng.IntN(3000)) * time.Millisecond)
	default:
		h.traffic()
	}
}

// traffic has the Master's kernel open and close connections.
func (h *havoc) traffic() {
	m := h.d.sides[h.master]
	var some []syncd.Conn
	for range 1 + h.rng.IntN(5) {
		c := established(fmt.Sprintf("192.0.2.%d:40000", 1+h.rng.IntN(40)))
		if h.rng.IntN(3) == 0 {
			c = closing(c)
		}
		some = append(some, c)
	}
	m.kernel.mu.Lock()
	m.kernel.enter(some)
	heard := m.kernel.open["capture"] > 0 && h.rng.IntN(10) > 0
	m.kernel.mu.Unlock()
	if heard {
		m.kernel.says(0, some...)
	}
}

func clearFailures(k *fakeKernel) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.fails)
}

// calm ends all that is wrong, and waits until all is well.
func (h *havoc) calm() {
	for i, s := range h.d.sides {
		clearFailures(s.kernel)
		s.Apply(h.orders(i))
	}
	h.d.wire.set(true)
	h.d.wait(time.Minute)
	h.d.inSync(2 * time.Minute)
	h.d.wait(30 * time.Second) // two lists
	h.d.inSync(2 * time.Minute)
	for _, l := range h.d.sides[h.master].lasting() {
		if !h.d.sides[h.master].x.Knows(time.Now(), l.Conn) {
			h.t.Errorf("the Master does not know %s, which its kernel has for %v", l.Client, l.Remaining)
		}
	}
	h.kernelsAgree(25 * time.Second) // two lists, where the Backup's kernel has just forgotten something
}

// kernelsAgree fails if the Backup's kernel lacks what the Master's has for longer than some time.
func (h *havoc) kernelsAgree(within time.Duration) {
	h.t.Helper()
	for began := time.Now(); ; h.d.wait(time.Second) {
		there := make(map[netip.AddrPort]bool)
		for _, l := range h.d.sides[1-h.master].lasting() {
			there[l.Client] = true
		}
		lacks := slices.DeleteFunc(h.d.sides[h.master].lasting(), func(l syncd.Living) bool { return there[l.Client] })
		if len(lacks) == 0 {
			return
		}
		if time.Since(began) > within {
			h.t.Fatalf("after %v the Backup's kernel lacks what the Master's has: %v", within, lacks)
		}
	}
}

// lasting is what a director's kernel has, but for what is about to end: lists have whole
// seconds, and it may have ended at one director before the other.
func (s *director) lasting() []syncd.Living {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	return slices.DeleteFunc(s.kernel.list(), func(l syncd.Living) bool { return l.Remaining <= 3*time.Second })
}
