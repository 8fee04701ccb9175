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
	want := Registers{
		{"web", "web-1"}: {1, Override{Kind: OverrideDrain, By: "root", Director: "lb-b", At: at, Until: at.Add(time.Hour), Reason: "kernel update"}},
		{"web", "web-2"}: {2, Override{Kind: OverrideWeight, Weight: 7, By: "uid 1000", At: at}},
		{"web", "web-3"}: {3, Override{Kind: OverrideNone, By: "root", At: at}},
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
		"a long name":  `{"overrides": [{"virtual_server": "web", "real_server": "` + strings.Repeat("x", 64) + `", "kind": "drain"}]}`,
		"not ended":    `{"overrides": [], "ended": [{"virtual_server": "web", "real_server": "web-1", "kind": "drain"}]}`,
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

// What an earlier version has written is older than anything that follows.
func TestOverridesFileOfAnEarlierVersion(t *testing.T) {
	f := FileOverrides{Path: filepath.Join(t.TempDir(), "overrides.json")}
	text := `{"overrides": [{"virtual_server": "web", "real_server": "web-1", "kind": "drain", "weight": 0, "by": "root", "at": "2026-01-02T03:04:05Z"}]}`
	if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := Registers{{"web", "web-1"}: {uint64(at.UnixMilli()), Override{Kind: OverrideDrain, By: "root", At: at}}}
	got, err := f.Load()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
}
