package conf

import (
	"strings"

	"github.com/hadirector/hadirector/healthcheck"
)

// tcpCheck is type "tcp".
var tcpCheck = checkKind{
	name: healthcheck.TCP, connects: true,
	keys:  []string{"send", "expect", "expect_regex"},
	read:  func(p *parser, t *node, s *healthcheck.Spec) { s.TCP = p.tcpSpec(t) },
	write: func(w *writer, s healthcheck.Spec) { w.tcpSpec(s.TCP) },
}

// The longest that may be sent and expected, in bytes. What is expected has to fit into the
// part of an answer that a probe reads.
const (
	maxSend   = 4096
	maxExpect = 1024
)

func (p *parser) tcpSpec(t *node) healthcheck.TCPSpec {
	s := healthcheck.TCPSpec{
		Send:   p.bytes(t.kid("send"), `what to say, such as "PING\r\n"`, maxSend),
		Expect: p.bytes(t.kid("expect"), `what the answer has in it, such as "+PONG"`, maxExpect),
		Regexp: p.regularExpression(t.kid("expect_regex"), maxExpect, "answer"),
	}
	expects := t.kid("expect") != nil || t.kid("expect_regex") != nil
	switch {
	case t.kid("expect") != nil && t.kid("expect_regex") != nil:
		p.keyErrorf(t.kid("expect_regex"), "expect is given too: want one of them")
		s.Regexp = ""
	case t.kid("send") != nil && !expects:
		p.keyErrorf(t.kid("send"), "needs expect or expect_regex: without it nobody would read the answer")
		s.Send = ""
	}
	return s
}

func (w *writer) tcpSpec(s healthcheck.TCPSpec) {
	w.bytes("send", s.Send)
	w.bytes("expect", s.Expect)
	if s.Regexp != "" {
		w.text("expect_regex", s.Regexp)
	}
}

// bytes reads bytes: text, or hexadecimal digits after "hex:".
func (p *parser) bytes(n *node, want string, most int) string {
	return parsed(p, n, want, most, healthcheck.ParseBytes, func(s string) int { return len(s) })
}

// pattern reads bytes of which some digits do not count.
func (p *parser) pattern(n *node, want string, most int) healthcheck.Pattern {
	return parsed(p, n, want, most, healthcheck.ParsePattern, func(v healthcheck.Pattern) int { return len(v.Value) })
}

func parsed[T any](p *parser, n *node, want string, most int, parse func(string) (T, error), length func(T) int) T {
	var none T
	s, ok := read[string](p, n, want)
	if !ok {
		return none
	}
	v, err := parse(s)
	switch {
	case err != nil:
		p.errorf(n, "%v", err)
		return none
	case length(v) == 0:
		p.errorf(n, "want %s, found an empty string", want)
	case length(v) > most:
		p.errorf(n, "%d bytes are too many: want at most %d", length(v), most)
		return none
	case strings.Contains(s, `\r`) || strings.Contains(s, `\n`):
		p.warnf(n, `has a backslash and a letter in place of a line's end: write it in double quotes, with one backslash`)
	}
	return v
}

// bytes writes what parser.bytes reads, unless it is empty.
func (w *writer) bytes(key, value string) {
	if value != "" {
		w.text(key, healthcheck.FormatBytes(value))
	}
}
