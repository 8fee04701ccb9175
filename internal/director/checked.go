package director

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
)

// targetsOf yields what is asked about a real server: a target for each of its checks.
func targetsOf(rs *conf.RealServer) iter.Seq[healthcheck.Target] {
	return func(yield func(healthcheck.Target) bool) {
		for _, name := range rs.Checks {
			if !yield(healthcheck.Target{Addr: rs.Address, Check: name, Path: rs.Paths[name]}) {
				return
			}
		}
	}
}

// status is what the checks of a real server say together: it is down if one of them
// fails, and up if all pass. One without checks is up.
func (f Facts) status(rs *conf.RealServer) healthcheck.Status {
	status := healthcheck.Up
	for t := range targetsOf(rs) {
		switch f.Health[t] {
		case healthcheck.Down:
			return healthcheck.Down
		case healthcheck.Unknown:
			status = healthcheck.Unknown
		}
	}
	return status
}

// fails tells whether a check of a real server has found it to be down. What is assumed
// until the first verdict does not count.
func (f Facts) fails(rs *conf.RealServer) bool {
	for t := range targetsOf(rs) {
		if f.Health[t] == healthcheck.Down && !f.Assumed[t] {
			return true
		}
	}
	return false
}

// weight is what the checks of a real server make of its configured weight, and the one
// whose word counts: of several the one with the smallest result. by is empty if none says
// says anything. A check that fails says nothing.
func (f Facts) weight(rs *conf.RealServer) (weight uint32, by string) { return f.weightOf(rs, false) }

// weightOf is weight, for one that a panic holds with what those of its checks that fail
// have said before that: a failure must not give it more clients than it had.
func (f Facts) weightOf(rs *conf.RealServer, held bool) (weight uint32, by string) {
	weight = rs.Weight
	for t := range targetsOf(rs) {
		v, says := f.Values[t]
		if !says || f.Health[t] == healthcheck.Down && !held {
			continue
		}
		if w := weighed(rs.Weight, v); by == "" || w < weight {
			weight, by = w, t.Check
		}
	}
	return weight, by
}

// weighed is what a check's value makes of a configured weight. A part of it is rounded up,
// so that only 0 % is nothing.
func weighed(configured uint32, v healthcheck.Value) uint32 {
	n := int64(v.N)
	switch {
	case v.Unit == healthcheck.NoUnit:
		return configured
	case v.Unit == healthcheck.Percent:
		// Far more than the kernel takes, and far from an overflow.
		n = (int64(configured)*min(n, 1e8) + 99) / 100
	}
	return uint32(min(max(n, 0), ipvs.MaxWeight))
}

// CheckStatus is what one check says of a real server.
type CheckStatus struct {
	Name string `json:"name"`
	// Status is the verdict: "up", "down", "unknown".
	Status string `json:"status"`
	// Cause is why the last probe failed, also of a check that could not be made at all.
	Cause string `json:"cause,omitempty"`
	// Value is what the check says of the weight: "5", "50%"; of a check that fails what it has
	// said before, if a panic goes by it.
	Value string `json:"value,omitempty"`
	// Warning is what a check that succeeds warns of.
	Warning string `json:"warning,omitempty"`
	// CertificateExpires is when the certificate that the real server has shown ends to be
	// good.
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
}

// checkStatus adds what the checks say of a real server.
func (r *RealStatus) checkStatus(rs *conf.RealServer, f Facts, probes map[healthcheck.Target]healthcheck.Snapshot) {
	status := f.status(rs)
	r.Status, r.Check, r.Checks = status.String(), strings.Join(rs.Checks, ", "), make([]CheckStatus, 0, len(rs.Checks))
	if len(rs.Checks) == 0 {
		r.Status = "unchecked"
	}
	for t := range targetsOf(rs) {
		probe, is := probes[t], f.Health[t]
		c := CheckStatus{
			Name: t.Check, Status: is.String(),
			Warning: probe.Notice.Text, CertificateExpires: probe.Notice.Expires,
		}
		if is != healthcheck.Down || r.Held {
			c.Value = f.Values[t].String()
		}
		if is != healthcheck.Up && probe.Err != nil {
			c.Cause = errText(probe.Err)
		} else if f.Assumed[t] {
			c.Cause = "no verdict yet"
		}
		r.Checks = append(r.Checks, c)
		if is != status {
			continue // a check that passes says nothing about a real server that is down
		}
		// It is down since the first of its checks fails, and up since the last one passes.
		if first := is == healthcheck.Down; r.Since.IsZero() || first == probe.Since.Before(r.Since) {
			r.Since = probe.Since
		}
		if r.Cause == "" && c.Cause != "" {
			r.Cause = named(rs, t.Check, c.Cause)
		}
	}
}

// named puts a check's name before its cause, where a real server has several.
func named(rs *conf.RealServer, check, cause string) string {
	if len(rs.Checks) < 2 {
		return cause
	}
	return fmt.Sprintf("check %s: %s", check, cause)
}
