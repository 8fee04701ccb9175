package director

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
)

func TestStatusesFile(t *testing.T) {
	f := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
	if got, err := f.Load(); err != nil || len(got) != 0 {
		t.Errorf("without a file: %v, %v", got, err)
	}
	want := map[healthcheck.Target]bool{target("10.0.0.21:80"): true, target("[2001:db8::1]:443"): true, target("10.0.0.21:0"): true,
		{Addr: netip.MustParseAddrPort("10.0.0.21:80"), Check: "alive", Path: healthcheck.Path{VIP: netip.MustParseAddr("10.0.0.100"), Mark: 0x68000001}}: true}
	for _, down := range []map[healthcheck.Target]bool{want, {}} {
		if err := f.Save(down); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if diff := cmp.Diff(down, got, cmp.Comparer(func(a, b healthcheck.Target) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%v -want +got:\n%s", err, diff)
		}
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", info, err)
	}
}

func TestStatusesFileOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":     `{"down": [{"address": "10.0.0.21:8`,
		"no address":  `{"down": [{"check": "alive"}]}`,
		"a host name": `{"down": [{"address": "web-1:80", "check": "alive"}]}`,
		"no check":    `{"down": [{"address": "10.0.0.21:80"}]}`,
		"a long name": `{"down": [{"address": "10.0.0.21:80", "check": "` + strings.Repeat("x", 64) + `"}]}`,
		"endless":     strings.Repeat(" ", maxStatusesFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			f := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
			if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Load(); err == nil || len(got) != 0 || !strings.Contains(err.Error(), f.Path) {
				t.Errorf("got %v, %v; want an error that names the file", got, err)
			}
		})
	}
}

// The longest file that is written can be read.
func TestStatusesFileIsBounded(t *testing.T) {
	f := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
	down := make(map[healthcheck.Target]bool)
	for i := range maxStatuses + 10 {
		e := target("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:10000")
		e.Check = strings.Repeat("x", 50) + strings.Repeat("y", i%13) + string(rune('a'+i%26))
		addr := e.Addr.Addr().As16()
		addr[2], addr[3] = byte(i>>8), byte(i)
		e.Addr = netip.AddrPortFrom(netip.AddrFrom16(addr), e.Addr.Port())
		down[e] = true
	}
	if err := f.Save(down); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if err != nil || len(got) != maxStatuses {
		t.Errorf("%d read back, %v; want %d", len(got), err, maxStatuses)
	}
}

func FuzzParseStatuses(f *testing.F) {
	f.Add([]byte(`{"down": [{"address": "10.0.0.21:80", "check": "alive"}]}`))
	f.Add([]byte(`{"down": [{"address": "[fe80::1%eth0]:80", "check": "alive"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		down, err := parseStatuses(b)
		if err != nil {
			return
		}
		store := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
		if err := store.Save(down); err != nil {
			t.Fatal(err)
		}
		again, err := store.Load()
		if err != nil || len(again) != min(len(down), maxStatuses) {
			t.Fatalf("%v read back as %v, %v", down, again, err)
		}
		for target := range again {
			if !down[target] {
				t.Fatalf("%v was not written", target)
			}
		}
	})
}
