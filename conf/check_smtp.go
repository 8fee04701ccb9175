package conf

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// smtpCheck is type "smtp".
var smtpCheck = checkKind{
	name: healthcheck.SMTP, connects: true,
	keys:  slices.Concat([]string{"helo", "starttls"}, tlsKeys),
	read:  func(p *parser, t *node, s *healthcheck.Spec) { p.smtpSpec(t, s) },
	write: func(w *writer, s healthcheck.Spec) { w.smtpSpec(s) },
}

func (p *parser) smtpSpec(t *node, s *healthcheck.Spec) {
	s.SMTP = healthcheck.SMTPSpec{Helo: p.helo(t.kid("helo")), StartTLS: p.boolean(t.kid("starttls"), false)}
	if s.SMTP.StartTLS {
		s.TLS = p.tlsSpec(t)
		return
	}
	for _, key := range tlsKeys {
		if n := t.kid(key); n != nil {
			p.keyErrorf(n, "is for starttls = true: without it nothing is encrypted")
		}
	}
}

func (w *writer) smtpSpec(s healthcheck.Spec) {
	if s.SMTP.Helo != "" {
		w.text("helo", s.SMTP.Helo)
	}
	w.boolean("starttls", s.SMTP.StartTLS)
	if s.SMTP.StartTLS {
		w.tlsSpec(s.TLS)
	}
}

// helo reads the name of a mail client: a domain name, or an address literal (RFC 5321
// section 4.1.3).
func (p *parser) helo(n *node) string {
	s := p.text(n, `a domain name, such as "lb.example.org"`, "")
	if n == nil || s == "" {
		return s
	}
	if inner, bracket := strings.CutPrefix(s, "["); bracket {
		inner, closed := strings.CutSuffix(inner, "]")
		six, tagged := strings.CutPrefix(inner, "IPv6:")
		if a, err := netip.ParseAddr(six); !closed || err != nil || a.Is4() == tagged || a.Zone() != "" {
			p.errorf(n, "%q is not an address literal: want the form \"[192.0.2.1]\" or \"[IPv6:2001:db8::1]\"", shorten(s))
			return ""
		}
		return s
	}
	if why := noDomainName(s); why != "" {
		p.errorf(n, "%q is not a domain name: %s", shorten(s), why)
		return ""
	}
	return s
}
