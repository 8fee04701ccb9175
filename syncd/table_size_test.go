package syncd_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/hadirector/hadirector/syncd"
)

// numbered is the i-th of many connections.
func numbered(i int) syncd.Conn {
	c := tcp4
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(i)>>8)
	c.Client = netip.AddrPortFrom(netip.AddrFrom4(a), uint16(1024+i&0xff))
	c.Real = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 80)
	return c
}

func TestTableSize(t *testing.T) {
	const n, most = 100_000, 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := full(n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int(after.HeapAlloc-before.HeapAlloc) / n; each > most {
		t.Errorf("a connection takes %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(table)
}

func full(n int) *syncd.Table {
	table := syncd.NewTable(n)
	for i := range n {
		table.Observe(began, numbered(i), 0)
	}
	return table
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		conns := make([]syncd.Conn, n)
		for i := range conns {
			conns[i] = numbered(i)
		}
		b.Run(fmt.Sprintf("fill/%d", n), func(b *testing.B) {
			var before, after runtime.MemStats
			var table *syncd.Table
			for b.Loop() {
				table = nil
				runtime.GC()
				runtime.ReadMemStats(&before)
				table = syncd.NewTable(n)
				for _, c := range conns {
					table.Observe(began, c, 0)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "bytes/conn")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/conn")
			runtime.KeepAlive(table)
		})
		b.Run(fmt.Sprintf("observe-known/%d", n), func(b *testing.B) {
			table := full(n)
			r := rand.New(rand.NewPCG(1, 1))
			i := 0
			for b.Loop() {
				i++
				table.Observe(at(time.Duration(i)*time.Microsecond), conns[r.IntN(n)], 0)
			}
		})
		b.Run(fmt.Sprintf("observe-when-full/%d", n), func(b *testing.B) {
			table := full(n)
			i := n
			for b.Loop() {
				i++
				table.Observe(at(time.Duration(i)*time.Microsecond), numbered(i), 0)
			}
		})
		b.Run(fmt.Sprintf("expire-all/%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				table := full(n)
				b.StartTimer()
				table.Expire(at(time.Hour))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/conn")
		})
		b.Run(fmt.Sprintf("walk/%d", n), func(b *testing.B) {
			table := full(n)
			buf := make([]syncd.Living, 0, 1000)
			for b.Loop() {
				for cur := (syncd.Cursor{}); !cur.Done(); {
					_, cur = table.Chunk(began, cur, buf[:0], 1000)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/conn")
		})
	}
}
