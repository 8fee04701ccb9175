package syncd_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

func daemon(r syncd.Role, ifname string, id uint8) syncd.Daemon {
	return syncd.Daemon{Role: r, Interface: ifname, SyncID: id}
}

var (
	master = daemon(syncd.RoleMaster, "eth1", 51)
	backup = daemon(syncd.RoleBackup, "eth1", 51)
)

func TestDesired(t *testing.T) {
	cfg := syncd.Config{Interface: "eth1", SyncID: 51, MaxLen: 1400}
	m, b := master, backup
	m.MaxLen, b.MaxLen = 1400, 1400
	for _, tt := range []struct {
		name           string
		master, backup bool
		want           []syncd.Daemon
	}{
		{"no virtual router", false, false, nil},
		{"Master of all", true, false, []syncd.Daemon{m}},
		{"Master of none", false, true, []syncd.Daemon{b}},
		{"Master of some", true, true, []syncd.Daemon{m, b}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := syncd.Desired(cfg, tt.master, tt.backup); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOpString(t *testing.T) {
	full := syncd.Daemon{
		Role: syncd.RoleBackup, Interface: "hasync0", SyncID: 7, MaxLen: 1400,
		Group: netip.MustParseAddr("ff02::81"), Port: 9000, TTL: 3,
	}
	for want, op := range map[string]syncd.Op{
		"--start-daemon master --mcast-interface eth1 --syncid 51":                                                                             syncd.Start{Daemon: master},
		"--start-daemon backup --mcast-interface hasync0 --syncid 7 --sync-maxlen 1400 --mcast-group ff02::81 --mcast-port 9000 --mcast-ttl 3": syncd.Start{Daemon: full},
		"--stop-daemon backup": syncd.Stop{Role: syncd.RoleBackup},
	} {
		if got := op.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	// What the kernel reports prints as what was asked for, but for the size.
	if got, want := master.Running(1500).String(), "master --mcast-interface eth1 --syncid 51 --sync-maxlen 1472"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDiff(t *testing.T) {
	ds := func(ds ...syncd.Daemon) []syncd.Daemon { return ds }
	otherID, otherInterface := daemon(syncd.RoleMaster, "eth1", 52), daemon(syncd.RoleBackup, "eth2", 51)
	for _, tt := range []struct {
		name            string
		actual, desired []syncd.Daemon
		want            []string
	}{
		{"nothing", nil, nil, nil},
		{"first start", nil, ds(backup), []string{"--start-daemon backup --mcast-interface eth1 --syncid 51"}},
		{"running", ds(master), ds(master), nil},
		{"takeover", ds(backup), ds(master), []string{
			"--stop-daemon backup",
			"--start-daemon master --mcast-interface eth1 --syncid 51",
		}},
		{"failback", ds(master), ds(backup), []string{
			"--stop-daemon master",
			"--start-daemon backup --mcast-interface eth1 --syncid 51",
		}},
		{"shutdown", ds(master, backup), nil, []string{"--stop-daemon master", "--stop-daemon backup"}},
		{"another sync id", ds(master), ds(otherID), []string{
			"--stop-daemon master",
			"--start-daemon master --mcast-interface eth1 --syncid 52",
		}},
		{"both change", ds(master, backup), ds(otherInterface, otherID), []string{
			"--stop-daemon master",
			"--start-daemon master --mcast-interface eth1 --syncid 52",
			"--stop-daemon backup",
			"--start-daemon backup --mcast-interface eth2 --syncid 51",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var actual []syncd.Daemon
			for _, d := range tt.actual {
				actual = append(actual, d.Running(1500))
			}
			var got []string
			for _, op := range syncd.Diff(tt.desired, actual) {
				got = append(got, op.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// The sizes are those that a kernel reported for the same requests.
func TestRunning(t *testing.T) {
	for _, tt := range []struct {
		name   string
		d      syncd.Daemon
		mtu    int
		maxLen uint16
	}{
		{"master", master, 1500, 1472},
		{"master keeps to 1500 on a large MTU", master, 65536, 1472},
		{"backup", backup, 1500, 1472},
		{"backup on a large MTU", backup, 65536, 65507},
		{"backup on a small MTU", backup, 1280, 1472},
		{"master with small messages", syncd.Daemon{Role: syncd.RoleMaster, MaxLen: 1}, 1500, 1},
		{"backup takes no less than 1024", syncd.Daemon{Role: syncd.RoleBackup, MaxLen: 1}, 1500, 1024},
		{"bound", syncd.Daemon{Role: syncd.RoleMaster, MaxLen: 65535}, 1500, 65507},
		{"IPv6", syncd.Daemon{Role: syncd.RoleMaster, Group: netip.MustParseAddr("ff02::81")}, 1500, 1452},
	} {
		t.Run(tt.name, func(t *testing.T) {
			running := tt.d.Running(tt.mtu)
			if running.MaxLen != tt.maxLen || running.Port != 8848 || running.TTL != 1 {
				t.Errorf("got size %d, port %d, ttl %d; want %d, 8848, 1", running.MaxLen, running.Port, running.TTL, tt.maxLen)
			}
			if !tt.d.Matches(running) {
				t.Errorf("%v does not match %v, which it became", tt.d, running)
			}
			if again := running.Running(tt.mtu); again != running {
				t.Errorf("%v is not final, it becomes %v", running, again)
			}
		})
	}
}

func TestMatchesOnlyTheSame(t *testing.T) {
	small := master
	small.MaxLen = 1
	group, port, ttl := master, master, master
	group.Group, port.Port, ttl.TTL = netip.MustParseAddr("224.0.0.82"), 8849, 2
	for name, running := range map[string]syncd.Daemon{
		"role": backup, "interface": daemon(syncd.RoleMaster, "eth2", 51), "sync id": daemon(syncd.RoleMaster, "eth1", 0),
		"size": small, "group": group, "port": port, "ttl": ttl,
	} {
		if master.Matches(running.Running(1500)) {
			t.Errorf("%s: %v matches %v", name, master, running)
		}
	}
}

func TestDiffRandomWalk(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			kernel := ipvstest.New()
			for range 20 {
				var desired []syncd.Daemon
				for _, role := range []syncd.Role{syncd.RoleBackup, syncd.RoleMaster} {
					if r.IntN(2) == 0 {
						d := daemon(role, []string{"eth1", "eth2"}[r.IntN(2)], uint8(r.IntN(2)))
						d.MaxLen = []uint16{0, 1, 1400}[r.IntN(3)]
						desired = append(desired, d)
					}
				}
				before, err := kernel.Daemons(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, op := range syncd.Diff(desired, before) {
					if err := kernel.ApplyDaemon(t.Context(), op); err != nil {
						t.Fatal(err)
					}
				}
				actual, err := kernel.Daemons(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if again := syncd.Diff(desired, actual); len(again) > 0 {
					t.Fatalf("wanted %v, got %v; a second diff gives %v", desired, actual, again)
				}
				if len(actual) != len(desired) {
					t.Fatalf("wanted %v, got %v", desired, actual)
				}
			}
		})
	}
}
