package probe

import "github.com/hadirector/hadirector/healthcheck"

// New makes a Checker that shares nothing with others.
func New(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
	return new(Prober).New(sp, t)
}

// direct is the way to a target's own address.
func direct(t healthcheck.Target) way { return way{addr: t.Addr} }
