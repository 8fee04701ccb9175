package healthcheck_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

// observe feeds verdicts to a tracker, "." a success and "x" a failure, and draws
// what came of each: "U" or "D" where the status changed, "-" where it did not.
func observe(tr *healthcheck.Tracker, verdicts string) string {
	var b strings.Builder
	for _, v := range verdicts {
		var err error
		if v == 'x' {
			err = errors.New("connect refused")
		}
		s, changed := tr.Observe(err)
		switch {
		case !changed:
			b.WriteByte('-')
		case s == healthcheck.Up:
			b.WriteByte('U')
		case s == healthcheck.Down:
			b.WriteByte('D')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

func TestTracker(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		initial    healthcheck.Status
		verdicts   string
		want       string
		status     healthcheck.Status
	}{
		{"the first success is enough", 3, 3, healthcheck.Unknown, ".", "U", healthcheck.Up},
		{"the first failure is enough", 3, 3, healthcheck.Unknown, "x", "D", healthcheck.Down},
		{"nothing observed", 1, 1, healthcheck.Unknown, "", "", healthcheck.Unknown},
		{"fall counts in a row only", 1, 3, healthcheck.Unknown, ".xx.xx.xxx", "U--------D", healthcheck.Down},
		{"rise counts in a row only", 3, 1, healthcheck.Unknown, "x..x..x...", "D--------U", healthcheck.Up},
		{"a blip below fall changes nothing", 1, 3, healthcheck.Unknown, "..xx.x", "U-----", healthcheck.Up},
		{"rise and fall of one follow every verdict", 1, 1, healthcheck.Unknown, ".x.x", "UDUD", healthcheck.Down},
		{"zero thresholds count as one", 0, 0, healthcheck.Unknown, ".x.", "UDU", healthcheck.Up},
		{"negative thresholds count as one", -2, -2, healthcheck.Unknown, ".x.", "UDU", healthcheck.Up},
		{"a change comes once", 2, 2, healthcheck.Unknown, "xxxxx.....xxxxx", "D-----U----D---", healthcheck.Down},
		{"initially up needs fall failures", 2, 3, healthcheck.Up, "xxx", "--D", healthcheck.Down},
		{"initially down needs rise successes", 2, 3, healthcheck.Down, "..", "-U", healthcheck.Up},
		{"initially down, failures change nothing", 1, 1, healthcheck.Down, "xxx", "---", healthcheck.Down},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := healthcheck.NewTracker(healthcheck.Thresholds{Rise: tt.rise, Fall: tt.fall}, tt.initial)
			if diff := cmp.Diff(tt.want, observe(tr, tt.verdicts)); diff != "" {
				t.Errorf("changes after %q (-want +got):\n%s", tt.verdicts, diff)
			}
			if got := tr.Status(); got != tt.status {
				t.Errorf("status = %v, want %v", got, tt.status)
			}
		})
	}
}

func TestTrackerRun(t *testing.T) {
	tr := healthcheck.NewTracker(healthcheck.Thresholds{Rise: 2, Fall: 2}, healthcheck.Unknown)
	want := [][2]int{{1, 0}, {2, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}}
	for i, v := range "..xxx." {
		observe(tr, string(v))
		s, f := tr.Run()
		if got := [2]int{s, f}; got != want[i] {
			t.Errorf("run after verdict %d = %v, want %v", i+1, got, want[i])
		}
	}
}

// A reload changes thresholds in the middle of a run; the run counts on.
func TestTrackerSetThresholds(t *testing.T) {
	tests := []struct {
		name          string
		before, after string // verdicts
		th            healthcheck.Thresholds
		want          string // changes after the reload
	}{
		{"the reload itself is no change", ".xx", "", healthcheck.Thresholds{Rise: 3, Fall: 1}, ""},
		{"a lower fall is reached by the next failure", ".xx", "x", healthcheck.Thresholds{Rise: 3, Fall: 2}, "D"},
		{"a higher fall takes the failures so far into account", ".xx", "xxx", healthcheck.Thresholds{Rise: 3, Fall: 5}, "--D"},
		{"a lower rise is reached by the next success", "x.", ".", healthcheck.Thresholds{Rise: 2, Fall: 4}, "U"},
		{"a success after the reload still ends the run", ".xxx", ".xxx", healthcheck.Thresholds{Rise: 1, Fall: 4}, "----"},
		{"before the first verdict one is still enough", "", "x", healthcheck.Thresholds{Rise: 9, Fall: 9}, "D"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := healthcheck.NewTracker(healthcheck.Thresholds{Rise: 3, Fall: 4}, healthcheck.Unknown)
			observe(tr, tt.before)
			status := tr.Status()
			tr.SetThresholds(tt.th)
			if got := tr.Status(); got != status {
				t.Errorf("status changed from %v to %v by the reload", status, got)
			}
			if diff := cmp.Diff(tt.want, observe(tr, tt.after)); diff != "" {
				t.Errorf("changes after the reload (-want +got):\n%s", diff)
			}
		})
	}
}
