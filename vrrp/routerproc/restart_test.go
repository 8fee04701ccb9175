package routerproc

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

func TestPausesGrow(t *testing.T) {
	var c crashes
	var got []time.Duration
	for range 10 {
		got = append(got, c.ended(0))
	}
	const s = time.Second
	if diff := cmp.Diff([]time.Duration{0, 0, s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s, 30 * s}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for range 1000 { // a week of it
		c.ended(0)
	}
	if d := c.ended(steady - 1); d != 30*s {
		t.Errorf("after a thousand: %v", d)
	}
	if d := c.ended(steady); d != 0 {
		t.Errorf("after one that ran for long: %v", d)
	}
}

func TestAdoptable(t *testing.T) {
	in := instance("web") // every 100 ms
	for _, tt := range []struct {
		state vrrp.State
		since time.Duration
		want  bool
	}{
		{vrrp.Master, 0, true},
		{vrrp.Master, 199 * time.Millisecond, true},
		{vrrp.Master, 200 * time.Millisecond, false},
		{vrrp.Backup, 0, false},
		{vrrp.Fault, 0, false},
		{vrrp.Initialize, 0, false},
	} {
		if got := adoptable(in, tt.state, tt.since); got != tt.want {
			t.Errorf("%v after %v: %v", tt.state, tt.since, got)
		}
	}
}

func TestLateAdoptionIsNone(t *testing.T) {
	ended := time.Unix(1700000000, 0)
	in := instance("web")
	in.Adopt = true
	a := apply{Instances: map[string]vrrp.Instance{"web": in, "db": instance("db")}, Ended: ended}
	for since, want := range map[time.Duration]string{
		299 * time.Millisecond: "[db 150, web 150 adopt]",
		300 * time.Millisecond: "[db 150, web 150]",
		0:                      "[db 150, web 150 adopt]",
		-time.Millisecond:      "[db 150, web 150]",
	} {
		if got := show(inTime(a, ended.Add(since))); got != want {
			t.Errorf("%v later: %s", since, got)
		}
	}
	if !a.Instances["web"].Adopt {
		t.Error("what the parent said has changed")
	}
}

func TestWeakened(t *testing.T) {
	in := set("web", "db")
	if got := show(weakened(in)); got != "[db 1 no preempt, web 1 no preempt]" {
		t.Error(got)
	}
	if got := show(in); got != "[db 150, web 150]" {
		t.Errorf("what was asked for has changed: %s", got)
	}
}
