package probe

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

func TestExpiryNotice(t *testing.T) {
	const d = 24 * time.Hour
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cert := func(from, to time.Duration) *x509.Certificate {
		return &x509.Certificate{NotBefore: now.Add(from), NotAfter: now.Add(to)}
	}
	ages := cert(-1000*d, 1000*d)
	tests := []struct {
		name    string
		warning time.Duration
		leaf    *x509.Certificate
		chains  [][]*x509.Certificate // above the leaf
		expires string
		want    string
	}{
		{"not soon", 14 * d, cert(-75*d, 15*d), nil, "2026-12-06", ""},
		{"soon", 14 * d, cert(-80*d, 10*d), nil, "2026-12-01", "certificate expires 2026-12-01"},
		{"today", 14 * d, cert(-80*d, time.Hour), nil, "2026-11-21", "certificate expires 2026-11-21"},
		{"over, and not verified", 14 * d, cert(-80*d, -d), nil, "2026-11-20", "certificate expired 2026-11-20"},
		{"no warning is wanted", 0, cert(-80*d, -d), nil, "2026-11-20", ""},
		{"one for a week, of which half is left", 14 * d, cert(-3*d, 3*d), nil, "2026-11-24", ""},
		{"one for a week at its end", 14 * d, cert(-5*d, d), nil, "2026-11-22", "certificate expires 2026-11-22"},
		{"an authority's ends before", 14 * d, cert(-80*d, 100*d), [][]*x509.Certificate{{cert(-1000*d, 2*d), ages}}, "2026-11-23", "certificate expires 2026-11-23"},
		{"another chain lasts", 14 * d, cert(-80*d, 100*d), [][]*x509.Certificate{{cert(-1000*d, 2*d), ages}, {ages}}, "2027-03-01", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{tt.leaf}}
			for _, chain := range tt.chains {
				state.VerifiedChains = append(state.VerifiedChains, append([]*x509.Certificate{tt.leaf}, chain...))
			}
			got := (&secureLayer{warnBefore: tt.warning}).notice(state, now)
			if got.Text != tt.want || day(got.Expires) != tt.expires {
				t.Errorf("got %q, expires %s, want %q, %s", got.Text, day(got.Expires), tt.want, tt.expires)
			}
		})
	}
}

// A success comes with the end of the certificate.
func TestHTTPSNotice(t *testing.T) {
	a := newAuthority(t, "known", nil)
	sp := httpsSpec(pemFile(t, certBlock(a.cert)))
	sp.TLS.ExpiryWarning = 14 * 24 * time.Hour
	good := a.issue(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(-1, 0, 0), time.Now().Add(time.Hour)
	})
	c, err := New(sp, listen(t, shows(good, fine)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := c.(healthcheck.Noticer).Notice()
	if end := good.Leaf.NotAfter; !got.Expires.Equal(end) || got.Text != "certificate expires "+day(end) {
		t.Errorf("notice %+v, want that it expires %v", got, end)
	}
}
