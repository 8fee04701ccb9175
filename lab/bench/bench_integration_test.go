//go:build integration

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// daemon is the daemon's path: what $HADIRECTOR names, else built here.
func daemon(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("HADIRECTOR"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "hadirector")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/hadirector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the daemon: %v\n%s", err, out)
	}
	return path
}

// The benches work. What they find is for a quiet machine, and a person, to see.
func TestFailoverMeasures(t *testing.T) {
	var out strings.Builder
	o := FailoverOptions{
		Binary: daemon(t), Intervals: []time.Duration{100 * time.Millisecond}, Rounds: 1, Events: []string{"crash", "clean stop"},
		Out: &out, Progress: t.Output(),
	}
	if _, err := Failover(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "crash ") || !strings.HasPrefix(lines[3], "clean stop ") {
		t.Errorf("want a head and two lines for each event")
	}
}

func TestVRRPMeasures(t *testing.T) {
	var out strings.Builder
	o := VRRPOptions{
		Binary: daemon(t), Instances: 20, Interval: 100 * time.Millisecond,
		Settle: 200 * time.Millisecond, Quiet: time.Second, Busy: time.Second, Out: &out, Progress: t.Output(),
	}
	if _, err := VRRP(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, want := range []string{"hadirector-vrrp", "keepalived, real-time"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing about %s", want)
		}
	}
}
