package main

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/atomicfile"
	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/vrrp"
)

func TestLeftSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	if steps, err := leftSteps(path, nil, nil); err != nil || len(steps) > 0 {
		t.Errorf("without a file: %v, %v", steps, err)
	}
	const list = `[{"Name":"web","ID":{"Interface":"eth0","Family":4,"VRID":51},"Addresses":["10.0.0.100/24","10.0.0.101/24","10.0.0.102/24"]}]`
	if err := atomicfile.Write(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	now := map[string]vrrp.Instance{"site": {
		Name: "site", ID: vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 52},
		Params: vrrp.Params{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24"), netip.MustParsePrefix("10.0.0.102/24")}},
	}}
	local := []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101")}
	steps, err := leftSteps(path, now, local)
	if diff := cmp.Diff([]director.Step{
		{Comment: "vrrp web: 10.0.0.100/24 is there from an earlier run, and stays until another director is heard as Master"},
		{Command: "ip addr del 10.0.0.101/24 dev eth0", Comment: "vrrp web, of an earlier run"},
	}, steps); err != nil || diff != "" {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
	if err := atomicfile.Write(path, []byte("["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := leftSteps(path, now, local); err == nil {
		t.Error("a file that cannot be read is no error")
	}
}
