//go:build ipvs

package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The bench works: both programs ask, and both take out what has died.
func TestCheckMeasures(t *testing.T) {
	var out strings.Builder
	o := CheckOptions{
		Binary: os.Getenv("HADIRECTOR"), Servers: []int{20}, Intervals: []time.Duration{500 * time.Millisecond}, Types: []CheckType{CheckHTTP},
		Quiet: 500 * time.Millisecond, Deaths: 1, Rounds: 1, Out: &out, Progress: t.Output(),
	}
	_, err := Check(t.Context(), o)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "20 http 500ms"); n != 2 {
		t.Errorf("%d lines of results, want one for each program", n)
	}
}
