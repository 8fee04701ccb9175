package conf

import (
	"slices"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

var httpKeys = []string{"method", "path", "host", "headers", "request_body", "status", "expect", "expect_regex", "expect_digest"}

// httpCheck is type "http".
var httpCheck = checkKind{
	name: healthcheck.HTTP, connects: true,
	keys: httpKeys,
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		s.HTTP = p.httpSpec(t)
	},
	write: func(w *writer, s healthcheck.Spec) {
		w.httpSpec(s.HTTP)
	},
}

// httpsCheck is type "https".
var httpsCheck = checkKind{
	name: healthcheck.HTTPS, connects: true,
	keys: slices.Concat(httpKeys, tlsKeys),
	read: func(p *parser, t *node, s *healthcheck.Spec) {
		httpCheck.read(p, t, s)
		s.TLS = p.tlsSpec(t)
	},
	write: func(w *writer, s healthcheck.Spec) {
		httpCheck.write(w, s)
		w.tlsSpec(s.TLS)
	},
}

func (w *writer) httpSpec(h healthcheck.HTTPSpec) {
	w.text("method", h.Method)
	w.text("path", h.Path)
	if h.Host != "" {
		w.text("host", h.Host)
	}
	w.headers(h.Headers)
	if h.Body != "" {
		w.text("request_body", hiddenText("body", h.Body))
	}
	w.text("status", h.Status)
	w.expectation(h)
}

func (p *parser) httpSpec(t *node) healthcheck.HTTPSpec {
	h := healthcheck.HTTPSpec{
		Method:  p.choice(t.kid("method"), "a method", defaultMethod, []string{"GET", "HEAD", "OPTIONS", "POST"}, nil),
		Path:    p.requestTarget(t.kid("path")),
		Host:    p.host(t.kid("host")),
		Headers: p.headers(t.kid("headers")),
		Status:  p.statuses(t.kid("status")),
	}
	if body := t.kid("request_body"); body != nil && h.Method != "POST" {
		p.keyErrorf(body, "a body is for method POST, and this one is %s", h.Method)
	} else {
		h.Body = p.requestBody(body)
	}
	p.expectation(t, &h)
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

// statuses reads "200-299,301", or an array of such texts.
func (p *parser) statuses(n *node) string {
	const want = `statuses and ranges of them, such as "200-299" or "200-299,301"`
	if n == nil {
		return defaultStatus
	}
	elems := n.elems
	if _, array := n.value.([]any); !array {
		elems = []*node{n}
	} else if len(elems) == 0 {
		p.errorf(n, "want %s, found an empty array", want)
	}
	var texts []string
	for _, e := range elems {
		if v, ok := e.value.(int64); ok {
			p.errorf(e, "want %s, found %s: write \"%d\"", want, describe(v), v)
			continue
		}
		text, ok := read[string](p, e, want)
		if !ok {
			continue
		}
		if _, err := healthcheck.ParseStatuses(text); err != nil {
			p.errorf(e, "%v", err)
			continue
		}
		texts = append(texts, text)
	}
	all, err := healthcheck.ParseStatuses(strings.Join(texts, ","))
	if err != nil {
		return defaultStatus // none was good
	}
	return all.String()
}
