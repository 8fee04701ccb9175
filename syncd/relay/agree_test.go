package relay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// Whatever happens to two directors, once it has stopped both are in sync by themselves.
func TestRelaysAgree(t *testing.T) {
	for seed := range uint64(20) {
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
}
