package conf

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// node is a key of the file with its place and its value, and the keys below it in
// the order of the file.
type node struct {
	parent *node
	name   string
	index  int // counts from 1 for an array's element, which has no name
	// key and val are the offsets of the key and of the value, end is the value's
	// end. val is -1 for a table that is no value: [a.b], and a in a.b = 1.
	key, val, end int
	header, array bool // by [a.b], by [[a.b]]
	kids          []*node
	byName        map[string]*node
	elems         []*node
	// value is what the library decoded: string, int64, float64, bool, time.Time,
	// []any, map[string]any or []map[string]any.
	value any
}

// kid returns the key of that name below n, or nil. A nil node has none.
func (n *node) kid(name string) *node {
	if n == nil {
		return nil
	}
	return n.byName[name]
}

// at goes down from n as far as the names lead.
func (n *node) at(names ...string) *node {
	for _, name := range names {
		k := n.kid(name)
		if k == nil {
			break
		}
		n = k
	}
	return n
}

func (n *node) add(name string, key int) *node {
	k := &node{parent: n, name: name, key: key, val: -1}
	if n.byName == nil {
		n.byName = map[string]*node{}
	}
	n.kids = append(n.kids, k)
	n.byName[name] = k
	return k
}

// inner returns the table that a key below n belongs to: the last one of an array of
// tables.
func (n *node) inner() *node {
	if n.array && len(n.elems) > 0 {
		return n.elems[len(n.elems)-1]
	}
	return n
}

// attach joins the library's values to the places.
func (n *node) attach(value any) {
	n.value = value
	switch v := value.(type) {
	case map[string]any:
		// The two readings agree on the keys (a fuzz test holds them to it).
		// Should they ever not, then a key without a place is better than a
		// key that nobody looks at.
		if len(v) > len(n.kids) {
			for name := range v {
				if n.kid(name) == nil {
					n.add(name, n.key)
				}
			}
		}
		for _, k := range n.kids {
			k.attach(v[k.name])
		}
	case []any:
		for i, e := range n.elems {
			if i < len(v) {
				e.attach(v[i])
			}
		}
	}
}

// path returns the dotted key, quoted where TOML asks for it.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	up := n.parent.path()
	switch {
	case n.index > 0:
		return fmt.Sprintf("%s[%d]", up, n.index)
	case up == "":
		return bareOrQuoted(n.name)
	}
	return up + "." + bareOrQuoted(n.name)
}

// place returns the offset that a mistake in n is reported at: a value's own, a
// table's name.
func (n *node) place() int {
	if _, table := n.value.(map[string]any); n.val >= 0 && !table {
		return n.val
	}
	return max(n.key, 0)
}

func bareOrQuoted(name string) string {
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || !isBare(byte(r)) }) < 0 {
		return name
	}
	return strconv.Quote(name)
}

// describe names a value in a message.
func describe(value any) string {
	switch v := value.(type) {
	case string:
		return "the string " + strconv.Quote(shorten(v))
	case int64:
		return "the integer " + strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0"
		}
		return "the float " + s
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	}
	return "nothing"
}

// shorten cuts what would flood a message.
func shorten(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// lineIndex turns offsets into lines and columns.
type lineIndex struct {
	data   string
	starts []int
}

func newLineIndex(data string) lineIndex {
	ix := lineIndex{data: data, starts: []int{0}}
	for i := range len(data) {
		if data[i] == '\n' {
			ix.starts = append(ix.starts, i+1)
		}
	}
	return ix
}

// position returns line and column, both from 1, the column in characters.
func (ix lineIndex) position(offset int) (line, col int) {
	offset = min(max(offset, 0), len(ix.data))
	line = sort.SearchInts(ix.starts, offset+1)
	return line, utf8.RuneCountInString(ix.data[ix.starts[line-1]:offset]) + 1
}

// parser collects what is wrong with one file.
type parser struct {
	file  string
	lines lineIndex
	root  *node
	found []finding
	// comparisons is what is left for suggestions: a file with thousands of wrong
	// names and thousands of right ones must not take minutes to be refused.
	comparisons int
	usedChecks  map[string]bool
	usedTracks  map[string]bool
}

// finding is an Error with the offset that it is sorted by.
type finding struct {
	Error
	at int
}

func (p *parser) report(at int, path string, warning bool, text string) {
	line, col := p.lines.position(at)
	p.found = append(p.found, finding{Error{p.file, line, col, path, text, warning}, at})
}

// errorf reports a mistake in n.
func (p *parser) errorf(n *node, format string, args ...any) {
	p.report(n.place(), n.path(), false, fmt.Sprintf(format, args...))
}

// keyErrorf reports a mistake in the key of n rather than in its value.
func (p *parser) keyErrorf(n *node, format string, args ...any) {
	p.report(max(n.key, 0), n.path(), false, fmt.Sprintf(format, args...))
}

// warnf reports something legal but questionable in n.
func (p *parser) warnf(n *node, format string, args ...any) {
	p.report(n.place(), n.path(), true, fmt.Sprintf(format, args...))
}

// line returns the line that n is in, for messages that point to another place.
func (p *parser) line(n *node) int {
	line, _ := p.lines.position(n.place())
	return line
}

// findings returns the mistakes, or the warnings, in the order of their places.
func (p *parser) findings(warnings bool) Errors {
	slices.SortStableFunc(p.found, func(a, b finding) int { return a.at - b.at })
	var es Errors
	for _, f := range p.found {
		if f.Warning == warnings {
			es = append(es, f.Error)
		}
	}
	return es
}
