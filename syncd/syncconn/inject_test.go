package syncconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// numbered is a sync message that carries a number instead of connections.
func numbered(syncID uint8, number, length int) []byte {
	b := make([]byte, length)
	b[1], b[5] = syncID, 1
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	binary.BigEndian.PutUint32(b[8:], uint32(number))
	return b
}

// daemon is a backup daemon and its queue: what is written to it fits in or is dropped, and
// some of it is taken between looks.
type daemon struct {
	*rand.Rand
	capacity int
	flaky    bool // drops also what there is room for
	tardy    bool // some datagrams get to the queue one look later
	coming   [][]byte
	late     int // as many of them were not there at the last look
	waiting  [][]byte
	drops    uint32
	taken    map[int]bool
}

func (d *daemon) write(b []byte) error {
	if d.IntN(20) == 0 {
		return unix.EAGAIN
	}
	d.coming = append(d.coming, b)
	return nil
}

func (d *daemon) used() (n int) {
	for _, b := range d.waiting {
		n += len(b)
	}
	return n
}

func (d *daemon) read() (queue, error) {
	arrived := len(d.coming)
	if d.tardy {
		arrived = d.late + d.IntN(arrived-d.late+1)
	}
	for _, b := range d.coming[:arrived] {
		if d.used()+len(b) > d.capacity || d.flaky && d.IntN(40) == 0 {
			d.drops++
		} else {
			d.waiting = append(d.waiting, b)
		}
	}
	d.coming = d.coming[arrived:]
	d.late = len(d.coming)
	for range d.IntN(4) {
		if len(d.waiting) > 0 {
			d.taken[int(binary.BigEndian.Uint32(d.waiting[0][8:]))] = true
			d.waiting = d.waiting[1:]
		}
	}
	used := uint32(d.used())
	return queue{waiting: used, used: used, capacity: uint32(d.capacity), drops: d.drops}, nil
}

func (d *daemon) close() error { return nil }

// Whatever the queue's size, the daemon's speed and the estimate of what fits in: without an
// error everything has been taken. A daemon that drops for want of room alone gets
// everything in the end, and drops nothing while the estimate is right.
func TestInjectRandomWalk(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { injectRandomly(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func injectRandomly(t *testing.T, r *rand.Rand) {
	d := &daemon{Rand: r, capacity: 100 + r.IntN(3000), flaky: r.IntN(3) == 0, tardy: r.IntN(2) == 0, taken: map[int]bool{}}
	factor := []int{1, 2, 8, 100}[r.IntN(4)] // by how much the charge is too low
	i := &Injector{queue: d, write: d.write, charge: func(n int) int { return n / factor }}
	number := 0
	for range 5 {
		first := number
		var ds [][]byte
		for range r.IntN(60) {
			ds = append(ds, numbered(0, number, 12+r.IntN(80)))
			number++
		}
		err := i.Inject(t.Context(), ds)
		if err != nil && !(errors.Is(err, ErrDropped) && d.flaky && d.drops > 0) {
			t.Fatal(err)
		}
		for n := first; n < number && err == nil; n++ {
			if !d.taken[n] {
				t.Fatalf("%d of %d to %d was not taken", n, first, number-1)
			}
		}
	}
	if factor == 1 && !d.flaky && !d.tardy && d.drops > 0 {
		t.Errorf("%d were dropped although there was room", d.drops)
	}
	if did := i.Did(); did.Dropped > uint64(d.drops) || did.Dropped == 0 && did.Datagrams != uint64(number) {
		t.Errorf("did %+v, %d were dropped of %d", did, d.drops, number)
	}
}
