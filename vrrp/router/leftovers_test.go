package router

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// left puts on the host what a killed predecessor held.
func left(h *host, in vrrp.Instance) {
	h.change(func() {
		h.link.Addrs = append(slices.Clone(h.link.Addrs), in.Held()...)
		h.routes = in.Routes
	})
}

// virtual are the addresses of the host's link but its own.
func virtual(h *host) (addrs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.link.Addrs[1:] {
		addrs = append(addrs, p.String())
	}
	slices.Sort(addrs)
	return addrs
}

// TestWhatAPredecessorLeft: whatever happens before it is known who is Master, nothing of
// it is forgotten.
func TestWhatAPredecessorLeft(t *testing.T) {
	in := web(200)
	in.Routes = []vrrp.Route{to("192.0.2.0/24"), to("198.51.100.0/24")}
	with := func(routes []vrrp.Route, addrs ...string) vrrp.Instance {
		other := in
		other.Routes, other.Addresses = routes, nil
		for _, a := range addrs {
			other.Addresses = append(other.Addresses, netip.MustParsePrefix(a))
		}
		return other
	}
	for _, tt := range []struct {
		name   string
		silent bool // the state of the link is not known
		then   func(*host)
		addrs  []string // that are there in the end, beside the host's own
		routes []string
	}{
		{"it becomes Master", false, func(*host) {}, []string{"10.0.0.100/24"}, texts(in.Routes...)},
		{"a stop before the link is known", true, func(a *host) { a.stop() }, nil, nil},
		{"a stop as Backup", false, func(a *host) { a.stop() }, nil, nil},
		{"a reload without the address before the link is known", true, func(a *host) {
			a.set.Apply(only(with(in.Routes, "10.0.0.101/24")))
			pass(time.Second)
			a.change(func() { a.silent = false })
		}, []string{"10.0.0.101/24"}, texts(in.Routes...)},
		{"a reload without the address as Backup", false, func(a *host) {
			a.set.Apply(only(with(in.Routes, "10.0.0.101/24")))
		}, []string{"10.0.0.101/24"}, texts(in.Routes...)},
		{"a reload with one address more as Backup", false, func(a *host) {
			a.set.Apply(only(with(in.Routes, "10.0.0.100/24", "10.0.0.101/24")))
		}, []string{"10.0.0.100/24", "10.0.0.101/24"}, texts(in.Routes...)},
		{"a reload without a route as Backup", false, func(a *host) {
			a.set.Apply(only(with(in.Routes[:1], "10.0.0.100/24")))
		}, []string{"10.0.0.100/24"}, texts(in.Routes[0])},
		{"a reload without the virtual router before the link is known", true, func(a *host) {
			a.set.Apply(nil)
		}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newHost(t, newLAN(), "a", "10.0.0.1/24")
				left(a, in)
				a.silent = tt.silent
				a.set.Apply(only(in))
				pass(time.Second)
				check(t, "addresses after a second", virtual(a), []string{"10.0.0.100/24"})
				tt.then(a)
				pass(time.Hour)
				check(t, "addresses", virtual(a), tt.addrs)
				check(t, "routes", a.routed(), tt.routes)
			})
		})
	}
}

// TestFirstApplyIsNotSkipped: what it names, and the next one no longer does, may have been
// left by a predecessor.
func TestFirstApplyIsNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHost(t, newLAN(), "a", "10.0.0.1/24")
		in := web(200)
		left(a, in)
		two := in
		two.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.101/24")}
		a.set.Apply(only(in))
		a.set.Apply(only(two))
		pass(time.Hour)
		check(t, "addresses", virtual(a), []string{"10.0.0.101/24"})
	})
}
