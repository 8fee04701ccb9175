package conf

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// grammar is what one kind of table may hold.
type grammar struct {
	keys []string
	// others are keys of other programs, with ours.
	others map[string]string
}

// table reports what is wrong with n as a table of the grammar g, and tells whether
// it is a table at all. It leaves the values to the caller, and lets a misspelt key
// stand for the one that was meant: its value is looked at too, and nobody misses it.
func (p *parser) table(n *node, g grammar) bool {
	if n == nil {
		return false
	}
	if n.array {
		p.keyErrorf(n, "an array of tables has no place here: write [%s] once", n.path())
		return false
	}
	if _, ok := n.value.(map[string]any); !ok {
		p.errorf(n, "want a table, found %s", describe(n.value))
		return false
	}
	for _, k := range n.kids {
		switch {
		case slices.Contains(g.keys, k.name):
		default:
			meant := g.others[k.name]
			if meant == "" {
				meant = p.suggest(k.name, g.keys)
			}
			if _, taken := n.byName[meant]; meant != "" && !taken {
				n.byName[meant] = k
			}
			hint := didYouMean(meant) + dottedName(k)
			if hint == "" {
				hint = ": want one of " + strings.Join(g.keys, ", ")
			}
			p.keyErrorf(k, "unknown key %q%s", shorten(k.name), hint)
		}
	}
	return true
}

// dottedName explains the most likely way to a sub-table that nobody knows: a name
// with a dot that was not quoted.
func dottedName(k *node) string {
	t := k.parent
	if _, table := k.value.(map[string]any); !table || t == nil || t.parent == nil {
		return ""
	}
	if t.header && !k.header && k.val < 0 || !slices.Contains(namedTables, t.parent.name) {
		return "" // t has a name already, and k is the first part of a dotted key
	}
	return fmt.Sprintf("; a name with a dot needs quotes, \"%s.%s\"", t.name, k.name)
}

// onlyDotted tells whether a table is there only because of names with dots that were
// not quoted, and reports those.
func (p *parser) onlyDotted(n *node, g grammar) bool {
	if n.header || n.val >= 0 || slices.ContainsFunc(n.kids, func(k *node) bool {
		return slices.Contains(g.keys, k.name) || dottedName(k) == ""
	}) {
		return false
	}
	for _, k := range n.kids {
		p.keyErrorf(k, "unknown key %q%s", shorten(k.name), dottedName(k))
	}
	return true
}

// namedTables are the keys below which the operator's own names stand.
var namedTables = []string{"director", "vrrp", "virtual_server", "check", "track", "real_server"}

// named yields the tables below n, which have names of the operator's choice. form
// shows how one is written, for the message about a name that was left out.
func (p *parser) named(n *node, g grammar, form string) iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		if n == nil {
			return
		}
		if n.array {
			p.keyErrorf(n, "an array of tables has no place here: each has a name, %s", form)
			return
		}
		if _, ok := n.value.(map[string]any); !ok {
			p.errorf(n, "want tables with names, %s, found %s", form, describe(n.value))
			return
		}
		for _, k := range n.kids {
			_, table := k.value.(map[string]any)
			switch {
			case k.array:
				p.keyErrorf(k, "an array of tables has no place here: write it once, %s", form)
			case !table && slices.Contains(g.keys, k.name):
				p.keyErrorf(k, "the name is missing: write %s", form)
				return // the other keys beside it have the same fault
			case !table:
				p.errorf(k, "want a table, %s, found %s", form, describe(k.value))
			case !p.name(k), p.onlyDotted(k, g):
			case !yield(k.name, k):
				return
			}
		}
	}
}

// maxName is the longest name in characters, that of a DNS label.
const maxName = 63

func (p *parser) name(n *node) bool {
	switch {
	case n.name == "":
		p.keyErrorf(n, "a name cannot be empty")
	case strings.ContainsFunc(n.name, notInName):
		p.keyErrorf(n, "a name holds letters, digits, \".\", \"_\" and \"-\" only, not %q", shorten(n.name))
	case len(n.name) > maxName:
		p.keyErrorf(n, "a name has at most %d characters, this one has %d", maxName, len(n.name))
	default:
		return true
	}
	return false
}

func notInName(r rune) bool { return r != '.' && (r > unicode.MaxASCII || !isBare(byte(r))) }

// required returns a key's node, and reports a key that is not there.
func (p *parser) required(t *node, key, want string) *node {
	n := t.kid(key)
	if n == nil {
		path := bareOrQuoted(key)
		if up := t.path(); up != "" {
			path = up + "." + path
		}
		p.report(t.place(), path, false, "missing: want "+want)
	}
	return n
}

// Each of the functions below reads one value and returns def if the key is not
// there. They also return def after they have reported a value that is no good, so
// that the rest of the table can be looked at.

