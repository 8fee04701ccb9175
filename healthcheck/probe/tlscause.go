package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// explain turns the error that ended a handshake into its cause.
func (s *secureLayer) explain(ctx context.Context, err error) error {
	because := func(format string, args ...any) error {
		return &cause{text: fmt.Sprintf(format, args...), errs: []error{err}}
	}
	var (
		verification *tls.CertificateVerificationError
		invalid      x509.CertificateInvalidError
		unknown      x509.UnknownAuthorityError
		host         x509.HostnameError
		noRoots      x509.SystemRootsError
		record       tls.RecordHeaderError
	)
	switch {
	case ctx.Err() != nil && fromNetwork(err):
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return because("TLS handshake: server answered with plain HTTP")
	case errors.As(err, &record) && record.Conn != nil:
		return because("TLS handshake: server answered with something else, %s", strconv.QuoteToASCII(string(record.RecordHeader[:])))
	case errors.As(err, &noRoots):
		return notAsked(err, "this director cannot read the system's certificates of authorities")
	case errors.As(err, &host):
		return because("certificate is for %s, want %s", certifiedNames(host.Certificate), host.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		whose := "certificate"
		if errors.As(err, &verification) && invalid.Cert != verification.UnverifiedCertificates[0] {
			whose = "certificate of its authority"
		}
		if time.Now().Before(invalid.Cert.NotBefore) {
			return because("%s not valid before %s", whose, day(invalid.Cert.NotBefore))
		}
		return because("%s expired %s", whose, day(invalid.Cert.NotAfter))
	case errors.As(err, &unknown) && errors.As(err, &verification):
		return s.explainUnknown(verification, err)
	case errors.As(err, &verification):
		return because("certificate refused: %s", tlsText(verification.Err))
	case tlsFault(err), !fromNetwork(err):
		return because("TLS handshake: %s", tlsText(err))
	}
	return explain(ctx, handshaking, s.timeout, err)
}

// explainUnknown says why no chain leads from the certificate to an authority. The error of
// crypto/x509 has the last certificate of the chain, which may be an authority's.
func (s *secureLayer) explainUnknown(verification *tls.CertificateVerificationError, err error) error {
	text := "certificate signed by unknown authority"
	switch {
	case s.config.RootCAs == nil && systemHasNoRoots():
		return notAsked(err, "this director has no certificates of authorities (install ca-certificates, or set tls_ca)")
	case signedByItself(verification.UnverifiedCertificates[0]):
		text = "certificate signed by itself, and by no known authority"
	}
	return &cause{text: text, errs: []error{err}}
}

func signedByItself(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// systemHasNoRoots reports whether the system has no certificates at all: crypto/x509
// takes that for a set like any other. A variable for tests.
var systemHasNoRoots = sync.OnceValue(func() bool {
	roots, err := x509.SystemCertPool()
	return err == nil && roots.Equal(x509.NewCertPool())
})

// certifiedNames are the first of the names that a certificate is for.
func certifiedNames(c *x509.Certificate) string {
	const most, longest = 3, 60
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host" // a Common Name has not counted since RFC 2818 was replaced
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	for i, name := range names {
		names[i] = short(name, longest)
	}
	return strings.Join(names, ", ") + more
}

// day is a date in UTC. The time of day would hide in a long line that it is past.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// tlsAlert is what an alert of the server says, empty if err is none.
func tlsAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return tlsText(op.Err)
	}
	return ""
}

// tlsFault reports whether err is crypto/tls's own complaint about what the server sent.
func tlsFault(err error) bool {
	var op *net.OpError
	var record tls.RecordHeaderError
	return errors.As(err, &op) && op.Op == "local error" || errors.As(err, &record)
}

// tlsText is an error of crypto/tls or crypto/x509 without the name of the package,
// printable and short: it may quote what the server sent.
func tlsText(err error) string {
	const longest = 120
	text := innermost(err).Error()
	text = strings.TrimPrefix(strings.TrimPrefix(text, "tls: "), "x509: ")
	return short(text, longest)
}

// short is s made printable and cut.
func short(s string, longest int) string {
	more := ""
	if len(s) > longest {
		s, more = strings.ToValidUTF8(s[:longest], ""), "..."
	}
	return printable(s) + more
}
