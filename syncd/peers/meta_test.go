package peers

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNewMeta(t *testing.T) {
	at := time.Date(2026, 11, 21, 14, 0, 0, 123456789, time.UTC)
	got := newMeta(Local{
		Version: "1.2.3",
		Started: at,
		Roles: []Role{
			{"web", Backup}, {"mail", Master}, {"api", Backup}, {"dns", Fault}, {"cdn", Master},
		},
		Config: "abc",
	})
	want := Meta{
		Version: "1.2.3",
		Started: time.Unix(1795269600, 0), // date -ud '2026-11-21 14:00' +%s
		// printf abc | sha256sum | cut -c 1-32
		Config:  Fingerprint{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23},
		Roles:   []Role{{"cdn", Master}, {"mail", Master}, {"dns", Fault}, {"api", Backup}, {"web", Backup}},
		Masters: 2,
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNewMetaFits(t *testing.T) {
	for _, tt := range []struct {
		name        string
		local       Local
		roles, left int
		masters     int
		tooLong     bool
	}{
		{"nothing", Local{}, 0, 0, 0, false},
		{"configuration as long as may be", Local{Config: strings.Repeat("x", MaxConfig)}, 0, 0, 0, false},
		{"configuration too long", Local{Config: strings.Repeat("x", MaxConfig+1)}, 0, 0, 0, true},
		// 33 bytes before the roles, 12 per role: (512-33)/12 = 39
		{"100 backups, names of 10", Local{Roles: roles(100, Backup, "router-%03d")}, 39, 61, 0, false},
		{"100 masters are counted", Local{Roles: roles(100, Master, "router-%03d")}, 39, 61, 100, false},
		{"a name too long for the length byte", Local{Roles: []Role{{strings.Repeat("n", 256), Master}, {"z", Backup}}}, 0, 2, 1, false},
		// 33 + 1 + 2×5 bytes before the roles: (512-44)/12 = 39; 9 sources are not told.
		{"100 backups and two sources", Local{Roles: roles(100, Backup, "router-%03d"), Sources: sources(2)}, 39, 61, 0, false},
		{"100 backups and eight sources", Local{Roles: roles(100, Backup, "router-%03d"), Sources: sources(8)}, 36, 64, 0, false},
		// 17 bytes more
		{"100 backups, something shared", Local{Shared: "x", Roles: roles(100, Backup, "router-%03d")}, 38, 62, 0, false},
		{"100 backups and nine sources", Local{Roles: roles(100, Backup, "router-%03d"), Sources: sources(9)}, 39, 61, 0, false},
		{"a long version is cut", Local{Version: strings.Repeat("v", 1000)}, 0, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMeta(tt.local)
			if len(m.Roles) != tt.roles || m.Omitted != tt.left || m.Masters != tt.masters || m.ConfigTooLong != tt.tooLong {
				t.Errorf("%d roles, %d omitted, %d masters, too long %t; want %d, %d, %d, %t",
					len(m.Roles), m.Omitted, m.Masters, m.ConfigTooLong, tt.roles, tt.left, tt.masters, tt.tooLong)
			}
			if n := len(m.appendTo(nil)); n > 512 {
				t.Errorf("%d bytes, want at most 512", n)
			}
			again, err := parseMeta(m.appendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, again, addrs); diff != "" {
				t.Errorf("after the round trip -sent +received\n%s", diff)
			}
		})
	}
}

func roles(n int, s State, format string) []Role {
	var rs []Role
	for i := range n {
		rs = append(rs, Role{fmt.Sprintf(format, i), s})
	}
	return rs
}

const metaHex = "01" + "0b" + // version; text too long, leaving, nothing is well
	"000000006b01a3a0" + // 1795269536
	"000102030405060708090a0b0c0d0e0f" + // fingerprint
	"03312e32" + // "1.2"
	"0001" + "0007" + "0002" + // 1 Master, 7 omitted, 2 roles
	"02" + "03776562" + // Master, "web"
	"01" + "02646e" + // Backup, "dn"
	metaSources

// metaSources are two sources, IPv4 and IPv6. What comes before them is all that earlier
// versions of the program send.
const metaSources = "02" + "040a00000b" + "10fe800000000000000000000000000001"

func TestMetaBytes(t *testing.T) {
	want := Meta{
		Version:       "1.2",
		Started:       time.Unix(0x6b01a3a0, 0),
		Config:        Fingerprint{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		ConfigTooLong: true,
		Leaving:       true,
		Sight:         SightNone,
		Roles:         []Role{{"web", Master}, {"dn", Backup}},
		Sources:       []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fe80::1")},
		Omitted:       7,
		Masters:       1,
	}
	wire, err := hex.DecodeString(metaHex)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseMeta(wire)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !bytes.Equal(want.appendTo(nil), wire) {
		t.Errorf("encoded\n%x, want\n%x", want.appendTo(nil), wire)
	}
	// A later version of the program may append fields.
	if later, err := parseMeta(append(bytes.Clone(wire), 1, 2, 3)); err != nil || !cmp.Equal(want, later, addrs) {
		t.Errorf("with three bytes more: %+v, %v", later, err)
	}
	for n := range len(wire) {
		if m, err := parseMeta(wire[:n]); (err == nil) != (n == len(wire)-len(metaSources)/2) {
			t.Errorf("the first %d bytes give %+v, %v", n, m, err)
		}
	}
	want.Shared, want.Keys = Fingerprint{1}, []KeyID{{1, 2, 3, 4}, {5, 6, 7, 8}}
	if got, err := parseMeta(append(want.appendTo(nil), 9)); err != nil || !cmp.Equal(want, got, addrs) {
		t.Errorf("with keys: %+v, %v", got, err)
	}
	wire[0] = 2
	if _, err := parseMeta(wire); err == nil || err.Error() != "metadata version 2, want 1" {
		t.Errorf("another version: error %v", err)
	}
	if _, err := parseMeta(append([]byte{1}, make([]byte, 512)...)); err == nil {
		t.Error("513 bytes are accepted")
	}
}

func TestStateString(t *testing.T) {
	for s, want := range map[State]string{
		Initialize: "stopped", Backup: "backup", Master: "master", Fault: "fault", 9: "state-9",
	} {
		if s.String() != want {
			t.Errorf("state %d is %q, want %q", uint8(s), s, want)
		}
	}
}

func FuzzParseMeta(f *testing.F) {
	wire, _ := hex.DecodeString(metaHex)
	f.Add(wire)
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add(newMeta(Local{Roles: roles(60, Fault, "r%d")}).appendTo(nil))
	f.Add(newMeta(Local{Sources: sources(2), Shared: "x"}).appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		again := m.appendTo(nil)
		if len(again) > len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
		m2, err := parseMeta(again)
		if err != nil {
			t.Fatalf("what was accepted is refused after the round trip: %v", err)
		}
		if diff := cmp.Diff(m, m2, addrs); diff != "" {
			t.Fatalf("after the round trip\n%s", diff)
		}
	})
}

func TestExchangeBytes(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       exchange
		err        string
	}{
		{"a configuration", "01" + "046c622d61" + "5b615d0a", exchange{"lb-a", "[a]\n"}, ""},
		{"none", "01" + "046c622d61", exchange{"lb-a", ""}, ""},
		{"empty", "", exchange{}, "state is empty"},
		{"another version", "02" + "046c622d61", exchange{}, "state version 2, want 1"},
		{"only a version", "01", exchange{}, "state ends too early"},
		{"name cut short", "01" + "046c62", exchange{}, "state ends too early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseExchange(wire)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Fatalf("%+v, %v; want %+v", got, err, tt.want)
			}
			if !bytes.Equal(got.appendTo(nil), wire) {
				t.Errorf("encoded %x, want %x", got.appendTo(nil), wire)
			}
		})
	}
	if _, err := parseExchange(exchange{"a", strings.Repeat("x", MaxConfig+1)}.appendTo(nil)); err == nil {
		t.Error("a configuration longer than MaxConfig is accepted")
	}
}

func FuzzParseExchange(f *testing.F) {
	f.Add(exchange{"lb-a", "[director.lb-a]\n"}.appendTo(nil))
	f.Add([]byte{1, 5, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseExchange(b)
		if err == nil && !bytes.Equal(x.appendTo(nil), b) {
			t.Fatalf("%x became %x", b, x.appendTo(nil))
		}
	})
}

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// sources are n addresses.
func sources(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	return list
}
