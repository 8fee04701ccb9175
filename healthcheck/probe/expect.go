package probe

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// expectation is what an answer's body has to be like. The zero value takes every body.
type expectation struct {
	text   []byte
	match  *regexp.Regexp
	kind   string // of the digest: "sha256" or "md5"
	digest string // in hexadecimal digits
}

// digestOf are the digests by their names in a Spec. keepalived's is MD5; that nobody
// could make another body with the same one does not matter here.
var digestOf = map[string]func([]byte) string{
	"sha256": func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) },
	"md5":    func(b []byte) string { sum := md5.Sum(b); return hex.EncodeToString(sum[:]) },
}

func newExpectation(h healthcheck.HTTPSpec) (expectation, error) {
	e := expectation{text: []byte(h.Expect)}
	if h.ExpectRegex != "" {
		var err error
		if e.match, err = regexp.Compile(h.ExpectRegex); err != nil {
			return e, err
		}
	}
	if h.ExpectDigest != "" {
		e.kind, e.digest, _ = strings.Cut(h.ExpectDigest, ":")
		sum := digestOf[e.kind]
		if sum == nil || len(sum(nil)) != len(e.digest) {
			return e, fmt.Errorf("digest %q is not one", h.ExpectDigest)
		}
	}
	return e, nil
}

// something reports whether a body has to be read at all.
func (e *expectation) something() bool { return len(e.text) > 0 || e.match != nil || e.kind != "" }

// judge holds a body to the expectation, or the beginning of one that is not whole.
func (e *expectation) judge(body []byte, whole bool) error {
	where := "the body"
	if !whole {
		where = fmt.Sprintf("the first %d KiB of the body", maxBody>>10)
	}
	switch {
	case !bytes.Contains(body, e.text):
		return &cause{text: fmt.Sprintf("no %s in %s", quotedShort(string(e.text)), where)}
	case e.match != nil && !e.match.Match(body):
		return &cause{text: fmt.Sprintf("no match of %s in %s", quotedShort(e.match.String()), where)}
	case e.kind == "":
		return nil
	case !whole:
		return &cause{text: fmt.Sprintf("body longer than %d KiB, of which no digest is taken", maxBody>>10)}
	}
	if got := digestOf[e.kind](body); got != e.digest {
		return &cause{text: fmt.Sprintf("digest %s:%s, want %s:%s", e.kind, got, e.kind, e.digest)}
	}
	return nil
}

// quotedShort is s in quotes, printable and cut.
func quotedShort(s string) string {
	const longest = 60
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return strconv.QuoteToASCII(s)
}
