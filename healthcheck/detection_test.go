package healthcheck_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
)

// The documents say how long it takes until a dead real server is noticed, for some settings.
// A Monitor that asks one must take as long.
func TestDocumentedDetection(t *testing.T) {
	text, err := os.ReadFile("../docs/healthchecks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n| settings | it refuses connections | it is silent |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 4 {
		t.Fatalf("found %d rows", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 3 {
			t.Fatalf("row %q", row)
		}
		keys := strings.Join(regexp.MustCompile("`([^`]+)`").FindAllString(cells[0], -1), "\n")
		cfg, err := conf.Parse([]byte("[check.c]\ntype = \"tcp\"\n"+strings.ReplaceAll(keys, "`", "")+"\n"), "row.toml")
		if err != nil {
			t.Fatalf("%s: %v", cells[0], err)
		}
		for i, silent := range []bool{false, true} {
			m := regexp.MustCompile(`^([0-9.]+) to ([0-9.]+) s$`).FindStringSubmatch(cells[i+1])
			if m == nil {
				t.Fatalf("%s: no times in %q", cells[0], cells[i+1])
			}
			for j, latest := range []bool{false, true} {
				want, err := strconv.ParseFloat(m[j+1], 64)
				if err != nil {
					t.Fatal(err)
				}
				if got := detection(t, cfg.Checks[0], silent, latest); got != want {
					t.Errorf("%s: silent %t, latest %t: %v s, want %v s as documented", cells[0], silent, latest, got, want)
				}
			}
		}
	}
}

// detection is how long it takes in seconds, at least or at most, until a real server is down
// that dies right before a probe or right after it.
func detection(t *testing.T, sp healthcheck.Spec, silent, latest bool) (seconds float64) {
	t.Helper()
	scale := time.Duration(100 - sp.Jitter)
	if latest {
		scale = time.Duration(100 + sp.Jitter)
	}
	sp.Interval, sp.FastInterval, sp.DownInterval = sp.Interval*scale/100, sp.FastInterval*scale/100, sp.DownInterval*scale/100
	sp.Jitter = 0
	synctest.Test(t, func(t *testing.T) {
		events := make(chan healthcheck.Event, 10)
		var dies time.Time
		m, _, _ := start(t, 0, events, func(ctx context.Context, _ healthcheck.Target, nth int) error {
			switch {
			case nth == 1:
				dies = time.Now()
				return nil
			case nth == 2 && !latest:
				dies = time.Now()
			}
			if !silent {
				return errRefused
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(sp.ConnectTimeout):
				return errors.New("connect timeout")
			}
		})
		m.Apply(targets(1, sp))
		ev := <-events
		for ev.Status == healthcheck.Up {
			ev = <-events
		}
		seconds = ev.At.Sub(dies).Round(time.Millisecond).Seconds()
	})
	// Of the floating point number, the digits that are meant.
	seconds, err := strconv.ParseFloat(fmt.Sprintf("%.3f", seconds), 64)
	if err != nil {
		t.Fatal(err)
	}
	return seconds
}
