package vrrp

import (
	"testing"
	"time"
)

// The literals are worked out by hand from RFC 9568 section 6.1 and RFC 3768
// section 6.1.
func TestTimers(t *testing.T) {
	tests := []struct {
		name     string
		v        Version
		p        Priority
		interval time.Duration
		skew     time.Duration
		down     time.Duration
	}{
		// 56/256 of 1 s.
		{"priority 200, 1s", 3, 200, time.Second, 218750 * time.Microsecond, 3218750 * time.Microsecond},
		// 156/256 of 1 s.
		{"priority 100, 1s", 3, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		// 2/256 of 10 ms.
		{"priority 254, 10ms", 3, 254, 10 * time.Millisecond, 78125 * time.Nanosecond, 30078125 * time.Nanosecond},
		// 156/256 of 100 ms.
		{"priority 100, 100ms", 3, 100, 100 * time.Millisecond, 60937500 * time.Nanosecond, 360937500 * time.Nanosecond},
		// 255/256 of 40.95 s, 1/256 of which is 159.9609375 ms.
		{"priority 1, 40.95s", 3, 1, 40950 * time.Millisecond, 40790039062 * time.Nanosecond, 163640039062 * time.Nanosecond},
		{"priority 255, 1s", 3, 255, time.Second, 3906250 * time.Nanosecond, 3003906250 * time.Nanosecond},
		{"version 2, priority 100, 1s", 2, 100, time.Second, 609375 * time.Microsecond, 3609375 * time.Microsecond},
		// Still 156/256 of one second.
		{"version 2, priority 100, 3s", 2, 100, 3 * time.Second, 609375 * time.Microsecond, 9609375 * time.Microsecond},
		{"version 2, priority 254, 255s", 2, 254, 255 * time.Second, 7812500 * time.Nanosecond, 765007812500 * time.Nanosecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := SkewTime(tt.v, tt.p, tt.interval); got != tt.skew {
				t.Errorf("Skew_Time %v, want %v", got, tt.skew)
			}
			if got := MasterDownInterval(tt.v, tt.p, tt.interval); got != tt.down {
				t.Errorf("Master_Down_Interval %v, want %v", got, tt.down)
			}
		})
	}
}
