package syncd_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/syncd"
)

// naive is the table as one would write it without a thought for its size.
type naive struct {
	limit  int
	conns  map[string]syncd.Conn
	ends   map[string]time.Time
	counts syncd.Counts
}

func (n *naive) key(c syncd.Conn) string {
	data := ""
	if c.Template() {
		data = c.Engine + "/" + c.EngineData
	}
	return fmt.Sprint(c.Protocol, c.Client, c.Virtual, c.Template(), data)
}

func (n *naive) expire(now time.Time) {
	for k, end := range n.ends {
		if !end.After(now) {
			delete(n.ends, k)
			delete(n.conns, k)
			n.counts.Expired++
		}
	}
}

// observe expires first, so the walk below does, too.
func (n *naive) observe(now time.Time, c syncd.Conn, newest bool) {
	k := n.key(c)
	if have, ok := n.conns[k]; ok {
		if !newest {
			return
		}
		if have.Real != c.Real && !c.Template() && c.Flags&syncd.FlagInactive != 0 {
			n.counts.Ignored++
			return
		}
	} else if len(n.conns) == n.limit {
		var first string
		for k, end := range n.ends {
			if first == "" || end.Before(n.ends[first]) {
				first = k
			}
		}
		if !n.ends[first].Before(now.Add(c.Timeout)) {
			n.counts.Refused++
			return
		}
		n.counts.Evicted++
		delete(n.conns, first)
		delete(n.ends, first)
	}
	n.conns[k], n.ends[k] = c, now.Add(c.Timeout)
}

func (n *naive) content(now time.Time) []string {
	var lines []string
	for k, c := range n.conns {
		c.Timeout = n.ends[k].Sub(now)
		lines = append(lines, c.String())
	}
	slices.Sort(lines)
	return lines
}

// randomConn is one of a few connections, so that many messages are about one that is known.
// No two ever end at the same time: which of them went first would be open.
func randomConn(r *rand.Rand, unique int) syncd.Conn {
	c := []syncd.Conn{tcp4, udp6, shifted, call}[r.IntN(4)]
	c.Client = netip.AddrPortFrom(c.Client.Addr(), uint16(r.IntN(20)))
	c.Timeout = time.Duration(1+r.IntN(60))*time.Second + time.Duration(unique)*time.Millisecond
	if r.IntN(4) == 0 {
		c.Real = netip.AddrPortFrom(c.Real.Addr(), 9)
	}
	if r.IntN(4) == 0 {
		c.Flags ^= syncd.FlagInactive
	}
	if r.IntN(8) == 0 {
		c.FWMark = uint32(r.IntN(3))
	}
	if r.IntN(8) == 0 {
		c.Flags |= syncd.FlagTemplate
	}
	if c.Engine != "" && r.IntN(4) == 0 {
		c.EngineData = fmt.Sprint(r.IntN(3))
	}
	return c
}

func TestTableRandomWalk(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			limit := 5 + r.IntN(100)
			table := syncd.NewTable(limit)
			model := &naive{limit: limit, conns: make(map[string]syncd.Conn), ends: make(map[string]time.Time)}
			now := began
			for step := range 600 {
				now = now.Add(time.Duration(r.IntN(2)) * time.Second)
				table.Expire(now)
				model.expire(now)
				c, newest := randomConn(r, step), r.IntN(5) > 0
				if newest {
					table.Observe(now, c, 0)
				} else {
					table.Seed(now, syncd.Living{Conn: c, Remaining: c.Timeout})
				}
				model.observe(now, c, newest)
				model.counts.Conns, model.counts.Templates = 0, 0
				for _, c := range model.conns {
					if c.Template() {
						model.counts.Templates++
					} else {
						model.counts.Conns++
					}
				}
				if got := table.Counts(); got != model.counts {
					t.Fatalf("step %d: %+v, want %+v", step, got, model.counts)
				}
				if step%20 != 0 {
					continue
				}
				if diff := cmp.Diff(model.content(now), content(table, now)); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", step, diff)
				}
				// What is added up with each change is what a new table would have.
				fresh := syncd.NewTable(limit)
				for _, c := range model.conns {
					fresh.Observe(now, c, 0)
				}
				if diff := cmp.Diff(maps.Collect(fresh.Digests()), maps.Collect(table.Digests()), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
					t.Fatalf("step %d: digests (-want +got):\n%s", step, diff)
				}
			}
		})
	}
}

// A walk sees everything that was there all the time once, whatever happens meanwhile.
func TestWalkDuringChanges(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		table := syncd.NewTable(4000)
		stay := make(map[netip.AddrPort]int)
		for i := range 2000 {
			c := numbered(i)
			if c.Timeout = time.Minute; i%2 == 0 {
				c.Timeout = time.Hour
				stay[c.Client] = 0
			}
			table.Observe(began, c, 0)
		}
		now := began
		var found []syncd.Living
		for cur := (syncd.Cursor{}); !cur.Done(); {
			found, cur = table.Chunk(now, cur, found[:0], 1+r.IntN(100))
			for _, c := range found {
				if n, ok := stay[c.Client]; ok {
					stay[c.Client] = n + 1
				}
			}
			now = now.Add(2 * time.Second)
			table.Expire(now)
			for range r.IntN(30) {
				c := numbered(r.IntN(3000))
				c.Timeout = time.Hour
				table.Observe(now, c, 0)
			}
		}
		for client, n := range stay {
			if n != 1 {
				t.Fatalf("seed %d: %s was seen %d times", seed, client, n)
			}
		}
	}
}
