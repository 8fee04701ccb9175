package vrrptest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hadirector/hadirector/vrrp/vrrptest"
)

// TestJudge: what the judge calls broken when a segment is configured so that it must be.
func TestJudge(t *testing.T) {
	tests := []struct {
		name, script, want string
	}{
		{"two Masters", `router a addr=192.0.2.1; router b addr=192.0.2.1
			start; settle`, "a and b hear each other and have both been Master"},
		{"two Masters that lose each other's frames", `router a addr=192.0.2.1; router b addr=192.0.2.1
			path a b loss=1; start; run 30s`, ""},
		{"nobody", `router a addr=192.0.2.1 startdelay=10s; router b addr=192.0.2.2 hold=true
			start b; start a; settle; crash a; settle`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := vrrptest.Check(tt.script)
			var v *vrrptest.Violation
			if got := errors.As(err, &v); got != (tt.want != "") || got && !strings.Contains(v.Rule, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestReplay: a seed always gives the same schedule, and that the same transcript.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		first, err1 := vrrptest.Explain(vrrptest.Schedule(seed))
		second, err2 := vrrptest.Explain(vrrptest.Schedule(seed))
		if first != second || err1 != nil || err2 != nil {
			t.Errorf("seed %d: %v, %v, equal: %v", seed, err1, err2, first == second)
		}
	}
}

func TestShrink(t *testing.T) {
	fails := func(script string) bool {
		return strings.Contains(script, "cut a") && strings.Contains(script, "kill b")
	}
	got := vrrptest.Shrink("start\ncut a\nrun 1s\nrun 2s\nkill b\nheal\nrun 3s\n", fails)
	if want := "cut a\nkill b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
