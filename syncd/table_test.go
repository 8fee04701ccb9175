package syncd_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hadirector/hadirector/syncd"
)

var began = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return began.Add(d) }

// content walks a table in chunks and returns what it has, as sorted lines.
func content(t *syncd.Table, now time.Time) []string {
	var lines []string
	var found []syncd.Living
	for cur := (syncd.Cursor{}); !cur.Done(); {
		found, cur = t.Chunk(now, cur, found[:0], 3)
		for _, l := range found {
			l.Timeout = l.Remaining
			lines = append(lines, l.String())
		}
	}
	slices.Sort(lines)
	return lines
}

func TestTable(t *testing.T) {
	change := func(c syncd.Conn, f func(*syncd.Conn)) syncd.Conn {
		f(&c)
		return c
	}
	moved := change(tcp4, func(c *syncd.Conn) { c.Real = addr("10.0.0.22:80") })
	template := change(tcp4, func(c *syncd.Conn) { c.Flags |= syncd.FlagTemplate; c.State = 0 })
	type told struct {
		after time.Duration
		conn  syncd.Conn
		seed  bool
	}
	for _, tt := range []struct {
		name  string
		told  []told
		after time.Duration
		want  []string
	}{
		{"one of each kind", []told{{conn: tcp4}, {conn: udp6}, {conn: shifted}, {conn: call}, {conn: template}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 15m0s dr,nooutput",
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 NONE 15m0s dr,nooutput,template",
			"TCP 10.0.0.1:40002 > 10.0.0.100:21 > 10.0.0.21:21 ESTABLISHED 15m0s nat,out-seq in {1 2 3} out {4 4294967295 6}",
			`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 6m0s dr,template sip "1@example.org"`,
			"UDP [fd00::1]:40001 > [fd00::100]:53 > [fd00::21]:53 UDP 5m0s tun,inactive fwmark 10",
		}},
		{"what remains of a timeout", []told{{conn: tcp4}}, 14*time.Minute + 59500*time.Millisecond, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 500ms dr,nooutput",
		}},
		{"its end", []told{{conn: tcp4}}, 15 * time.Minute, nil},
		{"a default timeout", []told{{conn: change(tcp4, func(c *syncd.Conn) { c.Timeout, c.State = 0, 4 })}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 FIN_WAIT 2m0s dr,nooutput",
		}},
		{"a template's default", []told{{conn: change(call, func(c *syncd.Conn) { c.Timeout = 0 })}}, 0, []string{
			`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 3m0s dr,template sip "1@example.org"`,
		}},
		{"a change of state", []told{{conn: tcp4}, {after: time.Minute, conn: change(tcp4, func(c *syncd.Conn) {
			c.State, c.Timeout, c.Flags = 4, 2*time.Minute, c.Flags|syncd.FlagInactive
		})}}, time.Minute, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 FIN_WAIT 2m0s dr,nooutput,inactive",
		}},
		{"sequence numbers that end", []told{{conn: shifted}, {conn: change(shifted, func(c *syncd.Conn) {
			c.Sequences, c.Flags = syncd.Sequences{}, 0
		})}}, 0, []string{
			"TCP 10.0.0.1:40002 > 10.0.0.100:21 > 10.0.0.21:21 ESTABLISHED 15m0s nat",
		}},
		{"another real server", []told{{conn: tcp4}, {conn: moved}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.22:80 ESTABLISHED 15m0s dr,nooutput",
		}},
		{"the end of one that was replaced", []told{{conn: moved}, {conn: change(tcp4, func(c *syncd.Conn) { c.Flags |= syncd.FlagInactive })}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.22:80 ESTABLISHED 15m0s dr,nooutput",
		}},
		{"another real server after the end", []told{{conn: moved}, {after: time.Hour, conn: change(tcp4, func(c *syncd.Conn) { c.Flags |= syncd.FlagInactive })}}, time.Hour, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 15m0s dr,nooutput,inactive",
		}},
		{"another real server of a template", []told{{conn: call}, {conn: change(call, func(c *syncd.Conn) {
			c.Real, c.Flags = addr("10.0.0.22:5060"), c.Flags|syncd.FlagInactive
		})}}, 0, []string{
			`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.22:5060 NONE 6m0s dr,inactive,template sip "1@example.org"`,
		}},
		{"two calls of a client", []told{{conn: call}, {conn: change(call, func(c *syncd.Conn) { c.EngineData = "2@example.org" })}}, 0, []string{
			`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 6m0s dr,template sip "1@example.org"`,
			`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 6m0s dr,template sip "2@example.org"`,
		}},
		{"IPv4 is not IPv6", []told{{conn: tcp4}, {conn: change(tcp4, func(c *syncd.Conn) {
			c.Client, c.Virtual, c.Real = addr("[::ffff:10.0.0.1]:40001"), addr("[::ffff:10.0.0.100]:80"), addr("[::ffff:10.0.0.21]:80")
		})}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 15m0s dr,nooutput",
			"TCP [::ffff:10.0.0.1]:40001 > [::ffff:10.0.0.100]:80 > [::ffff:10.0.0.21]:80 ESTABLISHED 15m0s dr,nooutput",
		}},
		{"a listing that is older than the messages", []told{{conn: moved}, {conn: tcp4, seed: true}, {conn: udp6, seed: true}}, 0, []string{
			"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.22:80 ESTABLISHED 15m0s dr,nooutput",
			"UDP [fd00::1]:40001 > [fd00::100]:53 > [fd00::21]:53 UDP 5m0s tun,inactive fwmark 10",
		}},
		{"what no kernel takes", []told{{conn: change(tcp4, func(c *syncd.Conn) { c.State = 99 })}, {conn: syncd.Conn{}}}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := syncd.NewTable(100)
			table.Expire(began) // the beginning of its time
			for _, told := range tt.told {
				if told.seed {
					table.Seed(at(told.after), syncd.Living{Conn: told.conn, Remaining: told.conn.Timeout})
				} else {
					table.Observe(at(told.after), told.conn, 0)
				}
			}
			if diff := cmp.Diff(tt.want, content(table, at(tt.after))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			table.Expire(at(tt.after))
			if table.Len() != len(tt.want) {
				t.Errorf("it has %d, want %d", table.Len(), len(tt.want))
			}
			if table.Expire(at(1000*time.Hour)) != len(tt.want) || table.Len() != 0 {
				t.Errorf("at last it has %d", table.Len())
			}
			for v, d := range table.Digests() {
				t.Errorf("at last %s has %v", v, d)
			}
		})
	}
}

