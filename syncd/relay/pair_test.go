package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// wire is between the streams of two directors.
type wire struct {
	mu   sync.Mutex // guards the rest
	ends [2]*linkStreams
	id   syncd.ConnID
	up   bool
}

// set connects or cuts it.
func (w *wire) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.up == up {
		return
	}
	if w.up = up; up {
		w.id++
	}
	for _, e := range w.ends {
		if up {
			e.put(syncd.ConnUp{ID: w.id})
		} else {
			e.put(syncd.ConnDown{ID: w.id})
		}
	}
}

// carry brings a frame to the other end, if the wire is not cut.
func (w *wire) carry(from *linkStreams, id syncd.ConnID, f syncd.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := w.ends[0]
	if from == to {
		to = w.ends[1]
	}
	if w.up && id == w.id {
		to.put(syncd.FrameReceived{ID: id, Frame: f})
	}
}

// linkStreams are the streams to one peer, by a real Link over a wire.
type linkStreams struct {
	w       *wire
	link    *syncd.Link
	peer    string
	actions chan syncd.StreamAction
	wake    chan struct{}

	mu     sync.Mutex // guards events
	events []syncd.LinkEvent
}

func newLinkStreams(w *wire, self, peer string, run uint64) *linkStreams {
	return &linkStreams{
		w: w, peer: peer, actions: make(chan syncd.StreamAction), wake: make(chan struct{}, 1),
		link: syncd.NewLink(time.Now(), syncd.LinkOptions{Self: self, Peer: peer, Run: run, QueueBytes: 1 << 20}),
	}
}

func (s *linkStreams) put(ev syncd.LinkEvent) {
	s.mu.Lock()
	s.events = append(s.events, ev)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *linkStreams) take() []syncd.LinkEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

func (s *linkStreams) Run(ctx context.Context) error {
	var pending []syncd.LinkAction
	var conn syncd.ConnID
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if t, armed := s.link.Deadline(); armed {
			timer.Reset(time.Until(t))
		} else {
			timer.Stop()
		}
		var actions chan<- syncd.StreamAction
		var first syncd.StreamAction
		if len(pending) > 0 {
			actions, first = s.actions, syncd.StreamAction{Peer: s.peer, Action: pending[0]}
		}
		var events []syncd.LinkEvent
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			events = s.take()
		case <-timer.C:
			events = []syncd.LinkEvent{syncd.Tick{}}
		case actions <- first:
			pending = pending[1:]
		}
		for _, ev := range events {
			if up, ok := ev.(syncd.ConnUp); ok {
				conn = up.ID
			}
			for _, a := range s.link.Handle(time.Now(), ev) {
				if _, ok := a.(syncd.CloseConn); ok {
					go s.w.set(false)
				} else {
					pending = append(pending, a)
				}
			}
		}
		for f, ok := s.link.Next(time.Now(), conn); ok; f, ok = s.link.Next(time.Now(), conn) {
			s.w.carry(s, conn, f)
		}
	}
}

func (s *linkStreams) Actions() <-chan syncd.StreamAction    { return s.actions }
func (s *linkStreams) Tell(_ string, ev syncd.LinkEvent)     { s.put(ev) }
func (s *linkStreams) TellAll(ev syncd.LinkEvent)            { s.put(ev) }
func (s *linkStreams) Status() map[string]syncd.StreamStatus { return nil }
func (s *linkStreams) Refused() map[string]uint64            { return nil }

// directors are two of them, with kernels of their own.
type directors struct {
	t     *testing.T
	wire  *wire
	sides [2]*director
}

type director struct {
	*Relay
	kernel *fakeKernel
	logs   *logbook
	stop   func()
}

var names = [2]string{"lb-a", "lb-b"}

// together runs a test with lb-a as Master and lb-b as Backup.
func together(t *testing.T, test func(t *testing.T, d *directors)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &directors{t: t, wire: new(wire)}
		for i := range d.sides {
			d.start(i, newFakeKernel())
		}
		d.sides[0].Apply(master(ordered))
		d.sides[1].Apply(ordered)
		d.wire.set(true)
		synctest.Wait()
		test(t, d)
		for _, s := range d.sides {
			s.stop()
		}
	})
}

