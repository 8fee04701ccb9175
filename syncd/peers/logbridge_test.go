package peers

import (
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestBridge(t *testing.T) {
	lines := make(chan string, 10)
	b := newBridge(slog.New(logTap(lines)))
	now := at(0)
	b.now = func() time.Time { return now }
	l := b.std()
	for _, tt := range []struct {
		at   float64
		line string
		want string // empty: nothing above debug
	}{
		{0, "[DEBUG] memberlist: Stream connection from=10.0.0.2:1", ""},
		{0, "[INFO] memberlist: Marking b as failed", ""},
		{0, "[ERR] memberlist: Push/Pull with b failed: timeout", "memberlist complains text=Push/Pull with b failed: timeout"},
		{1, "[ERR] memberlist: Push/Pull with b failed: refused", ""},
		{2, "[ERR] memberlist: failed to receive: x from=10.0.0.2:40001", "memberlist complains text=failed to receive: x from=10.0.0.2:40001"},
		{3, "[ERR] memberlist: failed to receive: y from=10.0.0.2:40002", ""},
		{4, "[WARN] memberlist: ignoring alive message for 'm': m at 10.0.0.9 is not configured", ""},
		{5, "[ERR] memberlist: Failed fallback TCP ping: timeout 200ms: …", ""},
		{599, "[ERR] memberlist: Push/Pull with b failed: timeout", ""},
		{600, "[ERR] memberlist: Push/Pull with b failed: again", "memberlist complains text=Push/Pull with b failed: again suppressed=2"},
		{601, "[WARN] memberlist: Got ping for unexpected node x from=10.0.0.2:1", "memberlist complains text=Got ping for unexpected node x from=10.0.0.2:1"},
		{602, "no level at all", ""},
	} {
		now = at(tt.at)
		l.Print(tt.line)
		got := ""
		if len(lines) > 0 {
			got = <-lines
		}
		if got != tt.want {
			t.Errorf("after %vs %q became\n%q, want\n%q", tt.at, tt.line, got, tt.want)
		}
	}
}

func TestBridgeIsBounded(t *testing.T) {
	lines := make(chan string, 1000)
	l := newBridge(slog.New(logTap(lines))).std()
	for i := range 1000 {
		l.Printf("[ERR] memberlist: complaint %c%c: x", 'a'+i%26, 'a'+i/26)
	}
	if len(lines) != 64 {
		t.Errorf("%d lines, want 64", len(lines))
	}
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct{ err, want string }{
		{"failed to join 10.0.0.2:7946: dial tcp 10.0.0.1:0->10.0.0.2:7946: connect: connection refused", "connection refused: no director runs there"},
		{"dial tcp: i/o timeout", "no answer"},
		{"no installed keys could decrypt the message", "it has another cluster key"},
		{"1 error occurred:\n\t* something\n  new\n\n", "1 error occurred: * something new"},
	} {
		if got := explain(errors.New(tt.err)); got != tt.want {
			t.Errorf("%q is explained as %q, want %q", tt.err, got, tt.want)
		}
	}
}
