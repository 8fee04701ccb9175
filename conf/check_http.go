package conf

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// httpCheck is type "http".
var httpCheck = checkKind{
	name: healthcheck.HTTP, connects: true,
	keys:  []string{"method", "path", "host", "status"},
	read:  func(p *parser, t *node, s *healthcheck.Spec) { s.HTTP = p.httpSpec(t) },
	write: func(w *writer, s healthcheck.Spec) { w.httpSpec(s.HTTP) },
}

func (w *writer) httpSpec(h healthcheck.HTTPSpec) {
	w.text("method", h.Method)
	w.text("path", h.Path)
	if h.Host != "" {
		w.text("host", h.Host)
	}
	w.text("status", formatStatus(h.StatusMin, h.StatusMax))
}

func (p *parser) httpSpec(t *node) healthcheck.HTTPSpec {
	h := healthcheck.HTTPSpec{
		Method: p.choice(t.kid("method"), "a method", defaultMethod, []string{"GET", "HEAD"}, nil, nil),
		Path:   p.requestTarget(t.kid("path")),
		Host:   p.host(t.kid("host")),
	}
	h.StatusMin, h.StatusMax = p.status(t.kid("status"))
	return h
}

// requestTarget reads what stands after GET in an HTTP request.
func (p *parser) requestTarget(n *node) string {
	s := p.text(n, `a path, such as "/health"`, defaultPath)
	switch {
	case n == nil:
	case !strings.HasPrefix(s, "/"):
		p.errorf(n, "%q has to begin with \"/\"", shorten(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }):
		p.errorf(n, "%q has a character that no request can carry: want it percent-encoded", shorten(s))
	default:
		return s
	}
	return defaultPath
}

// host reads a Host header.
func (p *parser) host(n *node) string {
	s := p.text(n, "a host name", "")
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/?#@\<>"`, r) }) {
		p.errorf(n, "%q cannot be a host name", shorten(s))
		return ""
	}
	return s
}

// status reads "200" or "200-299".
func (p *parser) status(n *node) (least, most int) {
	const want = `a status or a range of them, such as "200-299"`
	if n == nil {
		return defaultStatusMin, defaultStatusMax
	}
	if v, ok := n.value.(int64); ok {
		p.errorf(n, "want %s, found %s: write \"%d\"", want, describe(v), v)
		return defaultStatusMin, defaultStatusMax
	}
	s, ok := read[string](p, n, want)
	if !ok {
		return defaultStatusMin, defaultStatusMax
	}
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	least, okLeast := statusCode(from)
	most, okMost := statusCode(to)
	switch {
	case !okLeast || !okMost:
		p.errorf(n, "%q is not %s, with numbers from 100 to 599", shorten(s), want)
	case least > most:
		p.errorf(n, "%q is an empty range: write \"%d-%d\"", s, most, least)
	default:
		return least, most
	}
	return defaultStatusMin, defaultStatusMax
}

func statusCode(s string) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && len(s) == 3 && v >= 100 && v <= 599
}

// formatStatus is the inverse of status.
func formatStatus(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d-%d", least, most)
}
