package probe

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/hadirector/hadirector/healthcheck"
)

// requestOf returns a request as it goes on the wire.
func requestOf(typ healthcheck.Type, h healthcheck.HTTPSpec, at netip.AddrPort) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", h.Method, h.Path, hostHeader(typ, h.Host, at))
	agent := "User-Agent: hadirector\r\n"
	var own strings.Builder
	for line := range strings.Lines(h.Headers) {
		line = strings.TrimSuffix(line, "\n")
		name, _, ok := strings.Cut(line, ": ")
		if !ok || name == "" || strings.ContainsFunc(line, unicode.IsControl) || strings.ContainsAny(name, " :") {
			return nil, fmt.Errorf("header %q is not one that a request can carry", name)
		}
		if strings.EqualFold(name, "User-Agent") {
			agent = ""
		}
		own.WriteString(line + "\r\n")
	}
	b.WriteString(agent + own.String() + "Connection: close\r\n")
	if h.Method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(h.Body))
	} else if h.Body != "" {
		return nil, fmt.Errorf("method %s has no body", h.Method)
	}
	b.WriteString("\r\n" + h.Body)
	return b.Bytes(), nil
}

// visible reports whether s has visible ASCII characters only: no space or line end
// that would make another request of the one that is meant.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// hostHeader is the configured Host, else the asked address in the form a browser
// sends it: without the port if that is the scheme's, and without an IPv6 zone.
func hostHeader(typ healthcheck.Type, configured string, at netip.AddrPort) string {
	if configured != "" {
		return configured
	}
	usual := uint16(80)
	if typ == healthcheck.HTTPS {
		usual = 443
	}
	host := at.Addr().WithZone("").String()
	if at.Addr().Is6() {
		host = "[" + host + "]"
	}
	if port := at.Port(); port != usual {
		host += ":" + strconv.Itoa(int(port))
	}
	return host
}

// serverName is the name that a server's certificate should have: the configured Host's,
// else the asked address.
func serverName(configured string, at netip.AddrPort) string {
	if configured == "" {
		return at.Addr().WithZone("").String()
	}
	if name, _, err := net.SplitHostPort(configured); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(configured, "["), "]")
}
