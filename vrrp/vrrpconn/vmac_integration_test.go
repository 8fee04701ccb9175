//go:build integration

package vrrpconn

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/internal/netnstest"
	"github.com/hadirector/hadirector/vrrp"
)

// vmac gives a namespace's eth0 a private macvlan with the virtual MAC address and no
// address, as a virtual router's own link is.
func vmac(t *testing.T, ns *netnstest.NS, f vrrp.Family) {
	t.Helper()
	m := vrrp.VirtualMAC(f, 51)
	ns.IP(t, fmt.Sprintf("link add link eth0 name vmac51 address %x:%x:%x:%x:%x:%x type macvlan mode private",
		m[0], m[1], m[2], m[3], m[4], m[5]))
	ns.IP(t, "link set vmac51 addrgenmode none")
	ns.Sysctl(t, "net/ipv4/conf/vmac51/rp_filter", "0")
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	ns.Sysctl(t, "net/ipv4/conf/vmac51/arp_ignore", "1")
	ns.IP(t, "link set vmac51 up")
	ns.AwaitUp(t, "vmac51")
}

func onVMAC(in vrrp.Instance, transmitBase bool) vrrp.Instance {
	in = onEth0(in)
	in.VMAC = &vrrp.VMAC{Link: "vmac51", TransmitBase: transmitBase}
	return in
}

// A virtual router on its own link understands one like it, and one without, in both
// directions; with the source address of the interface, which its link does not have.
func TestVMACAdvertsCross(t *testing.T) {
	v6 := advert(51, 100)
	v6.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
	ip6 := func(in vrrp.Instance) vrrp.Instance {
		in.ID.Family = vrrp.IPv6
		return in
	}
	tests := []struct {
		name              string
		ours, fars        vrrp.Instance
		source, farSource string
		advert            vrrp.Advert
		mac, farMAC       bool // whether frames come from the virtual MAC address
	}{
		{"both", onVMAC(multicast(51), false), onVMAC(multicast(51), false), "10.0.0.1", "10.0.0.2", advert(51, 100), true, true},
		{"we alone", onVMAC(multicast(51), false), onEth0(multicast(51)), "10.0.0.1", "10.0.0.2", advert(51, 100), true, false},
		{"both, we send from the interface", onVMAC(multicast(51), true), onVMAC(multicast(51), false), "10.0.0.1", "10.0.0.2", advert(51, 100), false, true},
		{"both send from the interface", onVMAC(multicast(51), true), onVMAC(multicast(51), true), "10.0.0.1", "10.0.0.2", advert(51, 100), false, false},
		{"unicast", onVMAC(unicast(51, peer), true), onVMAC(unicast(51, ours), true), "10.0.0.1", "10.0.0.2", advert(51, 100), false, false},
		{"both, IPv6", ip6(onVMAC(multicast(51), false)), ip6(onVMAC(multicast(51), false)), "fe80::1", "fe80::2", v6, true, true},
		{"we alone, IPv6", ip6(onVMAC(multicast(51), false)), ip6(onEth0(multicast(51))), "fe80::1", "fe80::2", v6, true, false},
		{"both send from the interface, IPv6", ip6(onVMAC(multicast(51), true)), ip6(onVMAC(multicast(51), true)), "fe80::1", "fe80::2", v6, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			vmac(t, self, tt.ours.ID.Family)
			if tt.fars.VMAC != nil {
				vmac(t, far, tt.fars.ID.Family)
			}
			frames, farFrames := captureVRRP(t, far), captureVRRP(t, self)
			a := openIn(t, self, tt.ours, tt.source)
			b := openIn(t, far, tt.fars, tt.farSource)
			cross := func(from, to opened, source string, frames func() []byte, virtual bool) {
				t.Helper()
				must(t, from.Send(tt.advert))
				if r := next(t, to); r.From != netip.MustParseAddr(source) {
					t.Errorf("from %v, want %v", r.From, source)
				}
				mac := vrrp.VirtualMAC(tt.ours.ID.Family, 51)
				if f := frames(); (string(f[6:12]) == string(mac[:])) != virtual {
					t.Errorf("the frame comes from %x, from the virtual MAC address: want %v", f[6:12], virtual)
				}
			}
			// And back, which also shows that our own did not come back to us.
			cross(a, b, tt.source, frames, tt.mac)
			cross(b, a, tt.farSource, farFrames, tt.farMAC)
			for _, c := range []opened{a, b} {
				if d := c.Discarded(); len(d) != 0 {
					t.Errorf("discarded %v, want nothing", d)
				}
				if n := len(waiting(c)); n != 0 {
					t.Errorf("%d more advertisements, want each once", n)
				}
			}
		})
	}
}

