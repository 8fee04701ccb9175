package load

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGap(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, tt := range []struct {
		name     string
		answers  []int
		from, to int
		want     time.Duration
	}{
		{"no answer at all", nil, 0, 50, 50 * time.Millisecond},
		{"one after the other", []int{0, 1, 2, 3, 4}, 0, 5, time.Millisecond},
		{"a failover", []int{0, 1, 2, 372, 373, 374}, 1, 375, 370 * time.Millisecond},
		{"what came before does not count", []int{0, 90, 100, 101, 102}, 90, 103, 10 * time.Millisecond},
		{"what comes later does not count", []int{0, 1, 2, 50}, 0, 3, time.Millisecond},
		{"it never comes back", []int{0, 1, 2}, 0, 30, 28 * time.Millisecond},
		{"it was away from the beginning", []int{40, 41}, 0, 42, 40 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var answers []time.Time
			for _, ms := range tt.answers {
				answers = append(answers, at(ms))
			}
			if got := gap(answers, at(tt.from), at(tt.to)); got != tt.want {
				t.Errorf("gap(%v, %d ms, %d ms) = %v, want %v", tt.answers, tt.from, tt.to, got, tt.want)
			}
		})
	}
}

// The checksums were added up by hand, as RFC 1071 says.
func TestEchoMessage(t *testing.T) {
	for _, tt := range []struct {
		id, seq uint16
		want    string
	}{
		{0x1234, 5, "0800e5c612340005"},
		{0xffff, 0xffff, "0800f7ffffffffff"}, // the sum carries twice
	} {
		if got := hex.EncodeToString(echoMessage(tt.id, tt.seq)); got != tt.want {
			t.Errorf("echoMessage(%#x, %#x) = %s, want %s", tt.id, tt.seq, got, tt.want)
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
	p := &Pings{Interval: time.Millisecond, answers: []time.Time{time.Unix(1, 0)}}
	if at, err := p.WaitFor(t.Context(), time.Unix(0, 0), 1); err != nil || !at.Equal(time.Unix(1, 0)) {
		t.Errorf("WaitFor = %v, %v; want the answer there is", at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.WaitFor(ctx, time.Unix(0, 0), 2); err == nil {
		t.Error("WaitFor found a second answer")
	}
}
