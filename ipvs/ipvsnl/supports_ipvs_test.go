//go:build ipvs

package ipvsnl

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// The kernel is asked for every scheduler that Debian's has (twos is not among them), and
// answers without a trace in its table.
func TestSupportsAsksTheKernel(t *testing.T) {
	c := openInNamespace(t)
	for _, scheduler := range strings.Fields("rr wrr lc wlc lblc lblcr dh sh sed nq mh fo ovf") {
		if err := c.Supports(t.Context(), scheduler, ""); err != nil {
			t.Error(err)
		}
	}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(modules), "ip_vs_ovf ") {
		t.Error("the question has not loaded ip_vs_ovf")
	}
	if err := c.Supports(t.Context(), "rr", "sip"); err != nil {
		t.Error(err)
	}
	for _, lacking := range [][2]string{{"zebra", ""}, {"rr", "zebra"}} {
		if err := c.Supports(t.Context(), lacking[0], lacking[1]); !errors.Is(err, ErrNoModule) {
			t.Errorf("%v: got %v, want ErrNoModule", lacking, err)
		}
	}
	if s := saved(t); len(s) > 0 {
		t.Errorf("the questions made %q", s)
	}
}
