package load

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLongest(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	const never = -1
	type ask struct{ sent, answered int }
	for _, tt := range []struct {
		name       string
		asks       []ask
		from, to   int
		begin, end int
	}{
		{"nothing sent", nil, 0, 50, 0, 0},
		{"no answer at all", []ask{{10, never}, {20, never}}, 0, 50, 10, 50},
		{"one after the other", []ask{{0, 1}, {10, 11}, {20, 22}}, 0, 50, 20, 22},
		{"a failover", []ask{{0, 1}, {10, never}, {20, never}, {370, 371}, {380, 381}}, 0, 500, 10, 371},
		{"what came before does not count", []ask{{0, never}, {10, never}, {20, 21}, {30, 33}}, 15, 50, 30, 33},
		{"what comes later does not count", []ask{{0, 2}, {10, 11}, {60, never}}, 0, 50, 0, 2},
		{"an answer that comes later does not count", []ask{{0, 2}, {10, 90}}, 0, 50, 10, 50},
		{"a late answer", []ask{{0, 1}, {10, 200}, {20, 30}, {40, 41}}, 0, 500, 10, 30},
		{"it never comes back", []ask{{0, 1}, {10, never}, {20, never}}, 0, 500, 10, 500},
		// From 20 ms to 300 ms nobody asked.
		{"a meter that stood still", []ask{{10, 11}, {20, 22}, {300, 301}}, 0, 400, 20, 22},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var requests []request
			for _, a := range tt.asks {
				r := request{sent: at(a.sent)}
				if a.answered != never {
					r.answered = at(a.answered)
				}
				requests = append(requests, r)
			}
			begin, end := longest(requests, at(tt.from), at(tt.to))
			if !begin.Equal(at(tt.begin)) || !end.Equal(at(tt.end)) {
				t.Errorf("from %v to %v, want from %d ms to %d ms", begin.Sub(start), end.Sub(start), tt.begin, tt.end)
			}
		})
	}
}

// The checksums were added up by hand, as RFC 1071 says.
func TestEchoMessage(t *testing.T) {
	for _, tt := range []struct {
		id     uint16
		number uint64
		want   string
	}{
		// 0800 + 1234 + 0005 + 0005 = 1a3e
		{0x1234, 5, "0800e5c1123400050000000000000005"},
		// 0800 + ffff + ffff + 0001 + ffff = 307fe, carried: 0801
		{0xffff, 0x1ffff, "0800f7feffffffff000000000001ffff"},
	} {
		if got := hex.EncodeToString(icmpEcho{tt.id}.message(tt.number)); got != tt.want {
			t.Errorf("echo %#x, number %#x: %s, want %s", tt.id, tt.number, got, tt.want)
		}
	}
}

func TestArrival(t *testing.T) {
	// SOL_SOCKET, SCM_TIMESTAMPNS, 1767225600 s and 5 ns, in a little-endian machine's layout.
	oob := make([]byte, unix.CmsgSpace(16))
	copy(oob, []byte{32, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 35, 0, 0, 0, 0x00, 0xb9, 0x55, 0x69, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0})
	if got, want := arrival(oob), time.Unix(1767225600, 5); !got.Equal(want) {
		t.Errorf("arrival = %v, want %v", got, want)
	}
	before := time.Now()
	if got := arrival(nil); got.Before(before) {
		t.Errorf("arrival without a time = %v, want now", got)
	}
}

func TestWaitForGivesUp(t *testing.T) {
	p := &Pings{Interval: time.Millisecond, arrivals: []time.Time{time.Unix(1, 0)}}
	if at, err := p.WaitFor(t.Context(), time.Unix(0, 0), 1); err != nil || !at.Equal(time.Unix(1, 0)) {
		t.Errorf("WaitFor = %v, %v; want the answer there is", at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.WaitFor(ctx, time.Unix(0, 0), 2); err == nil {
		t.Error("WaitFor found a second answer")
	}
}