func read[T any](p *parser, n *node, want string) (v T, ok bool) {
	if n == nil {
		return v, false
	}
	if v, ok = n.value.(T); ok {
		return v, true
	}
	p.errorf(n, "want %s, found %s%s", want, describe(n.value), quoteHint[T](n.value))
	return v, false
}

// quoteHint is for a value whose only fault is its quotes, or that it has none.
func quoteHint[T any](found any) string {
	s, ok := found.(string)
	if !ok {
		return ""
	}
	var zero T
	switch any(zero).(type) {
	case int64:
		_, err := strconv.ParseInt(s, 0, 64)
		ok = err == nil && (len(s) == 1 || s[0] != '0' || s[1] > '9') // TOML has 0x10, and no 010
	case bool:
		ok = s == "true" || s == "false"
	default:
		ok = false
	}
	if !ok {
		return ""
	}
	return fmt.Sprintf(": write %s without quotes", s)
}

func (p *parser) integer(n *node, def, least, most int64) int64 {
	want := fmt.Sprintf("an integer from %d to %d", least, most)
	v, ok := read[int64](p, n, want)
	switch {
	case !ok:
		return def
	case v < least || v > most:
		p.errorf(n, "%d is out of range: want %s", v, want)
		return def
	}
	return v
}

func (p *parser) boolean(n *node, def bool) bool {
	if v, ok := read[bool](p, n, "true or false"); ok {
		return v
	}
	return def
}

// text reads a string without control characters, which logs and the effective
// configuration have to show.
func (p *parser) text(n *node, want, def string) string {
	s, ok := read[string](p, n, want)
	switch {
	case !ok:
		return def
	case s == "":
		p.errorf(n, "want %s, found an empty string", want)
		return def
	case strings.ContainsFunc(s, unicode.IsControl):
		p.errorf(n, "%q has a control character", shorten(s))
		return def
	}
	return s
}

// file reads an absolute path. The daemon's working directory is / or anything.
func (p *parser) absolute(n *node, def string) string {
	s := p.text(n, "a file's path", def)
	if n != nil && s != def && !strings.HasPrefix(s, "/") {
		p.errorf(n, "%q is not an absolute path: it has to begin with \"/\"", shorten(s))
		return def
	}
	return s
}

// choice reads one of several words. other maps foreign words to ours.
func (p *parser) choice(n *node, what, def string, words []string, other map[string]string) string {
	want := what + " (" + strings.Join(words, ", ") + ")"
	s, ok := read[string](p, n, want)
	switch {
	case !ok:
		return def
	case slices.Contains(words, s):
		return s
	}
	hint := ""
	if w, ok := other[strings.ToLower(s)]; ok {
		hint = fmt.Sprintf("; did you mean %q?", w)
	} else {
		hint = didYouMean(p.suggest(s, words))
	}
	if hint == "" {
		hint = ": want one of " + strings.Join(words, ", ")
	}
	p.errorf(n, "%q is not %s%s", shorten(s), what, hint)
	return def
}

// duration reads a span of time between two bounds, both allowed, in whole units of
// step.
func (p *parser) duration(n *node, def, least, most, step time.Duration) time.Duration {
	const want = `a duration with its unit, such as "5s" or "100ms"`
	if n == nil {
		return def
	}
	s, ok := n.value.(string)
	if v, integer := n.value.(int64); integer {
		p.errorf(n, "%d has no unit: write \"%ds\"", v, v)
		return def
	}
	if !ok {
		p.errorf(n, "want %s, found %s", want, describe(n.value))
		return def
	}
	d, err := time.ParseDuration(s)
	bare := strings.TrimLeft(s, "+-0123456789.") == ""
	switch {
	case bare && s != "" && (err == nil || parses(s+"s")):
		p.errorf(n, "%s has no unit: write \"%ss\"", s, s)
	case err != nil && parses(strings.ReplaceAll(s, " ", "")):
		p.errorf(n, "%q is not a duration: write %q", s, strings.ReplaceAll(s, " ", ""))
	case err != nil && days(s) > 0:
		p.errorf(n, "%q is not a duration: write days in hours, \"%dh\"", s, 24*days(s))
	case err != nil:
		p.errorf(n, "%q is not a duration: want %s", shorten(s), want)
	case d < least || d > most:
		p.errorf(n, "%s is out of range: want %s to %s", s, formatDuration(least), formatDuration(most))
	case d%step != 0:
		p.errorf(n, "%s is too fine: want a multiple of %s", s, formatDuration(step))
	default:
		return d
	}
	return def
}

func parses(s string) bool {
	_, err := time.ParseDuration(s)
	return err == nil
}

// days reads a number of days, "14d"; 0 if s is none.
func days(s string) int {
	number, _ := strings.CutSuffix(s, "d")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1000 || number == s {
		return 0
	}
	return n
}

// formatDuration writes a duration as a person would: "5m", not "5m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-len("0s")]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-len("0m")]
	}
	return s
}
