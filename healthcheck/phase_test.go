package healthcheck

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestPhase(t *testing.T) {
	a := Target{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Check: "web"}
	if x, y := phase(a, time.Minute), phase(a, time.Minute); x != y {
		t.Errorf("phase of one target = %v and %v, want the same", x, y)
	}
	for _, other := range []Target{
		{Addr: netip.MustParseAddrPort("192.0.2.2:80"), Check: "web"},
		{Addr: netip.MustParseAddrPort("192.0.2.1:81"), Check: "web"},
		{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Check: "wea"},
	} {
		if phase(a, time.Hour) == phase(other, time.Hour) {
			t.Errorf("%v and %v have the same phase", a, other)
		}
	}
	if got := phase(a, 0); got != 0 {
		t.Errorf("phase in no time = %v, want 0", got)
	}
}

// Targets that differ in one digit are the rule: a rack in sequence must be spread
// evenly. 2000 targets over ten tenths of a second: 200 each, give or take chance.
func TestPhaseSpreadsNeighbours(t *testing.T) {
	var tenths [10]int
	for i := range 2000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		d := phase(Target{Addr: netip.AddrPortFrom(addr, 80), Check: "web"}, time.Second)
		if d < 0 || d >= time.Second {
			t.Fatalf("phase = %v, want it within one second", d)
		}
		tenths[d/(100*time.Millisecond)]++
	}
	for i, n := range tenths {
		if n < 140 || n > 260 {
			t.Errorf("tenth %d has %d of 2000 targets; all: %s", i, n, fmt.Sprint(tenths))
		}
	}
}

func TestJittered(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 2000 {
		d := jittered(10*time.Second, 10)
		low, high = min(low, d), max(high, d)
	}
	if low < 9*time.Second || high > 11*time.Second {
		t.Errorf("10s became %v to %v, want within 9s to 11s", low, high)
	}
	if low > 9100*time.Millisecond || high < 10900*time.Millisecond {
		t.Errorf("10s became %v to %v only, want nearly all of 9s to 11s", low, high)
	}
	for _, tt := range []struct {
		interval time.Duration
		percent  int
	}{{5, 10}, {time.Second, 0}} {
		if got := jittered(tt.interval, tt.percent); got != tt.interval {
			t.Errorf("%v with %d %% became %v, want it unchanged", tt.interval, tt.percent, got)
		}
	}
}

// Which interval follows each verdict, "." a success and "x" a failure: i the ordinary one, f
// the fast one, d that of the down. rise 3, fall 3.
func TestInterval(t *testing.T) {
	const i, f, d = 5 * time.Second, time.Second, time.Minute
	tests := []struct {
		name       string
		fast, down time.Duration
		verdicts   string
		want       string
	}{
		{"on the way down and up it is the fast one", f, d, ".xxxx...", "iffddffi"},
		{"a run that ends is over", f, d, ".xx.xxxx.x", "iffiffddfd"},
		{"without a fast one", 0, d, ".xxxx...", "iiiddiii"},
		{"without one of the down", f, 0, ".xxxx...", "iffiiffi"},
		{"with neither", 0, 0, ".xxxx...", "iiiiiiii"},
		{"first verdict down", f, d, "xx", "dd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := Spec{Interval: i, FastInterval: tt.fast, DownInterval: tt.down}
			tr := NewTracker(Thresholds{Rise: 3, Fall: 3}, Unknown)
			if got := spec.interval(tr); got != i {
				t.Errorf("before the first verdict it is %v, want %v", got, i)
			}
			got := ""
			for _, v := range tt.verdicts {
				var err error
				if v == 'x' {
					err = errors.New("connect refused")
				}
				tr.Observe(err)
				got += map[time.Duration]string{i: "i", f: "f", d: "d"}[spec.interval(tr)]
			}
			if got != tt.want {
				t.Errorf("after %s the intervals are %s, want %s", tt.verdicts, got, tt.want)
			}
		})
	}
}
