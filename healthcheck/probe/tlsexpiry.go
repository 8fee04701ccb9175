package probe

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// notice says when the certificate of a connection expires, and warns when that is soon.
// A certificate that is made for days and not for months is not told of before a third of
// its time is left: it would be for all its life.
func (s *secureLayer) notice(state tls.ConnectionState, now time.Time) healthcheck.Notice {
	if len(state.PeerCertificates) == 0 {
		return healthcheck.Notice{} // crypto/tls does not let it come to that
	}
	leaf := state.PeerCertificates[0]
	n := healthcheck.Notice{Expires: expiry(leaf, state.VerifiedChains)}
	before := min(s.warnBefore, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	switch left := n.Expires.Sub(now); {
	case s.warnBefore == 0 || left > before:
	case left < 0: // and nobody verifies it
		n.Text = "certificate expired " + day(n.Expires)
	default:
		n.Text = "certificate expires " + day(n.Expires)
	}
	return n
}

// expiry is when the last of the verified chains breaks, since a certificate of an
// authority may end before the server's does. Without verification it is the server's.
func expiry(leaf *x509.Certificate, chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	if last.IsZero() {
		return leaf.NotAfter
	}
	return last
}