var runs uint64

// start starts a director with a kernel that may have something already.
func (d *directors) start(i int, k *fakeKernel) {
	runs++
	s := &director{kernel: k, logs: new(logbook)}
	streams := newLinkStreams(d.wire, names[i], names[1-i], runs)
	d.wire.mu.Lock()
	d.wire.ends[i] = streams
	d.wire.mu.Unlock()
	s.Relay = New(Options{Peers: []string{names[1-i]}, Limit: 100_000, Kernel: k, Streams: streams, Logger: slog.New(s.logs)})
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	}
	d.sides[i] = s
}

// restart ends a director and starts it again. Its kernel goes on.
func (d *directors) restart(i int, o Orders, meanwhile func()) {
	d.sides[i].stop()
	d.wire.set(false)
	meanwhile()
	d.start(i, d.sides[i].kernel)
	d.sides[i].Apply(o)
	d.wire.set(true)
}

// opens has a Master's kernel open connections, and tell of them.
func (s *director) opens(conns ...syncd.Conn) {
	s.kernel.mu.Lock()
	s.kernel.enter(conns)
	s.kernel.mu.Unlock()
	s.kernel.says(0, conns...)
}

// expires has a kernel forget connections.
func (s *director) expires(conns ...syncd.Conn) {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	for _, c := range conns {
		s.kernel.forget(c)
	}
}

// lists names what a kernel has, in order.
func (s *director) lists() string {
	s.kernel.mu.Lock()
	defer s.kernel.mu.Unlock()
	var all []syncd.Conn
	for _, l := range s.kernel.list() {
		all = append(all, l.Conn)
	}
	slices.SortFunc(all, func(a, b syncd.Conn) int { return a.Client.Compare(b.Client) })
	return clients(all)
}

// wait lets time pass.
func (d *directors) wait(t time.Duration) { time.Sleep(t); synctest.Wait() }

// inSync fails unless both say so within some time.
func (d *directors) inSync(within time.Duration) {
	d.t.Helper()
	for began := time.Now(); ; d.wait(time.Second) {
		a, b := d.sides[0].Status().Peers[0], d.sides[1].Status().Peers[0]
		if a.State == syncd.RelayInSync && b.State == syncd.RelayInSync && a.Same() && b.Same() && a.Here == b.Here && a.Here == a.There {
			return
		}
		if time.Since(began) > within {
			d.t.Fatalf("not in sync after %v: %s (%s) and %s (%s)\n%s\n--\n%s", within, a.State, a.Why, b.State, b.Why, d.sides[0].logs.taken(), d.sides[1].logs.taken())
		}
	}
}

func (d *directors) expect(what, got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("%s:\n got  %s\n want %s", what, got, want)
	}
}

// What the Master's kernel opens the Backup's has at once, and they know it.
func TestPairInSync(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.inSync(10 * time.Second)
		d.sides[0].opens(first, second)
		d.wait(20 * time.Millisecond)
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
		d.inSync(10 * time.Second)
		d.expect("lb-a's kernel", d.sides[0].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
		if !d.sides[1].Complete()["lb-a"] {
			t.Error("lb-b is not complete")
		}
	})
}

// Whatever happens during a cut is there after it.
func TestPairCut(t *testing.T) {
	for _, cut := range []time.Duration{time.Second, 10 * time.Second, 10 * time.Minute} {
		t.Run(cut.String(), func(t *testing.T) {
			together(t, func(t *testing.T, d *directors) {
				d.sides[0].opens(first, second)
				d.inSync(10 * time.Second)
				d.wire.set(false)
				d.sides[0].opens(third, closing(second))
				d.wait(cut)
				d.wire.set(true)
				d.inSync(15 * time.Second)
				if cut < time.Minute {
					d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 FIN_WAIT, 192.0.2.3 ESTABLISHED")
				}
			})
		})
	}
}

