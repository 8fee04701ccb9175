//go:build ipvs

package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The bench works, and hadirector sends what a reload needs and no more.
func TestReloadMeasures(t *testing.T) {
	var out strings.Builder
	o := ReloadOptions{
		Binary: os.Getenv("HADIRECTOR"), Sizes: []Size{{3, 2}}, Quiet: 300 * time.Millisecond, Out: &out, Progress: t.Output(),
	}
	ok, err := Reload(t.Context(), o)
	t.Log(out.String())
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if n := strings.Count(out.String(), "3 x 2"); n != 2 {
		t.Errorf("%d lines of results, want one for each program", n)
	}
}
