package conf

import (
	"slices"
	"strings"
)

// section is a table of an effective text: its header, without the brackets, and its lines.
type section struct{ name, body string }

// sections splits an effective text, which has no line that begins with a bracket but the
// headers. The first section has no name.
func sections(text string) []section {
	list := []section{{}}
	begin := 0
	for at := 0; at < len(text); {
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if line := strings.TrimSpace(text[at:end]); strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			list[len(list)-1].body = text[begin:at]
			list = append(list, section{name: line[1 : len(line)-1]})
			begin = end
		}
		at = end
	}
	list[len(list)-1].body = text[begin:]
	return list
}

// parents are the names of the tables that a table is in, the outermost first.
func parents(name string) (list []string) {
	quoted := false
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' && (i == 0 || name[i-1] != '\\'):
			quoted = !quoted
		case c == '.' && !quoted:
			list = append(list, name[:i])
		}
	}
	return list
}

// withoutCommon leaves out of two effective texts the tables in which they do not differ,
// which is nearly all that a reload of a long configuration would otherwise have to read
// again, twice. Of those it keeps what tells that a table around one that differs is there:
// a header for each.
func withoutCommon(a, b string) (string, string) {
	as, bs := sections(a), sections(b)
	in := func(list []section) map[string]string {
		m := make(map[string]string, len(list))
		for _, s := range list {
			m[s.name] = s.body
		}
		return m
	}
	am, bm := in(as), in(bs)
	if len(am) != len(as) || len(bm) != len(bs) {
		return a, b // a table twice: that is for the reader to find
	}
	around := make(map[string]bool)
	common := func(s section, other map[string]string) bool {
		body, there := other[s.name]
		return there && body == s.body
	}
	sides := []struct {
		list  []section
		other map[string]string
	}{{as, bm}, {bs, am}}
	for _, side := range sides {
		for _, s := range side.list {
			if !common(s, side.other) {
				for _, p := range parents(s.name) {
					around[p] = true
				}
			}
		}
	}
	// What is kept of one text is kept of both.
	kept := make(map[string]bool)
	for _, side := range sides {
		shown := make(map[string]bool)
		for _, s := range side.list {
			all := append(parents(s.name), s.name)
			if common(s, side.other) && !slices.ContainsFunc(all, func(p string) bool { return around[p] && !shown[p] }) {
				continue
			}
			kept[s.name] = true
			for _, p := range all {
				shown[p] = true
			}
		}
	}
	rest := func(list []section, other map[string]string) string {
		var text strings.Builder
		for _, s := range list {
			if kept[s.name] && s.name != "" {
				text.WriteString("[" + s.name + "]\n")
			}
			if !common(s, other) {
				text.WriteString(s.body)
			}
		}
		return text.String()
	}
	return rest(as, bm), rest(bs, am)
}
