package director

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOverridesFile(t *testing.T) {
	f := FileOverrides{Path: filepath.Join(t.TempDir(), "overrides.json")}
	if got, err := f.Load(); err != nil || len(got) != 0 {
		t.Errorf("without a file: %v, %v", got, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := Overrides{
		{"web", "web-1"}: {Kind: OverrideDrain, By: "root", At: at, Until: at.Add(time.Hour), Reason: "kernel update"},
		{"web", "web-2"}: {Kind: OverrideWeight, Weight: 7, By: "uid 1000", At: at},
	}
	if err := f.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", info, err)
	}
}

func TestOverridesFileOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":      `{"overrides": [{"virtual_server": "web", "real_s`,
		"unknown kind": `{"overrides": [{"virtual_server": "web", "real_server": "web-1", "kind": "explode"}]}`,
		"no override":  `{"overrides": [{"virtual_server": "web", "real_server": "web-1", "kind": "enable"}]}`,
		"weight":       `{"overrides": [{"virtual_server": "web", "real_server": "web-1", "kind": "weight", "weight": 4294967295}]}`,
		"escape":       `{"overrides": [{"virtual_server": "web", "real_server": "web-1", "kind": "drain", "reason": "\u001b[2J"}]}`,
		"endless":      strings.Repeat(" ", maxOverridesFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			f := FileOverrides{Path: filepath.Join(t.TempDir(), "overrides.json")}
			if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Load(); err == nil || !strings.Contains(err.Error(), f.Path) {
				t.Errorf("got %v, %v; want an error that names the file", got, err)
			}
		})
	}
}
