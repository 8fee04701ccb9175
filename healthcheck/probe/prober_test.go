package probe

import "github.com/hadirector/hadirector/healthcheck"

// New makes a Checker that shares nothing with others.
func New(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
	return new(Prober).New(sp, t)
}
