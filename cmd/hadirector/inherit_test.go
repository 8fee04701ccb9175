package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

// TestInheritance is the start after a daemon that was killed. What it left is that of its
// last two configurations: the first one's was released long before the third came.
func TestInheritance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	killed, _ := newTestLedger(path)
	killed.VRRP = idle{heard: true}
	killed.Apply(instances("10.0.0.99/24"))
	killed.Apply(instances("10.0.0.100/24", "10.0.0.101/24"))
	last := instances("10.0.0.102/24")
	in := last["web"]
	in.Excluded = prefixes("10.0.1.103/24")
	in.VMAC = &vrrp.VMAC{Link: "vrrp.51"}
	in.Routes = []vrrp.Route{{To: netip.MustParsePrefix("10.9.0.0/16")}}
	in.Rules = []vrrp.Rule{{Family: vrrp.IPv4, Table: 7}, {Family: vrrp.IPv4, Table: 8}}
	last["web"] = in
	killed.Apply(last)
	owner := instances("10.0.0.102/24")
	in.Priority = vrrp.PriorityOwner
	owner["web"] = in
	all := []string{
		"vrrp.51 [10.0.0.102/24 10.0.1.103/24]", "vrrp.51 1 routes 2 rules",
		"eth0 [10.0.0.100/24 10.0.0.101/24]", "links, but []",
	}
	for _, tt := range []struct {
		name string
		now  map[string]vrrp.Instance // of the next daemon; nil: none that run in time
		want []string
	}{
		{"the same virtual router", last, []string{"eth0 [10.0.0.100/24 10.0.0.101/24]", "links, but [vrrp.51]"}},
		{"with the address of the configuration before", instances("10.0.0.101/24"), []string{
			"vrrp.51 [10.0.0.102/24 10.0.1.103/24]", "vrrp.51 1 routes 2 rules", "eth0 [10.0.0.100/24]", "links, but [eth0]"}},
		{"an owner, who takes no part yet", owner, all},
		{"no virtual router", map[string]vrrp.Instance{}, all},
		{"none in time", nil, all},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// What was left is the predecessor's business, and noted in its file.
				list, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				mine := filepath.Join(t.TempDir(), "vrrp.json")
				if err := os.WriteFile(mine, list, 0o600); err != nil {
					t.Fatal(err)
				}
				next, kernel := newTestLedger(mine)
				next.inherit()
				time.Sleep(inheritPatience - 1)
				if story := kernel.told(); len(story) > 0 {
					t.Errorf("before it is known what the virtual routers hold: %v", story)
				}
				if tt.now != nil {
					next.Apply(tt.now)
					next.releaseNoted(tt.now) // as who supervises them does
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if diff := cmp.Diff(tt.want, kernel.told()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestInheritanceIsNotForgotten: what the first of two configurations in a row still named
// goes with the second, before any virtual router has been heard of.
func TestInheritanceIsNotForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vrrp.json")
	killed, _ := newTestLedger(path)
	killed.Apply(instances("10.0.0.100/24", "10.0.0.101/24"))
	next, kernel := newTestLedger(path)
	next.inherit()
	next.Apply(instances("10.0.0.100/24", "10.0.0.101/24"))
	for range 3 {
		next.Apply(instances("10.0.0.100/24"))
	}
	next.releaseNoted(instances("10.0.0.100/24"))
	want := []string{"eth0 [10.0.0.101/24]", "links, but [eth0]"}
	if diff := cmp.Diff(want, slices.Compact(kernel.told())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// clean writes down which links stay.
func (k *taken) clean(keep []vrrp.Instance) error {
	links := []string{}
	for _, in := range keep {
		links = append(links, in.Link())
	}
	slices.Sort(links)
	k.tell("links, but %v", links)
	return nil
}