// Without its link there is no socket, and the interface's socket is not left behind.
func TestVMACWithoutItsLink(t *testing.T) {
	self, _ := lan(t)
	h := NewHub(quiet)
	in := onVMAC(multicast(51), true)
	self.Do(func() {
		if _, err := h.Open(in, ours, nil); err == nil || !strings.Contains(err.Error(), "vmac51") {
			t.Errorf("got %v, want an error that names the link", err)
		}
	})
	if len(h.segments) != 0 {
		t.Errorf("%d sockets are left", len(h.segments))
	}
}

// keepalived uses its own macvlan at the far end. We hear it and are heard, with a
// link of our own and without.
func TestKeepalivedVMAC(t *testing.T) {
	tests := []struct {
		name   string
		family vrrp.Family
		ours   bool
	}{
		{"we too", vrrp.IPv4, true},
		{"we do not", vrrp.IPv4, false},
		{"we too, IPv6", vrrp.IPv6, true},
		{"we do not, IPv6", vrrp.IPv6, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, far := lan(t)
			in, source, vip := onEth0(multicast(51)), "10.0.0.1", netip.MustParsePrefix("10.0.0.100/24")
			if tt.family == vrrp.IPv6 {
				source, vip = "fe80::1", netip.MustParsePrefix("fe80::100/64")
				far.IP(t, "addr flush dev eth0 scope link")
				far.IP(t, "addr add fe80::2/64 dev eth0 nodad")
			}
			if tt.ours {
				vmac(t, self, tt.family)
				in = onVMAC(in, false)
			}
			in.ID.Family = tt.family
			frames := captureVRRP(t, self)
			c := openIn(t, self, in, source)
			log := startKeepalived(t, far, fmt.Sprintf(`
global_defs {
  router_id far
  vrrp_version 3
}
vrrp_instance web {
  state BACKUP
  interface eth0
  use_vmac vrrp.51
  virtual_router_id 51
  priority 100
  advert_int 0.1
  virtual_ipaddress {
    %s
  }
}
`, vip))
			got := nextFrom(t, c, log)
			if got.Advert.Priority != 100 || got.Advert.VRID != 51 {
				t.Errorf("received %+v", got)
			}
			mac := vrrp.VirtualMAC(tt.family, 51)
			if diff := cmp.Diff(fmt.Sprintf("%x", mac), fmt.Sprintf("%x", frames()[6:12])); diff != "" {
				t.Errorf("keepalived's frames come from another address (-want +got):\n%s", diff)
			}
			// The VIP is on keepalived's macvlan.
			await := func(want bool, between func()) {
				t.Helper()
				for deadline := time.Now().Add(2 * patience); ; {
					between()
					if strings.Contains(far.IP(t, "addr show"), " "+vip.Addr().String()+"/") == want {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("keepalived has the virtual address: %v, want %v\n%s", !want, want, log)
					}
				}
			}
			await(true, func() {})
			higher := got.Advert
			higher.Priority = 200
			await(false, func() {
				must(t, c.Send(higher))
				time.Sleep(100 * time.Millisecond) // the rate at which a Master sends
			})
			if !strings.Contains(log.String(), "Entering BACKUP STATE") {
				t.Errorf("keepalived does not say that it became backup:\n%s", log)
			}
			if d := c.Discarded(); len(d) != 0 {
				t.Errorf("discarded %v, want nothing", d)
			}
		})
	}
}

// What is sent to the group arrives on every virtual router's own link. With hundreds of
// them each socket must get its own advertisements alone: the others are not counted,
// because they never reach it.
func TestOwnLinkReceivesItsOwnAlone(t *testing.T) {
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		t.Run(f.String(), func(t *testing.T) {
			self, far := lan(t)
			vmac(t, self, f)
			own, other, source, farSource, ad := onVMAC(multicast(51), false), onEth0(multicast(52)), "10.0.0.1", "10.0.0.2", advert(51, 100)
			if f == vrrp.IPv6 {
				source, farSource = "fe80::1", "fe80::2"
				ad.Addresses = []netip.Addr{netip.MustParseAddr("fe80::100")}
			}
			own.ID.Family, other.ID.Family = f, f
			fars := other
			fars.ID.VRID = 51
			a := openIn(t, self, own, source)
			same, others := openIn(t, far, fars, farSource), openIn(t, far, other, farSource)
			foreign := ad
			foreign.VRID = 52
			must(t, others.Send(foreign))
			must(t, same.Send(ad)) // after which the other one has arrived
			if r := next(t, a); r.Advert.VRID != 51 {
				t.Errorf("received VRID %d", r.Advert.VRID)
			}
			if d := a.Discarded(); len(d) > 0 {
				t.Errorf("discarded %v", d)
			}
		})
	}
}
