package router

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// to is a route to a network.
func to(network string) vrrp.Route { return vrrp.Route{To: netip.MustParsePrefix(network)} }

// routed starts a Master of web with routes and returns it.
func routed(t *testing.T, lan *lan, routes ...vrrp.Route) (*host, vrrp.Instance) {
	t.Helper()
	a, in := newHost(t, lan, "a", "10.0.0.1/24"), web(200)
	in.Routes = routes
	a.set.Apply(only(in))
	pass(4 * time.Second)
	check(t, "a Master's routes", a.routed(), texts(routes...))
	a.transitions()
	lan.take()
	return a, in
}

func texts(routes ...vrrp.Route) []string {
	var list []string
	for _, r := range routes {
		list = append(list, r.String())
	}
	return list
}

// TestRoutesOfAReloadThatEndsMastership: whoever is no longer Master has none of the
// routes, also none of those that it was Master with.
func TestRoutesOfAReloadThatEndsMastership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, in := routed(t, newLAN(), to("192.0.2.0/24"), to("198.51.100.0/24"))
		in.Routes = []vrrp.Route{to("198.51.100.0/24"), to("203.0.113.0/24")}
		in.Fault = "track gateway: down"
		a.set.Apply(only(in))
		pass(time.Second)
		if s := a.snapshot("web"); s.State != vrrp.Fault {
			t.Fatalf("state %v", s.State)
		}
		check(t, "routes in Fault", a.routed(), nil)
	})
}

// TestReloadedRoutesAreNeverAllGone: the new ones are there before the old ones go, so
// that a destination whose route changes is reachable all the time.
func TestReloadedRoutesAreNeverAllGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lan := newLAN()
		a, in := routed(t, lan, to("192.0.2.0/24"))
		in.Routes = []vrrp.Route{to("203.0.113.0/24")}
		a.set.Apply(only(in))
		pass(0)
		check(t, "kernel", lan.take(), []string{"4s a +1 routes +0 rules", "4s a -1 routes -0 rules"})
		check(t, "routes", a.routed(), texts(to("203.0.113.0/24")))
	})
}

// TestRoutesThatCannotBeReleased: a Backup tries again until they are gone.
func TestRoutesThatCannotBeReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, in := routed(t, newLAN(), to("192.0.2.0/24"))
		a.change(func() { a.routingErr = errKernel })
		in.Fault = "track gateway: down"
		a.set.Apply(only(in))
		pass(2500 * time.Millisecond)
		check(t, "as long as the kernel refuses", a.routed(), texts(to("192.0.2.0/24")))
		a.change(func() { a.routingErr = nil })
		pass(time.Second)
		check(t, "afterwards", a.routed(), nil)
	})
}
