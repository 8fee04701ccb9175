package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// nobody are streams that lead nowhere. They count the connections that they are told, and
// keep the notes.
type nobody struct {
	actions chan syncd.StreamAction
	told    chan int
	notes   []syncd.SetNote
}

func (n *nobody) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (n *nobody) Actions() <-chan syncd.StreamAction    { return n.actions }
func (n *nobody) Tell(string, syncd.LinkEvent)          {}
func (n *nobody) Status() map[string]syncd.StreamStatus { return nil }
func (n *nobody) Refused() map[string]uint64            { return nil }

func (n *nobody) TellAll(ev syncd.LinkEvent) {
	switch ev := ev.(type) {
	case syncd.Change:
		if n.told != nil {
			n.told <- ev.Count
		}
	case syncd.SetNote:
		n.notes = append(n.notes, ev)
	}
}

func benchRelay(n *nobody, k *fakeKernel, limit int) *Relay {
	return New(Options{Peers: []string{"lb-b", "lb-c"}, Limit: limit, Kernel: k, Streams: n, Logger: slog.New(slog.DiscardHandler)})
}

func numbered(i int) syncd.Conn {
	c := first
	c.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), uint16(1024+i>>16))
	return c
}

// BenchmarkCaptured measures what a datagram of the kernel's master daemon with one connection
// costs, from the capture to the peers' queues.
func BenchmarkCaptured(b *testing.B) {
	k, n := newFakeKernel(), &nobody{told: make(chan int, 1000)}
	r := benchRelay(n, k, 200_000)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.Apply(master(ordered))
	for k.times("capture") == 0 || !r.Status().Capture.Running {
		time.Sleep(time.Millisecond)
	}
	var datagrams [][]byte
	for i := range 100_000 {
		for d, err := range syncd.Messages(1, syncd.MaxMessage, slices.Values([]syncd.Conn{numbered(i)})) {
			if err != nil {
				b.Fatal(err)
			}
			datagrams = append(datagrams, slices.Clone(d))
		}
	}
	b.ReportAllocs()
	used := processor()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			k.capture.datagrams <- syncd.Datagram{Payload: datagrams[i%len(datagrams)], At: time.Now()}
		}
	}()
	frames := 0
	for left := b.N; left > 0; frames++ {
		left -= <-n.told
	}
	b.StopTimer()
	b.ReportMetric(float64((processor()-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "datagrams/s")
	b.ReportMetric(float64(b.N)/float64(frames), "conns/change")
	cancel()
	<-done
}

// BenchmarkEverySecond measures what is done each second with 10 000 virtual servers, 200 000
// connections and two peers that have the same, of which some virtual servers have a new
// connection.
func BenchmarkEverySecond(b *testing.B) {
	const servers, each = 10_000, 20
	for _, changed := range []int{0, 1000, servers} {
		b.Run(fmt.Sprintf("changed=%d", changed), func(b *testing.B) {
			n := &nobody{}
			r := benchRelay(n, newFakeKernel(), servers*each)
			r.now, r.seeded = master(Orders{}), true
			now := time.Now()
			clients := 0
			open := func(count int) {
				r.x.Captured(now, func(yield func(syncd.Conn) bool) {
					for range count {
						c := numbered(clients)
						server := clients % servers
						c.Virtual = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(server >> 8), byte(server)}), 80)
						c.Timeout = 24 * time.Hour
						clients++
						yield(c)
					}
				})
			}
			second := func() {
				now = now.Add(time.Second)
				r.everySecond(now)
				for _, note := range n.notes { // what a peer has of it
					for name, p := range r.peers {
						r.noted(now, name, p, syncd.DeliverNote(note))
					}
				}
				n.notes = nil
			}
			open(servers * each)
			second()
			var used time.Duration
			for range b.N {
				open(changed)
				began := processor()
				second()
				used += processor() - began
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
