package conf

import (
	"crypto/sha256"
	"slices"
	"strings"
	"unicode"
)

// What a request carries may let its reader in where others are not let in. So these
// messages show no value of a header, and no body, and neither does the effective text.

const headersForm = `a table of headers, such as { X-Forwarded-Proto = "https" }`

// ownHeaders are the headers that the check makes itself, and what to use in their place.
var ownHeaders = map[string]string{
	"host": `: use the key host`, "content-length": "", "transfer-encoding": "", "connection": "", "upgrade": "",
	"te": "", "trailer": "", "expect": "", "proxy-connection": "", "keep-alive": "",
}

// plainHeaders are those whose values are no secret. Those of all others are hidden.
var plainHeaders = []string{
	"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-type", "origin", "pragma",
	"referer", "user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip",
}

// headers reads headers = { NAME = "VALUE" }, and returns them as a Spec has them, in the
// order of their names.
func (p *parser) headers(n *node) string {
	if n == nil {
		return ""
	}
	if _, ok := n.value.(map[string]any); !ok || n.array {
		p.errorf(n, "want %s", headersForm)
		return ""
	}
	var lines []string
	seen := make(map[string]bool)
	for _, k := range n.kids {
		name := strings.ToLower(k.name)
		instead, own := ownHeaders[name]
		switch {
		case k.name == "" || strings.ContainsFunc(k.name, notInHeaderName):
			// Not shown: it may be a whole header.
			p.report(max(k.key, 0), n.path(), false, "this is not a header's name (RFC 9110 section 5.1): want "+headersForm)
		case own:
			p.keyErrorf(k, "the check makes this header itself%s", instead)
		case seen[name]:
			p.keyErrorf(k, "this header is there already: the case of a name does not count")
		default:
			if value, ok := p.headerValue(k); ok {
				lines = append(lines, k.name+": "+value)
			}
		}
		seen[name] = true
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return strings.Join(lines, "\n")
}

// notInHeaderName tells what is not in a token (RFC 9110 section 5.6.2).
func notInHeaderName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

func (p *parser) headerValue(n *node) (string, bool) {
	s, ok := stringOf(n)
	switch {
	case !ok:
		p.errorf(n, "want a string")
	case hiddenSecret.MatchString(s):
		p.errorf(n, "this stands for a value that was not printed: write the value itself")
	case strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(n, "the value has a control character")
	case strings.TrimSpace(s) != s:
		p.errorf(n, "the value has white space around it, which a server takes away")
	default:
		return s, true
	}
	return "", false
}

// maxRequestBody is our own: a probe is no upload.
const maxRequestBody = 16 << 10

func (p *parser) requestBody(n *node) string {
	if n == nil {
		return ""
	}
	s, ok := stringOf(n)
	switch {
	case !ok || s == "":
		p.errorf(n, "want a string that is not empty")
	case hiddenSecret.MatchString(s):
		p.errorf(n, "this stands for a body that was not printed: write the body itself")
	case len(s) > maxRequestBody:
		p.errorf(n, "the body has %d bytes, the limit is %d", len(s), maxRequestBody)
	default:
		return s
	}
	return ""
}

// headers writes what is sent, with a check value in place of what may be a secret.
func (w *writer) headers(lines string) {
	if lines == "" {
		return
	}
	var parts []string
	for line := range strings.SplitSeq(lines, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		if !slices.Contains(plainHeaders, strings.ToLower(name)) {
			value = hiddenText("header "+strings.ToLower(name), value)
		}
		parts = append(parts, bareOrQuoted(name)+" = "+quoted(value))
	}
	w.value("headers", "{ "+strings.Join(parts, ", ")+" }")
}

// hiddenText returns what stands for a part of a request in the effective text.
func hiddenText(what, text string) string {
	return hide(sha256.Sum256([]byte("hadirector check " + what + " " + text)))
}
