package conf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// dnsCheck is type "dns".
var dnsCheck = checkKind{
	name: healthcheck.DNS, connects: true, // over tcp
	keys: []string{"name", "record", "transport", "rcode", "answer"},
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		if s.DNS = p.dnsSpec(t); s.DNS.TCP {
			return
		}
		s.ConnectTimeout = 0
		if n := t.kid(connectTimeout); n != nil {
			p.keyErrorf(n, "connect_timeout is for the transport %q, and this one is %q", overTCP, overUDP)
		}
	},
	write: func(w *writer, s healthcheck.Spec) { w.dnsSpec(s.DNS) },
}

// The types of records and the response codes, as the IANA registry of DNS parameters
// names them: those that a name server is asked for, and those with which it answers.
var (
	dnsRecords = []string{"A", "AAAA", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NS", "PTR", "RRSIG", "SOA", "SRV", "SVCB", "TXT"}
	dnsCodes   = []string{codeSuccess, "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "NOTAUTH"}
)

const (
	codeSuccess = "NOERROR"
	overTCP     = "tcp"
	overUDP     = "udp"
)

func (p *parser) dnsSpec(t *node) healthcheck.DNSSpec {
	s := healthcheck.DNSSpec{
		TCP:    p.choice(t.kid("transport"), "a transport", overUDP, []string{overUDP, overTCP}, nil) == overTCP,
		Name:   p.domainName(t.kid("name")),
		Record: p.choice(t.kid("record"), "a type of record", defaultRecord, dnsRecords, nil),
		Codes:  p.rcodes(t.kid("rcode")),
	}
	answer := t.kid("answer")
	s.Answer = p.dnsAnswer(answer, s.Record)
	if answer != nil && !slices.Contains(strings.Split(s.Codes, ","), codeSuccess) {
		p.keyErrorf(answer, "an answer with records has the rcode %s, which rcode does not accept", codeSuccess)
	}
	return s
}

func (w *writer) dnsSpec(s healthcheck.DNSSpec) {
	w.text("name", s.Name)
	w.text("record", s.Record)
	transport := overUDP
	if s.TCP {
		transport = overTCP
	}
	w.text("transport", transport)
	w.value("rcode", "["+join(strings.Split(s.Codes, ","), strconv.Quote)+"]")
	if s.Answer != "" {
		w.text("answer", s.Answer)
	}
}

// The bounds of a name (RFC 1035 section 2.3.4), that of the whole without the last dot.
const (
	maxDomainName = 253
	maxLabel      = 63
)

// domainName reads a domain name and returns it with its last dot.
func (p *parser) domainName(n *node) string {
	s := p.text(n, `a domain name, such as "example.org"`, defaultName)
	if s == "." {
		return s
	}
	name := strings.TrimSuffix(s, ".")
	if why := noDomainName(name); why != "" {
		p.errorf(n, "%q is not a domain name: %s", shorten(s), why)
		return defaultName
	}
	return name + "."
}

// noDomainName says why a name without its last dot is not one of a domain.
func noDomainName(name string) string {
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "it has nothing between two dots"
		case len(label) > maxLabel:
			return "a part of it is longer than 63 characters"
		case strings.ContainsFunc(label, func(r rune) bool { return r > '~' }):
			return "write it in the form for the wire, xn--…"
		case strings.ContainsFunc(label, notInLabel):
			return `want letters, digits, "-", "_", "/" and "*", and dots between`
		}
	}
	if len(name) > maxDomainName {
		return "it is longer than 253 characters"
	}
	return ""
}

func notInLabel(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_/*", r))
}

// rcodes reads the accepted response codes and returns them as a Spec has them.
func (p *parser) rcodes(n *node) string {
	if n == nil || !p.array(n, `an array of response codes, such as ["NOERROR"]`) {
		return codeSuccess
	}
	var codes []string
	for _, e := range n.elems {
		switch code := p.choice(e, "a response code", "", dnsCodes, nil); {
		case code == "":
		case slices.Contains(codes, code):
			p.errorf(e, "%s is named twice", code)
		default:
			codes = append(codes, code)
		}
	}
	if len(n.elems) == 0 {
		p.errorf(n, "is empty: no answer would be good")
	}
	if len(codes) == 0 {
		return codeSuccess
	}
	return strings.Join(codes, ",")
}

// dnsAnswer reads the data of a record.
func (p *parser) dnsAnswer(n *node, record string) string {
	s := p.text(n, "a record's data", "")
	if n == nil || s == "" || record != "A" && record != "AAAA" {
		return s
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4() != (record == "A") || a.Zone() != "" {
		version := "IPv4"
		if record == "AAAA" {
			version = "IPv6"
		}
		p.errorf(n, "%q is not the data of a record of type %s: want an %s address", shorten(s), record, version)
		return ""
	}
	return a.String()
}
