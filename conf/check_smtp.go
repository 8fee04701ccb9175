package conf

import (
	"net/netip"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// smtpCheck is type "smtp".
var smtpCheck = checkKind{
	name: healthcheck.SMTP, connects: true,
	keys:  []string{"helo"},
	read:  func(p *parser, t *node, s *healthcheck.Spec) { s.SMTP.Helo = p.helo(t.kid("helo")) },
	write: func(w *writer, s healthcheck.Spec) { w.smtpSpec(s.SMTP) },
}

func (w *writer) smtpSpec(s healthcheck.SMTPSpec) {
	if s.Helo != "" {
		w.text("helo", s.Helo)
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
