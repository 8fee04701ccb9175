package healthcheck

import (
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
		d := jittered(10 * time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 9*time.Second || high > 11*time.Second {
		t.Errorf("10s became %v to %v, want within 9s to 11s", low, high)
	}
	if low > 9100*time.Millisecond || high < 10900*time.Millisecond {
		t.Errorf("10s became %v to %v only, want nearly all of 9s to 11s", low, high)
	}
	if got := jittered(5); got != 5 {
		t.Errorf("5ns became %v, want it unchanged", got)
	}
}