// The Backup starts anew. Its kernel has kept what it had, some of which is long over.
func TestBackupRestarts(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.sides[0].opens(first, second)
		d.inSync(10 * time.Second)
		d.sides[0].kernel.wasTold()
		d.restart(1, ordered, func() { d.sides[0].opens(closing(first), third) })
		d.inSync(10 * time.Second)
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 FIN_WAIT, 192.0.2.2 ESTABLISHED, 192.0.2.3 ESTABLISHED")
		d.expect("lb-a's kernel was told", d.sides[0].kernel.wasTold(), "")
	})
}

// It takes long to read its kernel's list, and the stream is there before.
func TestBackupRestartsSlowly(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.sides[0].opens(first, second)
		d.inSync(10 * time.Second)
		d.sides[0].kernel.wasTold()
		var release func()
		d.restart(1, ordered, func() {
			d.sides[0].opens(closing(first))
			release = d.sides[1].kernel.hold("list")
		})
		d.wait(15 * time.Second)
		release()
		d.inSync(10 * time.Second)
		d.expect("lb-a's kernel", d.sides[0].lists(), "192.0.2.1 FIN_WAIT, 192.0.2.2 ESTABLISHED")
		d.expect("lb-a's kernel was told", d.sides[0].kernel.wasTold(), "")
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 FIN_WAIT, 192.0.2.2 ESTABLISHED")
	})
}

// The Master's daemon starts anew while its kernel goes on: it is not told what its peer
// remembers.
func TestMasterRestarts(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.sides[0].opens(first, second)
		d.inSync(10 * time.Second)
		d.restart(0, master(ordered), func() {
			d.sides[0].kernel.mu.Lock()
			d.sides[0].kernel.enter([]syncd.Conn{closing(first), third}) // nobody hears of it
			d.sides[0].kernel.mu.Unlock()
		})
		d.inSync(10 * time.Second)
		d.expect("lb-a's kernel", d.sides[0].lists(), "192.0.2.1 FIN_WAIT, 192.0.2.2 ESTABLISHED, 192.0.2.3 ESTABLISHED")
		d.expect("lb-a's kernel was told", d.sides[0].kernel.wasTold(), "")
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 FIN_WAIT, 192.0.2.2 ESTABLISHED, 192.0.2.3 ESTABLISHED")
	})
}

// The machine of the Master starts anew, with an empty kernel, as Backup; then the other one does.
func TestMachinesRestart(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.sides[0].opens(first, second)
		d.inSync(10 * time.Second)
		d.restart(0, ordered, func() {
			d.sides[0].expires(first, second)
			d.sides[1].Apply(master(ordered))
		})
		d.inSync(10 * time.Second)
		d.expect("lb-a's kernel", d.sides[0].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED")
		d.restart(1, ordered, func() {
			d.sides[1].expires(first, second)
			d.sides[0].Apply(master(ordered))
			synctest.Wait()
			d.sides[0].opens(closing(second), third)
		})
		d.inSync(10 * time.Second)
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 FIN_WAIT, 192.0.2.3 ESTABLISHED")
	})
}

// A kernel that has lost everything is told it when its daemon is back.
func TestBackupsKernelIsEmptied(t *testing.T) {
	together(t, func(t *testing.T, d *directors) {
		d.sides[0].opens(first, second)
		d.inSync(10 * time.Second)
		d.sides[1].expires(first, second)
		o := ordered
		o.Inject = false
		d.sides[1].Apply(o)
		d.wait(5 * time.Second)
		d.sides[0].opens(third)
		o.Inject, o.Epoch, o.Interface = true, 2, 9
		d.sides[1].Apply(o)
		d.inSync(10 * time.Second)
		d.expect("lb-b's kernel", d.sides[1].lists(), "192.0.2.1 ESTABLISHED, 192.0.2.2 ESTABLISHED, 192.0.2.3 ESTABLISHED")
	})
}