func TestTableCounts(t *testing.T) {
	table := syncd.NewTable(3)
	inactive := tcp4
	inactive.Real, inactive.Flags = addr("10.0.0.22:80"), inactive.Flags|syncd.FlagInactive
	brief := shifted
	brief.Client, brief.Timeout = addr("10.0.0.9:1"), time.Minute
	long := shifted
	long.Client, long.Timeout = addr("10.0.0.9:2"), time.Hour
	for i, step := range []struct {
		after time.Duration
		conn  syncd.Conn
		in    bool
		want  syncd.Counts
	}{
		{0, tcp4, true, syncd.Counts{Conns: 1}},
		{0, inactive, true, syncd.Counts{Conns: 1, Ignored: 1}},
		{0, syncd.Conn{}, false, syncd.Counts{Conns: 1, Ignored: 2}},
		{0, call, true, syncd.Counts{Conns: 1, Templates: 1, Ignored: 2}},
		{0, udp6, true, syncd.Counts{Conns: 2, Templates: 1, Ignored: 2}},
		// It is full: udp6 is the one with five minutes.
		{0, brief, false, syncd.Counts{Conns: 2, Templates: 1, Ignored: 2, Refused: 1}},
		{time.Minute, udp6, true, syncd.Counts{Conns: 2, Templates: 1, Ignored: 2, Refused: 1}},
		// Now it has six, and the template five.
		{time.Minute, shifted, true, syncd.Counts{Conns: 3, Ignored: 2, Refused: 1, Evicted: 1}},
		{7 * time.Minute, brief, true, syncd.Counts{Conns: 3, Ignored: 2, Refused: 1, Evicted: 1, Expired: 1}},
		{time.Hour, brief, true, syncd.Counts{Conns: 3, Ignored: 2, Refused: 1, Evicted: 1, Expired: 2}},
		{time.Hour, long, true, syncd.Counts{Conns: 3, Ignored: 2, Refused: 1, Evicted: 1, Expired: 3}},
	} {
		if in := table.Observe(at(step.after), step.conn, 0); in != step.in {
			t.Errorf("step %d: in the table: %v, want %v", i, in, step.in)
		}
		if diff := cmp.Diff(step.want, table.Counts()); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

// What a kernel is told of what another director's table had: a connection has the rest of
// its time, a template its whole timeout, and the other's table ends both when the first does.
func TestResync(t *testing.T) {
	first, second := syncd.NewTable(100), syncd.NewTable(100)
	for _, c := range []syncd.Conn{tcp4, call} {
		first.Observe(began, c, 0)
	}
	second.Expire(began)
	found, _ := first.Chunk(at(5*time.Minute), syncd.Cursor{}, nil, 100)
	var got []string
	for _, l := range found {
		second.Restore(at(5*time.Minute), l, 0)
		got = append(got, l.Resync().String())
	}
	want := []string{
		"TCP 10.0.0.1:40001 > 10.0.0.100:80 > 10.0.0.21:80 ESTABLISHED 10m0s dr,nooutput",
		`UDP 10.0.0.1:0 > 10.0.0.100:5060 > 10.0.0.21:5060 NONE 6m0s dr,template sip "1@example.org"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, after := range []time.Duration{5 * time.Minute, 6 * time.Minute, 15 * time.Minute} {
		a, _ := first.Chunk(at(after), syncd.Cursor{}, nil, 100)
		b, _ := second.Chunk(at(after), syncd.Cursor{}, nil, 100)
		if diff := cmp.Diff(a, b, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("after %s (-first +second):\n%s", after, diff)
		}
	}
	second.Restore(at(20*time.Minute), syncd.Living{Conn: udp6, Remaining: -time.Second}, 0)
	if n := second.Expire(at(20 * time.Minute)); n != 3 || second.Len() != 0 {
		t.Errorf("%d have expired, want both and the one that was over before", n)
	}
}
