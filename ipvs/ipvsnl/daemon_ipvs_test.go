//go:build ipvs

package ipvsnl

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
	"github.com/hadirector/hadirector/syncd"
)

func TestSyncDaemons(t *testing.T) {
	c := openInNamespace(t)
	command(t, "ip", "link", "add", "hasync0", "mtu", "9000", "type", "dummy")
	command(t, "ip", "link", "set", "hasync0", "up")
	command(t, "ip", "addr", "add", "10.255.0.1/24", "dev", "hasync0")
	daemon := func(r syncd.Role, id uint8, size uint16) syncd.Daemon {
		return syncd.Daemon{Role: r, Interface: "hasync0", SyncID: id, MaxLen: size}
	}
	master, backup := daemon(syncd.RoleMaster, 51, 0), daemon(syncd.RoleBackup, 51, 0)
	nowhere := master
	nowhere.Interface = "nosuch0"
	elsewhere := daemon(syncd.RoleBackup, 3, 1400)
	elsewhere.Group, elsewhere.Port, elsewhere.TTL = netip.MustParseAddr("224.0.0.82"), 9000, 7
	six := master
	six.Group = netip.MustParseAddr("ff02::81")
	const mtu = 9000
	for i, step := range []struct {
		op      syncd.Op
		want    error
		running []syncd.Daemon
	}{
		{syncd.Stop{Role: syncd.RoleMaster}, unix.ESRCH, nil},
		{syncd.Start{Daemon: nowhere}, unix.ENODEV, nil},
		{syncd.Start{Daemon: master}, nil, []syncd.Daemon{master}},
		{syncd.Start{Daemon: master}, unix.EEXIST, []syncd.Daemon{master}},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 52, 0)}, unix.EEXIST, []syncd.Daemon{master}},
		{syncd.Start{Daemon: backup}, nil, []syncd.Daemon{master, backup}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, []syncd.Daemon{backup}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 0, 1)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 0, 1)}},
		{syncd.Start{Daemon: daemon(syncd.RoleBackup, 255, 1)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 0, 1), daemon(syncd.RoleBackup, 255, 1)}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, []syncd.Daemon{daemon(syncd.RoleBackup, 255, 1)}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: elsewhere}, nil, []syncd.Daemon{elsewhere}},
		{syncd.Stop{Role: syncd.RoleBackup}, nil, nil},
		{syncd.Start{Daemon: daemon(syncd.RoleMaster, 1, 65535)}, nil, []syncd.Daemon{daemon(syncd.RoleMaster, 1, 65535)}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, nil},
		{syncd.Start{Daemon: six}, nil, []syncd.Daemon{six}},
		{syncd.Stop{Role: syncd.RoleMaster}, nil, nil},
	} {
		if err := c.ApplyDaemon(t.Context(), step.op); !errors.Is(err, step.want) {
			t.Fatalf("%d: %s: got %v, want %v", i, step.op, err, step.want)
		} else if err != nil {
			t.Log(err)
		}
		got, err := c.Daemons(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var want []syncd.Daemon
		for _, d := range step.running {
			want = append(want, d.Running(mtu))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d: %s:\ngot  %+v\nwant %+v", i, step.op, got, want)
		}
		if ops := syncd.Diff(step.running, got); len(ops) > 0 {
			t.Fatalf("%d: %s: diff of what runs gives %v", i, step.op, ops)
		}
		if listed := strings.Count(command(t, "ipvsadm", "-Ln", "--daemon"), "sync daemon"); listed != len(want) {
			t.Errorf("%d: %s: ipvsadm lists %d daemons, want %d", i, step.op, listed, len(want))
		}
	}
}

// The kernel does not answer when it stops a daemon whose thread has not run yet.
func TestStopRightAfterStart(t *testing.T) {
	c := openInNamespace(t)
	for range 50 {
		for _, op := range []syncd.Op{
			syncd.Start{Daemon: syncd.Daemon{Role: syncd.RoleMaster, Interface: "lo", SyncID: 1}},
			syncd.Stop{Role: syncd.RoleMaster},
		} {
			if err := c.ApplyDaemon(t.Context(), op); err != nil {
				t.Fatal(err)
			}
		}
		running, err := c.Daemons(t.Context())
		if err != nil || len(running) > 0 {
			t.Fatalf("still running: %v, %v", running, err)
		}
	}
}

// The sync protocol cannot carry destinations of another family: the kernel takes
// either these or daemons.
func TestMixedFamiliesExcludeSyncDaemons(t *testing.T) {
	c, model := openInNamespace(t), ipvstest.New()
	kernels := []interface {
		Apply(ctx context.Context, op ipvs.Op) error
		ApplyDaemon(ctx context.Context, op syncd.Op) error
	}{c, model}
	master := syncd.Daemon{Role: syncd.RoleMaster, Interface: "lo", SyncID: 1}
	mixed := add("-a -t 10.0.0.100:80 -r [fd00::1]:80 -i")
	for _, k := range kernels {
		for i, step := range []struct {
			op     ipvs.Op
			daemon syncd.Op
			want   error
		}{
			{op: ipvs.AddService{Service: svc("-A -t 10.0.0.100:80 -s rr")}},
			{op: mixed},
			{daemon: syncd.Start{Daemon: master}, want: unix.EINVAL},
			{op: ipvs.DeleteDestination{Service: svc("-A -t 10.0.0.100:80").Key, Key: netip.MustParseAddrPort("[fd00::1]:80")}},
			{daemon: syncd.Start{Daemon: master}},
			{op: mixed, want: unix.EINVAL},
			{daemon: syncd.Stop{Role: syncd.RoleMaster}},
			{op: mixed},
		} {
			var err error
			if step.op != nil {
				err = k.Apply(t.Context(), step.op)
			} else {
				err = k.ApplyDaemon(t.Context(), step.daemon)
			}
			if !errors.Is(err, step.want) {
				t.Errorf("%T, step %d: got %v, want %v", k, i, err, step.want)
			}
		}
	}
}
