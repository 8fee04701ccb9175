//go:build ipvs

package bench

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The bench works. Its long form is all that "make bench-sync" measures, of both programs,
// with few connections.
func TestSyncMeasures(t *testing.T) {
	var out strings.Builder
	o := SyncOptions{
		Binary: os.Getenv("HADIRECTOR"), Programs: []string{"hadirector"}, Events: []string{"steady"},
		Interval: 100 * time.Millisecond, Connections: 10, Bulk: 200, Ages: 1, Rates: []int{100}, Burst: 200 * time.Millisecond,
		Quiet: 100 * time.Millisecond, Limit: time.Minute, Arrive: 500 * time.Millisecond, Never: 3 * time.Second,
		Out: &out, Progress: t.Output(),
	}
	if os.Getenv("HADIRECTOR_FULL") != "" {
		o.Programs, o.Events = SyncPrograms(), SyncEvents()
	}
	ok, err := Sync(t.Context(), o)
	t.Log(out.String())
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	if len(o.Programs) == 1 && strings.Contains(out.String(), "> "+o.Never.String()) {
		t.Error("a new connection did not get to the standby")
	}
}
