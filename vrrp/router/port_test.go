package router

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// TestDebounce: a link that is down for less than its delay is not noticed, and one
// that has come up is trusted only after its own.
func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		in := web(200)
		in.LinkDownDelay, in.LinkUpDelay = 500*time.Millisecond, 2*time.Second
		a.set.Apply(only(in))
		pass(4 * time.Second)
		a.transitions()

		down := func() { a.change(func() { a.link.Up, a.link.Why = false, "link eth0 has no carrier" }) }
		up := func() { a.change(func() { a.link.Up, a.link.Why = true, "" }) }
		down()
		pass(400 * time.Millisecond)
		up()
		pass(5 * time.Second)
		check(t, "a short flap", a.transitions(), nil)

		down()
		pass(500 * time.Millisecond)
		check(t, "down for its delay", a.transitions(), []string{"9.9s web master→fault failed: link eth0 has no carrier"})
		up()
		pass(1900 * time.Millisecond)
		check(t, "up for less than its delay", a.transitions(), nil)
		pass(100 * time.Millisecond)
		check(t, "up for its delay", a.transitions(), []string{"11.9s web fault→backup recovered"})
	})
}

// TestOwnLink: a virtual router with a link of its own has its addresses there, sends
// from the interface's address, and takes the link away when it ends.
func TestOwnLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		in := web(200)
		in.VMAC = &vrrp.VMAC{Link: "vrrp.51"}
		a.set.Apply(only(in))
		pass(4 * time.Second)
		check(t, "reports", a.transitions(), []string{
			"0s web stopped→backup startup", "3.21875s web backup→master master-down",
		})
		if got := a.opened[0].source; got != netip.MustParseAddr("10.0.0.1") {
			t.Errorf("advertisements leave from %v", got)
		}
		if got := a.others["vrrp.51"].Addrs; len(got) != 1 || len(a.link.Addrs) != 1 {
			t.Errorf("vrrp.51 has %v and eth0 %v", got, a.link.Addrs)
		}
		lan.take()
		pass(6 * time.Second)
		if got := lan.take(); !slices.Contains(got, "8.21875s a makes vrrp.51 on eth0") {
			t.Errorf("after six seconds %v, want another look at the link", got)
		}

		a.change(func() { delete(a.others, "vrrp.51") })
		pass(0)
		check(t, "somebody deletes the link", lan.take(), []string{
			"10s a makes vrrp.51 on eth0", "10s a +10.0.0.100/24", "10s a announces [10.0.0.100/24]",
		})
		check(t, "reports", a.transitions(), nil)
		a.stop()
		check(t, "the end", lan.take(), []string{"10s a -10.0.0.100/24", "10s a deletes vrrp.51"})
	})
}

// TestRoutingAndFilter: routes need the address, so they come after it and go before
// it; the filter is there before the address and goes after it.
func TestRoutingAndFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a := newHost(t, lan, "a", "10.0.0.1/24")
		in := web(255)
		in.Refuse = true
		in.Routes = []vrrp.Route{{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("10.0.0.9")}}
		a.set.Apply(only(in))
		pass(0)
		check(t, "Master", lan.take(), []string{
			"0s a refuses [10.0.0.100/24]", // what a predecessor left
			"0s a refuses [10.0.0.100/24]", "0s a +10.0.0.100/24", "0s a +1 routes +0 rules", "0s a announces [10.0.0.100/24]",
		})

		changed := in
		changed.Routes = []vrrp.Route{{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.0.0.9")}}
		changed.Refuse = false
		a.set.Apply(only(changed))
		pass(0)
		check(t, "another route", lan.take(), []string{
			"0s a +1 routes +0 rules", "0s a accepts [10.0.0.100/24]", "0s a -1 routes -0 rules",
		})
		pass(5 * time.Second)
		// Earlier, if the settings came after the first report of the link.
		if got := lan.take(); !slices.ContainsFunc(got, func(l string) bool { return strings.HasSuffix(l, " a +1 routes +0 rules") }) {
			t.Errorf("within five seconds %v, want another look at the routes", got)
		}
		a.stop()
		check(t, "the end", lan.take(), []string{"5s a -1 routes -0 rules", "5s a -10.0.0.100/24"})
	})
}
