package netif

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

func TestJudge(t *testing.T) {
	in := vrrp.Instance{ID: vrrp.ID{Interface: "eth0", Family: vrrp.IPv4, VRID: 51}, VMAC: &vrrp.VMAC{Link: "vrrp.51"}}
	want := wantedDevice(in, 2)
	with := func(f func(*device)) device {
		d := want
		f(&d)
		return d
	}
	for _, tt := range []struct {
		name         string
		have         device
		ours, theirs verdict // when it was made here, and when that is not known
	}{
		{"as it should be", want, adopt, adopt},
		{"bridge mode", with(func(d *device) { d.mode = "bridge" }), renew, leave},
		{"another address", with(func(d *device) { d.mac[5] = 52 }), renew, leave},
		{"IPv6 address", with(func(d *device) { d.mac[4] = 2 }), renew, leave},
		{"on another interface", with(func(d *device) { d.parent = 3 }), renew, leave},
		{"no macvlan", device{}, leave, leave},
	} {
		if got := judge(tt.have, want, true); got != tt.ours {
			t.Errorf("%s, made here: %v, want %v", tt.name, got, tt.ours)
		}
		if got := judge(tt.have, want, false); got != tt.theirs {
			t.Errorf("%s, not made here: %v, want %v", tt.name, got, tt.theirs)
		}
	}
	if got := want.String(); got != "a macvlan in private mode with address 00:00:5e:00:01:33 on eth0" {
		t.Errorf("String = %q", got)
	}
}

func TestIsVirtualMAC(t *testing.T) {
	for s, want := range map[string]bool{
		"00:00:5e:00:01:33": true, "00:00:5e:00:02:ff": true,
		"00:00:5e:00:03:33": false, "00:00:5e:01:01:33": false, "02:00:5e:00:01:33": false, "01:00:5e:00:00:12": false,
	} {
		mac, err := net.ParseMAC(s)
		if err != nil || isVirtualMAC(mac) != want {
			t.Errorf("%s: %v, %v, want %v", s, isVirtualMAC(mac), err, want)
		}
	}
	if isVirtualMAC(nil) {
		t.Error("no address is virtual")
	}
}

// The kernel uses the higher of all's rp_filter and the interface's own. At no moment is
// an interface without what it had.
func TestRPFilterSettings(t *testing.T) {
	own := map[string]string{"default": "0", "eth0": "0", "eth1": "2", "eth2": "1"}
	effective := func(all, own string) string { return max(all, own) }
	for _, all := range []string{"0", "1", "2"} {
		now := map[string]string{"all": all}
		before := map[string]string{}
		for k, v := range own {
			now[k] = v
			before[k] = effective(all, v)
		}
		for _, s := range rpFilterSettings(all, []string{"eth0", "eth1", "eth2"}) {
			var name string
			for k := range now {
				if s.name == "net/ipv4/conf/"+k+"/rp_filter" {
					name = k
				}
			}
			if name == "" {
				t.Fatalf("all %s: sets %s", all, s.name)
			}
			if !s.satisfiedBy(now[name]) {
				now[name] = s.value
			}
			after := map[string]string{}
			for k := range own {
				after[k] = effective(now["all"], now[k])
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("all %s, after %s (-before +after):\n%s", all, s.name, diff)
			}
		}
		if now["all"] != "0" {
			t.Errorf("all %s: is %s in the end, want 0", all, now["all"])
		}
	}
}
