package conf

import (
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// tlsKeys are the keys of the types of checks that speak TLS.
var tlsKeys = []string{"tls_verify", "tls_ca", "tls_name", "tls_certificate", "tls_key", "tls_min_version", "tls_expiry_warning"}

var tlsVersions = []string{"1.0", "1.1", "1.2", "1.3"}

// tlsSpec reads tlsKeys. The files are not looked at: the configuration is for all
// directors.
func (p *parser) tlsSpec(t *node) healthcheck.TLSSpec {
	s := healthcheck.TLSSpec{
		SkipVerify:  !p.boolean(t.kid("tls_verify"), true),
		CA:          p.absolute(t.kid("tls_ca"), ""),
		Name:        p.tlsName(t.kid("tls_name")),
		Certificate: p.absolute(t.kid("tls_certificate"), ""),
		Key:         p.absolute(t.kid("tls_key"), ""),
		MinVersion:  p.choice(t.kid("tls_min_version"), "a version of TLS", defaultTLSVersion, tlsVersions, nil),
		// No certificate of today is valid for longer than a year and a bit.
		ExpiryWarning: p.duration(t.kid("tls_expiry_warning"), defaultExpiryWarning, 0, 400*24*time.Hour, time.Second),
	}
	if ca := t.kid("tls_ca"); ca != nil && s.SkipVerify {
		p.keyErrorf(ca, "with tls_verify = false nobody asks who signed the certificate")
	}
	for _, pair := range [][2]string{{"tls_certificate", "tls_key"}, {"tls_key", "tls_certificate"}} {
		if t.kid(pair[0]) != nil && t.kid(pair[1]) == nil {
			p.keyErrorf(t.kid(pair[0]), "needs %s too; one file may hold both", pair[1])
		}
	}
	return s
}

// tlsName reads a name that a certificate can have.
func (p *parser) tlsName(n *node) string {
	s := p.host(n)
	switch a, err := netip.ParseAddr(s); {
	case err != nil && strings.ContainsAny(s, "[]:"):
		p.errorf(n, "%q is neither a host name nor an address alone", shorten(s))
		return ""
	case a.Zone() != "":
		p.errorf(n, "%q has a zone, which no certificate has", shorten(s))
		return ""
	}
	return s
}

func (w *writer) tlsSpec(s healthcheck.TLSSpec) {
	w.boolean("tls_verify", !s.SkipVerify)
	for _, setting := range [][2]string{{"tls_ca", s.CA}, {"tls_name", s.Name}, {"tls_certificate", s.Certificate}, {"tls_key", s.Key}} {
		if setting[1] != "" {
			w.text(setting[0], setting[1])
		}
	}
	w.text("tls_min_version", s.MinVersion)
	w.duration("tls_expiry_warning", s.ExpiryWarning)
}
