package director

import (
	"maps"
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
	if got, err := f.Load(); err != nil || len(got.Down)+len(got.Panics) != 0 {
		t.Errorf("without a file: %v, %v", got, err)
	}
	down := map[healthcheck.Target]bool{target("10.0.0.21:80"): true, target("[2001:db8::1]:443"): true, target("10.0.0.21:0"): true,
		{Addr: netip.MustParseAddrPort("10.0.0.21:80"), Check: "alive", Path: healthcheck.Path{VIP: netip.MustParseAddr("10.0.0.100"), Mark: 0x68000001}}: true}
	panics := map[string]map[netip.AddrPort]bool{
		"web":  {netip.MustParseAddrPort("10.0.0.21:80"): true, netip.MustParseAddrPort("[2001:db8::1]:443"): true},
		"none": {},
	}
	for _, want := range []KeptHealth{{down, panics}, {down, nil}, {nil, panics}, {}} {
		want = want.clone()
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b healthcheck.Target) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%v -want +got:\n%s", err, diff)
		}
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", info, err)
	}
}

func TestStatusesFileOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":                              `{"down": [{"address": "10.0.0.21:8`,
		"no address":                           `{"down": [{"check": "alive"}]}`,
		"a host name":                          `{"down": [{"address": "web-1:80", "check": "alive"}]}`,
		"no check":                             `{"down": [{"address": "10.0.0.21:80"}]}`,
		"a real server without an address":     `{"down": [], "panics": [{"virtual_server": "web", "good": [""]}]}`,
		"a panic of nobody":                    `{"panics": [{"good": ["10.0.0.21:80"]}]}`,
		"a panic of somebody with a long name": `{"panics": [{"virtual_server": "` + strings.Repeat("x", 64) + `"}]}`,
		"a long name":                          `{"down": [{"address": "10.0.0.21:80", "check": "` + strings.Repeat("x", 64) + `"}]}`,
		"endless":                              strings.Repeat(" ", maxStatusesFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			f := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
			if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Load(); err == nil || len(got.Down)+len(got.Panics) != 0 || !strings.Contains(err.Error(), f.Path) {
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
	// A panic is kept as a whole or not at all.
	panics := map[string]map[netip.AddrPort]bool{"a": {}, "b": {}, "c": {}}
	for e := range down {
		panics["a"][e.Addr] = true
		if len(panics["a"]) == maxStatuses-10 {
			break
		}
	}
	for i := range 10 {
		panics["b"][netip.AddrPortFrom(netip.MustParseAddr("10.0.0.21"), uint16(i))] = true
	}
	if err := f.Save(KeptHealth{down, panics}); err != nil {
		t.Fatal(err)
	}
	got, err := f.Load()
	if err != nil || len(got.Down) != maxStatuses || len(got.Panics) != 1 || len(got.Panics["a"]) != maxStatuses-10 {
		t.Errorf("%d and %d panics read back, %v; want %d and one", len(got.Down), len(got.Panics), err, maxStatuses)
	}
}

func FuzzParseStatuses(f *testing.F) {
	f.Add([]byte(`{"down": [{"address": "10.0.0.21:80", "check": "alive"}]}`))
	f.Add([]byte(`{"down": [], "panics": [{"virtual_server": "web", "good": ["10.0.0.21:80"]}, {"virtual_server": "mail"}]}`))
	f.Add([]byte(`{"down": [{"address": "[fe80::1%eth0]:80", "check": "alive"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		kept, err := parseStatuses(b)
		if err != nil {
			return
		}
		store := FileStatuses{Path: filepath.Join(t.TempDir(), "health.json")}
		if err := store.Save(kept); err != nil {
			t.Fatal(err)
		}
		again, err := store.Load()
		if err != nil || len(again.Down) != min(len(kept.Down), maxStatuses) || len(again.Panics) > len(kept.Panics) {
			t.Fatalf("%v read back as %v, %v", kept, again, err)
		}
		for target := range again.Down {
			if !kept.Down[target] {
				t.Fatalf("%v was not written", target)
			}
		}
		for name, good := range again.Panics {
			if was, there := kept.Panics[name]; !there || !maps.Equal(was, good) {
				t.Fatalf("the panic of %s has %v, and had %v", name, good, was)
			}
		}
	})
}
