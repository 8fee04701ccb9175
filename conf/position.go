package conf

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// maxDepth bounds nested values and the parts of a dotted key. The grammar needs
// four; the TOML library recurses without a bound, and a goroutine that runs out of
// stack ends the process.
const maxDepth = 32

// scanner notes where every key and value of a TOML text stands. It is no parser:
// it relies on the library for what is valid and only follows the text's structure,
// so that a text that the library accepts is followed to its end. At the first thing
// that it cannot follow it stops, and leaves the complaint to the library.
type scanner struct {
	data string
	pos  int
	root *node
	cur  *node // the table that assignments go to

	redefined []redefinition
	// open is the redefined table that the scanner is in, as an index of redefined
	// plus one.
	open    int
	tooDeep bool
}

// redefinition is a key or table that the text has already defined, and the part of
// the text that a first reading can leave out.
type redefinition struct {
	node       *node // of the first definition
	at         int   // of the second one's key
	start, end int
	array      bool // by [[a.b]]
}

// scan returns the scanner after it has gone through the text.
func scan(data string) *scanner {
	s := &scanner{data: data, root: &node{key: -1, val: -1}}
	s.cur = s.root
	for s.blank(); s.pos < len(data); s.blank() {
		start := s.pos
		ok := false
		if data[s.pos] == '[' {
			ok = s.header(start)
		} else {
			ok = s.assignment(s.cur, 1)
		}
		if !ok || !s.endOfLine() {
			break
		}
	}
	s.closeTable(s.pos)
	return s
}

// without returns the text with everything that is defined a second time blanked
// out, every place kept.
func (s *scanner) without() string {
	if len(s.redefined) == 0 {
		return s.data
	}
	b := []byte(s.data)
	for _, r := range s.redefined {
		for i := r.start; i < r.end; i++ {
			if b[i] != '\n' && b[i] != '\r' {
				b[i] = ' '
			}
		}
	}
	return string(b)
}

func (s *scanner) byte() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.byte() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) spaces() {
	for s.byte() == ' ' || s.byte() == '\t' {
		s.pos++
	}
}

// blank skips white space, line ends and comments.
func (s *scanner) blank() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	if i := strings.IndexByte(s.data[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.data)
	}
}

// endOfLine tells whether nothing but a comment follows on this line.
func (s *scanner) endOfLine() bool {
	s.spaces()
	switch s.byte() {
	case '#':
		s.comment()
		return true
	case '\r', '\n':
		return true
	}
	return s.pos == len(s.data)
}

// header follows [a.b] or [[a.b]].
func (s *scanner) header(start int) bool {
	s.closeTable(start)
	s.pos++
	array := s.take('[')
	parts, ok := s.keys()
	if !ok || !s.take(']') || array && !s.take(']') {
		return false
	}
	parent, blocked := s.descend(s.root, parts[:len(parts)-1])
	last := parts[len(parts)-1]
	n := parent.kid(last.name)
	switch {
	case blocked != nil:
	case n == nil:
		n = parent.add(last.name, last.at)
	case n.val >= 0 || n.header && !(array && n.array) || array && !n.array:
		blocked = n
	case !array:
		// Known so far only from the names of its sub-tables.
		n.key = last.at
	}
	if blocked != nil {
		s.redefined = append(s.redefined, redefinition{node: blocked, at: last.at, start: start, array: array})
		s.open = len(s.redefined)
		s.cur = &node{key: -1, val: -1}
		return true
	}
	n.header, n.array = true, array
	if array {
		n.elems = append(n.elems, &node{parent: n, index: len(n.elems) + 1, key: last.at, val: -1})
	}
	s.cur = n.inner()
	return true
}

// closeTable ends the redefined table that the scanner is in, if it is in one.
func (s *scanner) closeTable(at int) {
	if s.open > 0 {
		s.redefined[s.open-1].end = at
		s.open = 0
	}
}

// assignment follows key = value.
func (s *scanner) assignment(base *node, depth int) bool {
	start := s.pos
	parts, ok := s.keys()
	if !ok || !s.take('=') {
		return false
	}
	s.spaces()
	parent, blocked := s.descend(base, parts[:len(parts)-1])
	last := parts[len(parts)-1]
	if blocked == nil {
		blocked = parent.kid(last.name)
	}
	if blocked == nil {
		return s.value(parent.add(last.name, last.at), depth)
	}
	if !s.value(&node{}, depth) {
		return false
	}
	end := s.pos
	if depth > 1 {
		// In an inline table the comma belongs to it.
		s.blank()
		if s.byte() == ',' {
			end = s.pos + 1
		}
	}
	s.redefined = append(s.redefined, redefinition{node: blocked, at: last.at, start: start, end: end})
	return true
}

