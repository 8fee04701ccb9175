package conf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// maxExpectation bounds a text or a regular expression that is looked for, in bytes.
const maxExpectation = 4 << 10

// digests are the kinds of digests that an answer's body may be held to, and their sizes
// in bytes. keepalived's is MD5.
var digests = map[string]int{"sha256": 32, "md5": 16}

// expectation reads what is wanted of the answer's body.
func (p *parser) expectation(t *node, h *healthcheck.HTTPSpec) {
	h.Expect = p.bytes(t.kid("expect"), `what the body has in it, such as "ok"`, maxExpectation)
	h.ExpectRegex = p.regularExpression(t.kid("expect_regex"), maxExpectation, "body")
	h.ExpectDigest = p.digest(t.kid("expect_digest"))
	for _, key := range []string{"expect", "expect_regex", "expect_digest"} {
		if k := t.kid(key); k != nil && h.Method == "HEAD" {
			p.keyErrorf(k, "the answer to method HEAD has no body")
		}
	}
}

// regularExpression reads one in the syntax of package regexp, RE2's, of so many bytes, for
// a check of such things.
func (p *parser) regularExpression(n *node, most int, of string) string {
	s, ok := read[string](p, n, "a regular expression")
	if !ok {
		return ""
	}
	if len(s) > most {
		p.errorf(n, "has %d bytes, the limit is %d", len(s), most)
		return ""
	}
	re, err := regexp.Compile(s)
	var wrong *syntax.Error
	switch {
	case errors.As(err, &wrong) && (wrong.Code == syntax.ErrInvalidPerlOp || wrong.Code == syntax.ErrInvalidEscape):
		p.errorf(n, "%s: %q (RE2 has no look-around and no back-references)", wrong.Code, shorten(wrong.Expr))
	case errors.As(err, &wrong):
		p.errorf(n, "%s: %q", wrong.Code, shorten(wrong.Expr))
	case err != nil:
		p.errorf(n, "%v", err)
	case re.MatchString("") && re.MatchString("\x00"):
		p.errorf(n, "%q matches every %s", shorten(s), of)
	default:
		return s
	}
	return ""
}

// digest reads "sha256:…" or "md5:…".
func (p *parser) digest(n *node) string {
	const want = `"sha256:" or "md5:" and hexadecimal digits`
	s := p.text(n, want, "")
	if s == "" {
		return ""
	}
	kind, digits, _ := strings.Cut(strings.ToLower(s), ":")
	size, known := digests[kind]
	sum, err := hex.DecodeString(digits)
	switch {
	case !known || err != nil:
		p.errorf(n, "%q is not a digest: want %s", shorten(s), want)
	case len(sum) != size:
		p.errorf(n, "a digest of %s has %d hexadecimal digits, and this one has %d", kind, 2*size, len(digits))
	default:
		return fmt.Sprintf("%s:%x", kind, sum)
	}
	return ""
}

func (w *writer) expectation(h healthcheck.HTTPSpec) {
	w.bytes("expect", h.Expect)
	if h.ExpectRegex != "" {
		w.text("expect_regex", h.ExpectRegex)
	}
	if h.ExpectDigest != "" {
		w.text("expect_digest", h.ExpectDigest)
	}
}
