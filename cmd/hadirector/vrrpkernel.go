package main

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/hadirector/hadirector/internal/netif"
	"github.com/hadirector/hadirector/vrrp"
	"github.com/hadirector/hadirector/vrrp/router"
)

// vrrpKernel is what virtual routers write in the kernel. In their own process it is
// for them; the daemon uses one only to take away what a process that is gone left.
type vrrpKernel struct {
	router.Addresser
	router.Routing
	close func() error
}

func newVRRPKernel(logger *slog.Logger) *vrrpKernel {
	addrs := netif.NewAddresses(logger)
	return &vrrpKernel{Addresser: addrs, Routing: netif.NewRouting(logger), close: addrs.Close}
}

// release takes away what instances may have left, but for what those of keep hold. All
// of it is tried, whatever fails.
func (k *vrrpKernel) release(left []vrrp.Instance, keep map[string]vrrp.Instance) error {
	var errs []error
	for _, in := range left {
		addrs, routes, rules := in.Held(), in.Routes, in.Rules
		for _, other := range keep {
			if other.Link() == in.Link() {
				addrs = without(addrs, other.Held(), samePrefix)
				routes = without(routes, other.Routes, vrrp.Route.Equal)
			}
			rules = without(rules, other.Rules, func(a, b vrrp.Rule) bool { return a == b })
		}
		if len(addrs) > 0 {
			errs = append(errs, k.Release(in.Link(), addrs))
		}
		if len(routes)+len(rules) > 0 {
			errs = append(errs, k.ReleaseRouting(in.Link(), routes, rules))
		}
	}
	return errors.Join(errs...)
}

// without returns the elements of a that are not in b.
func without[T any](a, b []T, equal func(T, T) bool) []T {
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool {
		return slices.ContainsFunc(b, func(y T) bool { return equal(x, y) })
	})
}

func samePrefix(a, b netip.Prefix) bool { return a == b }