// descend goes down from n, and makes the tables that are not there. Through a value,
// even an inline table, no way leads: blocked is that value then.
func (s *scanner) descend(n *node, parts []part) (_, blocked *node) {
	for _, p := range parts {
		next := n.kid(p.name)
		if next == nil {
			next = n.add(p.name, p.at)
		}
		if next.val >= 0 {
			return next, next
		}
		n = next.inner()
	}
	return n, nil
}

// part is one part of a dotted key and its place.
type part struct {
	name string
	at   int
}

func (s *scanner) keys() ([]part, bool) {
	var parts []part
	for {
		s.spaces()
		p := part{at: s.pos}
		ok := false
		if c := s.byte(); c == '"' || c == '\'' {
			p.name, ok = s.quotedKey(c)
		} else {
			for isBare(s.byte()) {
				s.pos++
			}
			p.name, ok = s.data[p.at:s.pos], s.pos > p.at
		}
		if !ok {
			return nil, false
		}
		parts = append(parts, p)
		if len(parts) > maxDepth {
			s.tooDeep = true
			return nil, false
		}
		s.spaces()
		if !s.take('.') {
			return parts, true
		}
	}
}

func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func (s *scanner) quotedKey(quote byte) (string, bool) {
	start := s.pos
	if !s.line(quote) {
		return "", false
	}
	text := s.data[start:s.pos]
	if quote == '\'' || !strings.Contains(text, `\`) {
		return text[1 : len(text)-1], true
	}
	// Escapes are the library's business.
	var m map[string]any
	if _, err := decode("k = "+text, &m); err != nil {
		return "", false
	}
	name, ok := m["k"].(string)
	return name, ok
}

// value follows a value and notes its place and its parts' places in n.
func (s *scanner) value(n *node, depth int) bool {
	if depth > maxDepth {
		s.tooDeep = true
		return false
	}
	n.val = s.pos
	ok := false
	switch c := s.byte(); c {
	case '"', '\'':
		if triple := strings.Repeat(string(c), 3); strings.HasPrefix(s.data[s.pos:], triple) {
			ok = s.lines(c, triple)
		} else {
			ok = s.line(c)
		}
	case '[':
		ok = s.list(']', func() bool {
			e := &node{parent: n, index: len(n.elems) + 1, key: s.pos}
			n.elems = append(n.elems, e)
			return s.value(e, depth+1)
		})
	case '{':
		ok = s.list('}', func() bool { return s.assignment(n, depth+1) })
	default:
		end := strings.IndexAny(s.data[s.pos:], ",]}#\r\n")
		if end < 0 {
			end = len(s.data) - s.pos
		}
		// A date may have a space inside.
		text := strings.TrimRight(s.data[s.pos:s.pos+end], " \t")
		s.pos += len(text)
		ok = text != ""
	}
	n.end = s.pos
	return ok
}

// list follows what stands between brackets, separated by commas.
func (s *scanner) list(closing byte, item func() bool) bool {
	s.pos++
	for s.blank(); !s.take(closing); s.blank() {
		if !item() {
			return false
		}
		if s.blank(); !s.take(',') && s.byte() != closing {
			return false
		}
	}
	return true
}

// line follows a string on one line.
func (s *scanner) line(quote byte) bool {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == quote:
			s.pos++
			return true
		case c == '\n':
			return false
		case c == '\\' && quote == '"':
			s.pos++
		}
	}
	return false
}

// lines follows a string over several lines. Up to two quotes may stand before the
// closing three.
func (s *scanner) lines(quote byte, triple string) bool {
	for s.pos += len(triple); s.pos < len(s.data); s.pos++ {
		switch {
		case s.data[s.pos] == '\\' && quote == '"':
			s.pos++
		case strings.HasPrefix(s.data[s.pos:], triple):
			s.pos += len(triple)
			for range 2 {
				s.take(quote)
			}
			return true
		}
	}
	return false
}

// decode is the library's Decode. The library panics when it meets a defect of its
// own; a file must never end the daemon, so that becomes an error.
func decode(data string, v any) (md toml.MetaData, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = libraryError{r}
		}
	}()
	return toml.Decode(data, v)
}
