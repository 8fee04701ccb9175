package router

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// The other director's address is known on this interface when an address of our own
// lies in its subnet. A virtual address does not count: it is there with the state.
func TestGuardFollowsTheInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHost(t, newLAN(), "a", "10.0.0.1/24")
		in := web(200)
		in.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.100/24")}
		in.Senders = []vrrp.Sender{{Name: "lb-b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.12")}}}
		a.set.Apply(only(in))
		pass(10 * time.Second)
		if s := a.snapshot("web"); s.State != vrrp.Master {
			t.Fatalf("state %v, want master", s.State)
		}
		const want = "no address of lb-b is known on eth0, so advertisements from any address are accepted"
		a.change(func() { a.link.Addrs = append(a.link.Addrs[:1:1], in.Addresses...) })
		pass(time.Second)
		if got := a.snapshot("web").Unguarded; got != want || len(a.opened) != 1 {
			t.Errorf("with the virtual address alone: unguarded %q, want %q; %d sockets opened, want 1", got, want, len(a.opened))
		}
		a.change(func() { a.link.Addrs = append(a.link.Addrs, netip.MustParsePrefix("192.0.2.11/24")) })
		pass(time.Second)
		if s := a.snapshot("web"); s.Unguarded != "" || len(a.opened) != 2 || s.State != vrrp.Master {
			t.Errorf("with an own address: unguarded %q, want nothing; %d sockets opened, want 2; state %v", s.Unguarded, len(a.opened), s.State)
		}
	})
}
